package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// configNode is the znode that contains the members.
const configNode = "/zookeeper/config"

// chooseMembers chooses the ports of all nodes once, because they are part of a configuration that
// all servers share. There are no proxies between such nodes, because each node would need its own
// addresses for the other nodes.
func (e *Ensemble) chooseMembers() error {
	members := make([]string, len(e.nodes))
	for _, n := range e.nodes {
		if err := n.choosePorts(e.config); err != nil {
			return err
		}
		members[n.index] = n.member(e.config.RoleOf(n.index))
	}
	for _, n := range e.nodes {
		n.members = members
	}
	return nil
}

// member returns the node's entry in a configuration.
func (n *node) member(role ensemble.Role) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("127.0.0.1:%d:%d:%s;%s", n.quorum, n.election, role, n.clientLocked())
}

// wipe deletes the data, and the configuration if servers change it: a server refuses to start with
// a configuration in which the server itself is missing.
func (n *node) wipe() error {
	files := []string{n.data()}
	if n.members != nil {
		stored, err := filepath.Glob(filepath.Join(n.dir, "zoo.cfg*"))
		if err != nil {
			return err
		}
		files = append(files, stored...)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, os.RemoveAll(file))
	}
	return errors.Join(errs...)
}

// SetRole changes the configuration with the operation reconfig of ZooKeeper.
func (e *Ensemble) SetRole(ctx context.Context, i int, role ensemble.Role) error {
	if i < 0 || i >= len(e.nodes) {
		return fmt.Errorf("set the role of node %d: the ensemble has %d nodes", i, len(e.nodes))
	}
	var join, leave []string
	if id := fmt.Sprint(i + 1); role == ensemble.Removed {
		leave = []string{id}
	} else {
		join = []string{"server." + id + "=" + e.nodes[i].member(role)}
	}
	err := e.asSuper(ctx, func(conn *zk.Conn) error {
		_, err := conn.IncrementalReconfig(join, leave, -1)
		return err
	})
	if err != nil {
		return fmt.Errorf("make node %d %s: %w", i, role, err)
	}
	return nil
}

// Roles reads the configuration of the servers.
func (e *Ensemble) Roles(ctx context.Context) (roles []ensemble.Role, version string, err error) {
	err = e.asSuper(ctx, func(conn *zk.Conn) error {
		if _, err := conn.Sync(configNode); err != nil {
			return err
		}
		text, _, err := conn.Get(configNode)
		roles, version = rolesOf(string(text), len(e.nodes))
		return err
	})
	return roles, version, err
}

// rolesOf parses a configuration of n nodes.
func rolesOf(text string, n int) (roles []ensemble.Role, version string) {
	for range n {
		roles = append(roles, ensemble.Removed)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, found := strings.CutPrefix(line, "version="); found {
			version = v
		}
		for i := range n {
			if entry, found := strings.CutPrefix(line, fmt.Sprintf("server.%d=", i+1)); found {
				roles[i] = ensemble.Participant
				if strings.Contains(entry, ":observer") {
					roles[i] = ensemble.Observer
				}
			}
		}
	}
	return roles, version
}

// asSuper calls f with the right to change the configuration. It calls f again if a connection
// breaks, or if the servers are not ready for a change, until ctx ends.
func (e *Ensemble) asSuper(ctx context.Context, f func(*zk.Conn) error) error {
	if !e.config.Members {
		return fmt.Errorf("members: %w", ensemble.ErrUnable)
	}
	if err := e.open(); err != nil {
		return err
	}
	var servers []string
	for _, n := range e.nodes {
		if n.running() {
			servers = append(servers, n.clientAddress())
		}
	}
	if len(servers) == 0 {
		return errors.New("no node runs")
	}
	for {
		err := e.superOnce(ctx, servers, f)
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (e *Ensemble) superOnce(ctx context.Context, servers []string, f func(*zk.Conn) error) error {
	conn, _, err := zk.Connect(servers, 10*time.Second, zk.WithLogger(silent{}), zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout}
		return d.DialContext(ctx, network, address)
	}))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	end := context.AfterFunc(ctx, func() { conn.Close(); close(done) })
	defer func() {
		if end() {
			conn.Close()
		} else {
			<-done
		}
	}()
	if err := conn.AddAuth("digest", []byte(ensemble.Super)); err != nil {
		return err
	}
	return f(conn)
}

// transient reports whether another attempt may succeed: the connection broke, another change is in
// progress, or no quorum of the new configuration is connected yet.
func transient(err error) bool {
	const noQuorum, inProgress = "unknown error: -13", "unknown error: -14" // the client has no names for them
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionExpired) ||
		err.Error() == noQuorum || err.Error() == inProgress
}

type silent struct{}

func (silent) Printf(string, ...any) {}
