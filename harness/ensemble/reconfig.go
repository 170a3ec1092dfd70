package ensemble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// configNode is the znode that contains the members.
const configNode = "/zookeeper/config"

// Reconfigure implements Members.SetRole with the operation reconfig of ZooKeeper. The argument
// `entry` describes the node as the servers' configuration does: its addresses and the given role.
func Reconfigure(ctx context.Context, e Ensemble, node int, role Role, entry string) error {
	var join, leave []string
	if id := fmt.Sprint(node + 1); role == Removed {
		leave = []string{id}
	} else {
		join = []string{"server." + id + "=" + entry}
	}
	err := asSuper(ctx, e, func(conn *zk.Conn) error {
		_, err := conn.IncrementalReconfig(join, leave, -1)
		return err
	})
	if err != nil {
		return fmt.Errorf("make node %d %s: %w", node, role, err)
	}
	return nil
}

// ReadRoles implements Members.Roles: it reads the configuration of the servers.
func ReadRoles(ctx context.Context, e Ensemble) (roles []Role, version string, err error) {
	err = asSuper(ctx, e, func(conn *zk.Conn) error {
		if _, err := conn.Sync(configNode); err != nil {
			return err
		}
		text, _, err := conn.Get(configNode)
		roles, version = parseRoles(string(text), len(e.Servers()))
		return err
	})
	if err != nil {
		return roles, version, fmt.Errorf("read %s: %w", configNode, err)
	}
	return roles, version, nil
}

// parseRoles parses a configuration of n nodes.
func parseRoles(text string, n int) (roles []Role, version string) {
	for range n {
		roles = append(roles, Removed)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, found := strings.CutPrefix(line, "version="); found {
			version = v
		}
		for i := range n {
			if entry, found := strings.CutPrefix(line, fmt.Sprintf("server.%d=", i+1)); found {
				roles[i] = Participant
				if strings.Contains(entry, ":observer") {
					roles[i] = Observer
				}
			}
		}
	}
	return roles, version
}

// asSuper calls f with a connection that has the right to change the configuration. If the attempt
// fails with an error for which the function `transient` returns true, asSuper tries again with a
// new connection, until ctx ends.
func asSuper(ctx context.Context, e Ensemble, f func(*zk.Conn) error) error {
	for {
		err := superOnce(ctx, e, f)
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the last attempt: %w", context.Cause(ctx), explained(err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func superOnce(ctx context.Context, e Ensemble, f func(*zk.Conn) error) error {
	servers, err := reachable(ctx, e)
	if err != nil {
		return err
	}
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
	if err := conn.AddAuth("digest", []byte(Super)); err != nil {
		return err
	}
	return f(conn)
}

// errUnreachable means that all nodes are down, or that none listens yet.
var errUnreachable = errors.New("no node accepts connections")

// The function `reachable` returns the addresses of the sockets of those nodes that accept
// connections.
func reachable(ctx context.Context, e Ensemble) (addresses []string, err error) {
	for _, server := range e.Servers() {
		address, dialErr := addressOf(ctx, e, server)
		if dialErr != nil {
			err = errors.Join(err, dialErr)
			continue
		}
		addresses = append(addresses, address)
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return addresses, nil
}

// The function `transient` reports whether another attempt may succeed after the error. This is so
// if no node was reachable, the connection broke, the session expired, another change is in
// progress, or no quorum of the new configuration is connected yet.
func transient(err error) bool {
	if errors.Is(err, ErrClosed) {
		return false
	}
	return errors.Is(err, errUnreachable) || errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionExpired) ||
		err.Error() == noQuorum || err.Error() == inProgress
}

// The texts of errors for which go-zookeeper has no names.
const noQuorum, inProgress = "unknown error: -13", "unknown error: -14"

// If the text of err is noQuorum or inProgress, the function `explained` returns an error that says
// what happened. It returns any other error unchanged.
func explained(err error) error {
	switch err.Error() {
	case noQuorum:
		return errors.New("no quorum of the new configuration is connected")
	case inProgress:
		return errors.New("another change of the configuration is in progress")
	}
	return err
}

type silent struct{}

func (silent) Printf(string, ...any) {}
