package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// The type `node` is one server and its directory. It gets new ports at each start, because another
// program may have taken the old ones while the node was down. Only relays and DialContext use the
// ports, so the ports can change. There are two exceptions. With Config.Members, all servers know
// the ports, so the ports never change. If Config.Port sets the client port, that port never
// changes.
type node struct {
	index int
	dir   string
	peers []peer // by index of the peer; the node's own entry is empty

	members []string // the members' entries, by index; nil if the membership is fixed

	install install // changed only while the node is down

	mu       sync.Mutex
	client   int // port for clients
	quorum   int // quorum and election are ports for peers
	election int
	reserved reservations // of these ports, except a client port that the config sets
	fixed    io.Closer    // the reservation of that client port; nil if there is none
	child    *procs.Child // nil while the node is down
	log      *logPipe     // of the child
	paused   bool
}

// The type `peer` has the addresses at which a node reaches another node, its peer. They are the
// addresses of the relays from the node to the peer.
type peer struct{ quorum, election string }

// reserveClient reserves the client port that the config sets, if it sets one.
func (n *node) reserveClient(cfg ensemble.Config) (err error) {
	if cfg.Port != 0 {
		n.client = cfg.Port + n.index
		n.fixed, err = reserve(n.client)
	}
	return anotherPort(err)
}

func anotherPort(err error) error {
	if err != nil {
		return fmt.Errorf("%w: choose another port, or 0 for any", err)
	}
	return nil
}

// choosePorts chooses the ports of the next start. If the config sets a client port, that port must
// be free.
func (n *node) choosePorts(cfg ensemble.Config) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.members != nil && n.client != 0 {
		return nil // its ports are part of the configuration
	}
	if err := n.reserved.Close(); err != nil {
		return err
	}
	ports := []*int{&n.quorum, &n.election}
	if cfg.Port == 0 {
		ports = append(ports, &n.client)
	} else if err := anotherPort(unused(n.client)); err != nil {
		return err
	}
	for _, port := range ports {
		var r io.Closer
		if *port, r, err = freePort(); err != nil {
			return err
		}
		n.reserved = append(n.reserved, r)
	}
	return nil
}

func (n *node) clientLocked() string { return fmt.Sprintf("127.0.0.1:%d", n.client) }

// The method `configure` writes the files that the server reads: zoo.cfg, the server's id, and the
// settings of its log.
func (n *node) configure(cfg ensemble.Config) error {
	n.mu.Lock()
	client, quorum, election := n.client, n.quorum, n.election
	n.mu.Unlock()
	settings := map[string]string{"dataDir": filepath.Join(n.dir, "data")}
	if n.members == nil {
		settings["clientPort"], settings["clientPortAddress"] = fmt.Sprint(client), "127.0.0.1"
	}
	for i, p := range n.peers {
		key, role := fmt.Sprintf("server.%d", i+1), ":"+string(cfg.RoleOf(i))
		_, electionPort, _ := net.SplitHostPort(p.election)
		switch {
		case n.members != nil:
			settings[key] = n.members[i]
		case i == n.index:
			settings[key] = fmt.Sprintf("127.0.0.1:%d:%d", quorum, election) + role
		default:
			settings[key] = p.quorum + ":" + electionPort + role
		}
	}
	maps.Copy(settings, cfg.Settings())
	var zoo strings.Builder
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&zoo, "%s=%s\n", k, settings[k])
	}
	file := filepath.Join(n.dir, "zoo.cfg")
	if n.members != nil {
		if _, err := os.Stat(file); err == nil { // keep the file: the server has moved the members from it to a separate file
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			zoo.Reset()
			zoo.Write(text)
		}
	}
	return errors.Join(
		os.MkdirAll(filepath.Join(n.dir, "data"), 0o700),
		os.WriteFile(filepath.Join(n.dir, "data", "myid"), fmt.Appendln(nil, n.index+1), 0o600),
		os.WriteFile(file, []byte(zoo.String()), 0o600),
		os.WriteFile(filepath.Join(n.dir, "log4j.properties"), []byte(log4j), 0o600),
		os.WriteFile(filepath.Join(n.dir, "logback.xml"), []byte(logback), 0o600),
	)
}

