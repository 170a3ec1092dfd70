package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// A Library is one that peers can be made of.
type Library int

// The libraries.
const (
	Curator Library = iota // Java, Apache Curator
	Kazoo                  // Python, kazoo
	Zkcoord                // this program itself, see Work
)

// String returns the library's name.
func (l Library) String() string {
	return [...]string{"curator", "kazoo", "zkcoord"}[l]
}

// Python is Debian's own, which sees Debian's packages.
const Python = "/usr/bin/python3"

const (
	jars    = "/usr/share/java"
	modules = "/usr/lib/python3/dist-packages"
)

// VersionVariable is the variable of the environment that names the version of
// the library to run, such as "5.7.1": it is unpacked from Debian's packages into
// the cache directory of the user. Without it, the library that is installed runs.
func (l Library) VersionVariable() string { return "ZKCOORD_" + strings.ToUpper(l.String()) }

// root is the directory below which Debian's packages of the library are: "/" or
// one in the cache.
func (l Library) root() (string, error) {
	version := os.Getenv(l.VersionVariable())
	if version == "" {
		return "/", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), unpackTimeout)
	defer cancel()
	dir, err := zookeeper.Unpack(ctx, l.String()+"-"+version, nil)
	if err != nil {
		return "", fmt.Errorf("%s=%s: %w", l.VersionVariable(), version, err)
	}
	return dir, nil
}

const unpackTimeout = 2 * time.Minute

// Installed returns nil if peers of the library can run here, else what to install.
func (l Library) Installed() error {
	if err := procs.Able(); err != nil {
		return err
	}
	if l == Zkcoord {
		return nil
	}
	root, err := l.root()
	if err != nil {
		return err
	}
	if l == Kazoo {
		if _, err := os.Stat(filepath.Join(root, modules, "kazoo")); err != nil {
			return errors.New("kazoo is not installed (on Debian: apt-get install python3-kazoo)")
		}
		return nil
	}
	if _, err := exec.LookPath("javac"); err != nil {
		return errors.New("there is no Java compiler (on Debian: apt-get install openjdk-17-jdk-headless)")
	}
	if _, err := os.Stat(filepath.Join(root, jars, "curator-recipes.jar")); err != nil {
		return errors.New("no Curator is installed (on Debian: apt-get install libcurator-recipes-java zookeeper)")
	}
	return nil
}

// ClassPath is that of Curator and what it needs, ZooKeeper's own client among
// it. It is empty where Installed says that there is none.
//
// Who needs another jar comes behind it: the manifests of Debian's jars name
// others in /usr/share/java, which would come first, and may be of another version.
func ClassPath() string {
	root, err := Curator.root()
	if err != nil {
		return ""
	}
	var list []string
	for _, pattern := range []string{"slf4j-api.jar", "slf4j-nop.jar", "failureaccess.jar", "guava.jar", "snappy-java.jar", "metrics-core.jar",
		"jackson-core.jar", "jackson-annotations.jar", "jackson-databind.jar", "netty-*.jar", "zookeeper-jute.jar", "zookeeper.jar",
		"curator-client.jar", "curator-framework.jar", "curator-recipes.jar"} {
		found, _ := filepath.Glob(filepath.Join(root, jars, pattern))
		list = append(list, found...)
	}
	return strings.Join(list, ":")
}

// A Program is one in the library's language that takes a command a line and
// answers each with a line.
type Program struct {
	Library Library
	Name    string // in Java, the name of the class
	Source  []byte
	Flags   []string // of the JVM
}

// A Process is a program that runs. It dies with this process.
type Process struct {
	dir     string
	child   *procs.Child // nil if it could not be started
	in      io.WriteCloser
	aside   func(line string) bool
	answers chan string
	ended   context.Context
	end     context.CancelFunc
	reading sync.WaitGroup
}

