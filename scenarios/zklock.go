package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// zkLock is go-zookeeper's own zk.Lock as a locker. It has no signal of loss;
// what is added here is to believe in the hold until the connection is in one
// of the states given; the best that a program can do on that client is to take
// both Disconnected and Expired.
type zkLock struct {
	conn  *zk.Conn
	end   func() // closes conn
	path  string
	ended context.Context // ends with the hold

	mu     sync.Mutex
	dialed []net.Conn
}

// openZKLock connects with the given session timeout to the servers that the
// client is to use. Any of the states ends the hold.
func openZKLock(timeout time.Duration, servers serversOf, ends ...zk.State) opener {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		ended, end := context.WithCancelCause(context.Background())
		has := make(chan struct{})
		l := &zkLock{path: path, ended: ended}
		conn, _, err := zk.Connect(servers(ctx, c), timeout,
			zk.WithHostProvider(&inTurn{}),
			zk.WithDialer(func(network, address string, d time.Duration) (net.Conn, error) {
				dialing, cancel := context.WithTimeout(context.Background(), d)
				defer cancel()
				conn, err := c.Dial(dialing, network, address)
				if err == nil {
					l.mu.Lock()
					l.dialed = append(l.dialed, conn)
					l.mu.Unlock()
				}
				return conn, err
			}),
			zk.WithEventCallback(func(e zk.Event) {
				switch {
				case e.Type != zk.EventSession:
				case e.State == zk.StateHasSession && ended.Err() == nil:
					select {
					case <-has:
					default:
						close(has)
					}
				case slices.Contains(ends, e.State):
					end(fmt.Errorf("connection is %v", e.State))
				}
			}),
			zk.WithLogger(log.New(io.Discard, "", 0)))
		if err != nil {
			return nil, err
		}
		l.conn, l.end = conn, harness.Once(conn.Close)
		select {
		case <-has:
			c.Opened(harness.SessionInfo{ID: conn.SessionID(), Timeout: timeout})
			return l, nil
		case <-ctx.Done():
			l.close()
			return nil, context.Cause(ctx)
		case <-ended.Done():
			l.close()
			return nil, context.Cause(ended)
		}
	}
}

func (l *zkLock) lock(ctx context.Context, _ string) (held, error) {
	lock := zk.NewLock(l.conn, l.path, zk.WorldACL(zk.PermAll))
	// The library's Lock has no context. Closing the connection ends it.
	stop := context.AfterFunc(ctx, l.end)
	defer stop()
	if err := lock.Lock(); err != nil {
		return held{}, err
	}
	path, czxid, err := l.own()
	if err != nil {
		return held{}, err
	}
	return held{Context: l.ended, token: czxid, path: path, unlock: func(context.Context) error { return lock.Unlock() }}, nil
}

// own finds the node that the lock made, which the library does not tell.
func (l *zkLock) own() (path string, czxid int64, err error) {
	children, _, err := l.conn.Children(l.path)
	if err != nil {
		return "", 0, err
	}
	for _, name := range children {
		path := znode.Join(l.path, name)
		exists, stat, err := l.conn.Exists(path)
		if err == nil && exists && stat.EphemeralOwner == l.conn.SessionID() {
			return path, stat.Czxid, nil
		}
	}
	return "", 0, errors.New("granted, but the node is not there")
}

func (l *zkLock) lost() error { return context.Cause(l.ended) }

// close closes the connections too: the library leaves the one open on which
// it learnt that its session has expired.
func (l *zkLock) close() {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.dialed {
		conn.Close()
	}
}

// inTurn gives the servers as they are, in the order given.
type inTurn struct {
	servers []string
	next    int
}

func (h *inTurn) Init(servers []string) error {
	h.servers = append([]string{}, servers...)
	return nil
}
func (h *inTurn) Len() int   { return len(h.servers) }
func (h *inTurn) Connected() {}
func (h *inTurn) Next() (string, bool) {
	server := h.servers[h.next%len(h.servers)]
	h.next++
	return server, h.next > 1 && (h.next-1)%len(h.servers) == 0
}