// The jars contain one of two logging libraries, log4j or logback. Each library ignores the
// settings of the other, so both settings are written.
const log4j = `log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p [%t:%c{1}] %m%n
`

const logback = `<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t:%logger{0}] %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
`

func (n *node) logFile() string { return filepath.Join(n.dir, "log") }

// The method `launch` starts the server if it is down. If `library` is not empty, the server
// preloads that library.
func (n *node) launch(cfg ensemble.Config, library string) error {
	if n.alive() {
		return nil
	}
	if err := n.choosePorts(cfg); err != nil {
		return err
	}
	if err := n.configure(cfg); err != nil {
		return err
	}
	var environment []string // nil is the environment of this process
	if library != "" {
		var err error
		if environment, err = n.slowEnvironment(library); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	pipe, out, err := newLogPipe(filepath.Join(n.dir, "log.pipe"), log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	args := append(cfg.NodeFlags(), "-cp", n.dir+":"+n.install.classpath,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(n.dir, "zoo.cfg"))
	cmd := exec.Command(n.install.java, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, environment, out, out
	c, err := procs.Start(cmd)
	out.Close()
	if err != nil {
		pipe.end()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.child, n.log, n.paused = c, pipe, false
	return nil
}

// The method `alive` reports whether the server was started and not killed. The server may have
// ended by itself since then.
func (n *node) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.child != nil
}

// The method `running` reports whether the server was started and is neither killed nor paused.
func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.child != nil && !n.paused
}

// The method `kill` ends the server with SIGKILL and waits until it has ended. SIGKILL also ends a
// process that SIGSTOP has stopped.
func (n *node) kill() error {
	n.mu.Lock()
	c, log := n.child, n.log
	n.child, n.log, n.paused = nil, nil, false
	n.mu.Unlock()
	if c == nil {
		return nil
	}
	c.Kill()
	log.end()
	return nil
}

// The method `close` ends the server and releases its ports.
func (n *node) close() error {
	err := n.kill()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fixed != nil {
		n.reserved = append(n.reserved, n.fixed)
		n.fixed = nil
	}
	return errors.Join(err, n.reserved.Close())
}

// stallLog makes the log of a running server accept nothing.
func (n *node) stallLog(ctx context.Context) error {
	if log := n.pipe(); log != nil {
		return log.stall(ctx)
	}
	return errors.New("the node is down")
}

// flowLog lets the log accept bytes again. If the server is down, it does nothing.
func (n *node) flowLog() error {
	if log := n.pipe(); log != nil {
		return log.flow()
	}
	return nil
}

func (n *node) pipe() *logPipe {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log
}

// The method `stop` pauses the server with SIGSTOP if `paused` is true, and resumes it with SIGCONT
// otherwise.
func (n *node) stop(paused bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.child == nil || n.paused == paused {
		return nil
	}
	do := n.child.Continue
	if paused {
		do = func() error { return n.child.Stop(context.Background()) }
	}
	if err := do(); err != nil {
		return err
	}
	n.paused = paused
	return nil
}

// The method `died` returns an error with the end of the log if the server has ended by itself.
func (n *node) died() error {
	n.mu.Lock()
	c, log := n.child, n.log
	n.mu.Unlock()
	if c == nil {
		return nil
	}
	select {
	case <-c.Ended():
		_ = log.flow()
		<-log.done
		status := "exit status 0"
		if err := c.Err(); err != nil {
			status = err.Error()
		}
		return fmt.Errorf("node %d died (%s); its log ends with: %s", n.index, status, n.tail())
	default:
		return nil
	}
}

// The method `tail` returns the last 12 lines of the log, joined into one line.
func (n *node) tail() string {
	text, _ := os.ReadFile(n.logFile())
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-12):], []byte(" | ")))
}

func (n *node) clientAddress() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clientLocked()
}

func (n *node) quorumAddress() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("127.0.0.1:%d", n.quorum)
}

func (n *node) electionAddress() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("127.0.0.1:%d", n.election)
}