// Start runs the program. Lines for which aside returns true are not answers
// to a command; nil takes all for answers. The caller closes the process.
func (p Program) Start(ctx context.Context, aside func(line string) bool, args ...string) (_ *Process, err error) {
	if err := p.Library.Installed(); err != nil {
		return nil, err
	}
	c := &Process{aside: aside, answers: make(chan string, 16)}
	c.ended, c.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.dir, err = owner.MkdirTemp("", "peer"); err != nil {
		return nil, err
	}
	var cmd *exec.Cmd
	switch p.Library {
	case Zkcoord:
		var self string
		self, err = os.Executable()
		cmd = exec.Command(self, args...)
		cmd.Env = append(os.Environ(), workerMark+"=1")
	case Kazoo:
		script := filepath.Join(c.dir, p.Name+".py")
		err = os.WriteFile(script, p.Source, 0o600)
		cmd = exec.Command(Python, append([]string{script}, args...)...)
		if root, unpackErr := p.Library.root(); root != "/" {
			err = errors.Join(err, unpackErr)
			cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, modules))
		}
	default:
		var classes string
		classes, err = p.compiled(ctx)
		cmd = exec.Command("java", append(append(p.Flags[:len(p.Flags):len(p.Flags)], "-cp", classes+":"+ClassPath(), p.Name), args...)...)
	}
	if err == nil {
		err = c.launch(cmd)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Process) launch(cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// Not StdoutPipe, of which what has not been read when the process ends is lost.
	out, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = theirs, log
	child, err := procs.Start(cmd)
	theirs.Close()
	if err != nil {
		out.Close()
		return err
	}
	c.child, c.in = child, in
	c.reading.Go(func() { c.read(out) })
	return nil
}

func (c *Process) read(out io.ReadCloser) {
	defer out.Close()
	defer c.end()
	defer close(c.answers)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if c.aside == nil || !c.aside(lines.Text()) {
			c.answers <- lines.Text()
		}
	}
}

// Ended ends when the process does.
func (c *Process) Ended() context.Context { return c.ended }

// Ask sends a command and returns the words of the answer, which has to begin
// with the given one, as Answer does.
func (c *Process) Ask(ctx context.Context, command, name string, n int) ([]string, error) {
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		return nil, err
	}
	return c.Answer(ctx, name, n)
}

// Answer waits for the next answer, which has to have that name, and returns
// the n words behind it.
func (c *Process) Answer(ctx context.Context, name string, n int) ([]string, error) {
	select {
	case line, ok := <-c.answers:
		if !ok {
			return nil, fmt.Errorf("the process ended: %s", c.log())
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

func (c *Process) log() string {
	text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	return string(text[max(0, len(text)-600):])
}

// Stop stops the process as SIGSTOP does.
func (c *Process) Stop(ctx context.Context) error { return c.child.Stop(ctx) }

// Continue lets it go on.
func (c *Process) Continue() error { return c.child.Continue() }

// grace is how long a process may take to end once it has no more input.
const grace = 3 * time.Second

// Close ends the input of the process, on which it should end, waits, and
// removes everything of it. One that does not end, as it waits for a lock or is
// stopped, is killed after a while.
func (c *Process) Close() {
	if c.child != nil {
		c.in.Close()
		c.reading.Go(func() {
			for range c.answers { // so that read does not wait for anybody
			}
		})
		select {
		case <-c.child.Ended():
		case <-time.After(grace):
			c.child.Kill()
		}
		c.reading.Wait()
	}
	c.end()
	os.RemoveAll(c.dir)
}

// compile is what was compiled by this process, by the name of the program.
var compile struct {
	sync.Mutex
	dirs map[string]string
}

// compiled compiles a Java program, once.
func (p Program) compiled(ctx context.Context) (string, error) {
	compile.Lock()
	defer compile.Unlock()
	if dir := compile.dirs[p.Name]; dir != "" {
		return dir, nil
	}
	dir, err := owner.MkdirTemp("", "classes")
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, p.Name+".java")
	if err = os.WriteFile(source, p.Source, 0o600); err == nil {
		var out []byte
		if out, err = exec.CommandContext(ctx, "javac", "-cp", ClassPath(), "-d", dir, source).CombinedOutput(); err != nil {
			err = fmt.Errorf("javac: %w: %s", err, out)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	if compile.dirs == nil {
		compile.dirs = make(map[string]string)
	}
	compile.dirs[p.Name] = dir
	return dir, nil
}

// CleanUp removes what was compiled.
func CleanUp() error {
	compile.Lock()
	defer compile.Unlock()
	var errs []error
	for _, dir := range compile.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	compile.dirs = nil
	return errors.Join(errs...)
}
