// Package peers runs clients of other libraries, Curator and kazoo, as
// processes beside a run: for scenarios in which they share a lock with
// zkcoord, and as a measure of what they hold to under the same faults.
//
// A peer is given a loopback address for each server, behind which is the
// client's own link: what breaks the link of a client of zkcoord breaks theirs.
package peers

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed Curator.java
var curatorSource []byte

//go:embed kazoo_peer.py
var kazooSource []byte

// A Library is one that peers can be made of.
type Library int

// The libraries.
const (
	Curator Library = iota // Java, Apache Curator's InterProcessMutex
	Kazoo                  // Python, kazoo's Lock
)

// String returns the library's name.
func (l Library) String() string {
	if l == Curator {
		return "curator"
	}
	return "kazoo"
}

// Python is Debian's own, which sees Debian's packages.
const Python = "/usr/bin/python3"

const (
	jars  = "/usr/share/java"
	kazoo = "/usr/lib/python3/dist-packages/kazoo"
)

// Installed returns nil if peers of the library can run here, else what to install.
func (l Library) Installed() error {
	if l == Kazoo {
		if _, err := os.Stat(kazoo); err != nil {
			return errors.New("kazoo is not installed (on Debian: apt-get install python3-kazoo)")
		}
		return nil
	}
	if _, err := exec.LookPath("javac"); err != nil {
		return errors.New("there is no Java compiler (on Debian: apt-get install openjdk-17-jdk-headless)")
	}
	if _, err := os.Stat(filepath.Join(jars, "curator-recipes.jar")); err != nil {
		return errors.New("Curator is not installed (on Debian: apt-get install libcurator-recipes-java zookeeper)")
	}
	return nil
}

// Dial is the form of net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// A Peer is one client of a library, with one session and one lock.
type Peer struct {
	ID       int64 // of its session
	Password []byte

	dir     string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string // every line but those about loss
	lost    context.Context
	lose    context.CancelCauseFunc
	ways    []*way
	reading sync.WaitGroup
}

// Start starts a peer that contends for the lock at path on the servers, which
// it reaches through dial. The caller closes it.
func Start(ctx context.Context, l Library, servers []string, dial Dial, timeout time.Duration, path string) (_ *Peer, err error) {
	if err := l.Installed(); err != nil {
		return nil, err
	}
	p := &Peer{answers: make(chan string, 16)}
	p.lost, p.lose = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.dir, err = os.MkdirTemp("", "zkcoord-peer-"); err != nil {
		return nil, err
	}
	var addresses []string
	for _, server := range servers {
		w, err := newWay(server, dial)
		if err != nil {
			return nil, err
		}
		p.ways = append(p.ways, w)
		addresses = append(addresses, w.listener.Addr().String())
	}
	if err := p.launch(ctx, l, strings.Join(addresses, ","), strconv.FormatInt(timeout.Milliseconds(), 10), path); err != nil {
		return nil, err
	}
	words, err := p.answer(ctx, "ready", 2)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", l, err)
	}
	if p.ID, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return nil, err
	}
	p.Password, err = hex.DecodeString(words[1])
	return p, err
}

// launch starts the process. It dies with this one.
func (p *Peer) launch(ctx context.Context, l Library, args ...string) error {
	var err error
	if l == Kazoo {
		script := filepath.Join(p.dir, "peer.py")
		err = os.WriteFile(script, kazooSource, 0o600)
		p.cmd = exec.Command(Python, append([]string{script}, args...)...)
	} else {
		var classes string
		classes, err = compiled(ctx)
		p.cmd = exec.Command("java", append([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
			"-cp", classes + ":" + ClassPath(), "Curator"}, args...)...)
	}
	if err != nil {
		return err
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.reading.Go(func() { p.read(out) })
	return nil
}

// ClassPath is that of Curator and what it needs, ZooKeeper's own client among it.
func ClassPath() string {
	var list []string
	for _, pattern := range []string{"curator-*.jar", "zookeeper*.jar", "netty-*.jar", "guava*.jar", "failureaccess.jar", "slf4j-api.jar",
		"slf4j-nop.jar", "snappy-java.jar", "metrics-core.jar", "jackson-*.jar"} {
		found, _ := filepath.Glob(filepath.Join(jars, pattern))
		list = append(list, found...)
	}
	return strings.Join(list, ":")
}

var compile struct {
	once sync.Once
	dir  string
	err  error
}

// compiled compiles the Java peer, once a process.
func compiled(ctx context.Context) (string, error) {
	compile.once.Do(func() {
		if compile.dir, compile.err = os.MkdirTemp("", "zkcoord-peer-classes-"); compile.err != nil {
			return
		}
		source := filepath.Join(compile.dir, "Curator.java")
		if compile.err = os.WriteFile(source, curatorSource, 0o600); compile.err != nil {
			return
		}
		cmd := exec.CommandContext(ctx, "javac", "-cp", ClassPath(), "-d", compile.dir, source)
		if out, err := cmd.CombinedOutput(); err != nil {
			compile.err = fmt.Errorf("javac: %w: %s", err, out)
		}
	})
	return compile.dir, compile.err
}

// CleanUp removes what peers keep for the whole process. No peer may be
// started afterwards.
func CleanUp() error {
	if compile.dir == "" {
		return nil
	}
	return os.RemoveAll(compile.dir)
}

func (p *Peer) read(out io.Reader) {
	defer close(p.answers)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if how, about := strings.CutPrefix(lines.Text(), "lost "); about {
			p.lose(fmt.Errorf("connection state %s", how))
			continue
		}
		p.answers <- lines.Text()
	}
	p.lose(errors.New("the process ended"))
}

// answer waits for the answer of that name and returns its n words.
func (p *Peer) answer(ctx context.Context, name string, n int) ([]string, error) {
	select {
	case line, ok := <-p.answers:
		if !ok {
			return nil, fmt.Errorf("the process ended: %s", p.log())
		}
		words := strings.Fields(line)
		if len(words) != n+1 || words[0] != name {
			return nil, errors.New(line)
		}
		return words[1:], nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *Peer) log() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(text[max(0, len(text)-600):])
}

// Acquire waits for the lock and returns the czxid and the path of its node.
func (p *Peer) Acquire(ctx context.Context) (czxid int64, node string, err error) {
	if _, err := io.WriteString(p.in, "acquire\n"); err != nil {
		return 0, "", err
	}
	words, err := p.answer(ctx, "acquired", 2)
	if err != nil {
		return 0, "", err
	}
	czxid, err = strconv.ParseInt(words[0], 10, 64)
	return czxid, words[1], err
}

// Release gives the lock up.
func (p *Peer) Release(ctx context.Context) error {
	if _, err := io.WriteString(p.in, "release\n"); err != nil {
		return err
	}
	_, err := p.answer(ctx, "released", 0)
	return err
}

// Lost ends when the library said that the connection is suspended or the
// session lost, which is when its manual says not to trust the lock any more.
func (p *Peer) Lost() context.Context { return p.lost }

// Close ends the process and everything of it.
func (p *Peer) Close() {
	if p.cmd != nil && p.cmd.Process != nil {
		p.in.Close() // it closes its session and ends
		killer := time.AfterFunc(3*time.Second, func() { p.cmd.Process.Kill() })
		go func() {
			for range p.answers { // so that read does not wait for anybody
			}
		}()
		p.reading.Wait()
		p.cmd.Wait()
		killer.Stop()
	}
	for _, w := range p.ways {
		w.close()
	}
	os.RemoveAll(p.dir)
}
