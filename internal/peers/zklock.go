package peers

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

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// zkLock is a client of go-zookeeper's own zk.Lock. It adds only the report of a loss: the grant is
// lost when the session or its connection reaches a state that counts as a loss. ZKLock and
// ZKLockUntilExpired say which states count.
type zkLock struct {
	conn  *zk.Conn
	path  string
	lock  *zk.Lock
	ended context.Context // ends at the first state that counts as a loss

	mu     sync.Mutex
	dialed []net.Conn
}

// connectTime limits the wait for the first session.
const connectTime = 30 * time.Second

func serveZKLock(of Library, s client.Setup, in io.Reader, out io.Writer) error {
	ends := []zk.State{zk.StateDisconnected, zk.StateExpired}
	if of == ZKLockUntilExpired {
		ends = ends[1:]
	}
	ended, end := context.WithCancelCause(context.Background())
	defer end(nil)
	has := make(chan struct{})
	first := sync.OnceFunc(func() { close(has) })
	l := &zkLock{path: s.Path, ended: ended}
	conn, _, err := zk.Connect(s.Servers, s.Timeout,
		zk.WithHostProvider(&inTurn{}),
		zk.WithDialer(func(network, address string, d time.Duration) (net.Conn, error) {
			return l.dial(s.Dial, network, address, d)
		}),
		zk.WithEventCallback(func(e zk.Event) {
			switch {
			case e.Type != zk.EventSession:
			case e.State == zk.StateHasSession && ended.Err() == nil:
				first()
			case slices.Contains(ends, e.State):
				end(fmt.Errorf("connection is %v", e.State))
			}
		}),
		zk.WithLogger(log.New(io.Discard, "", 0)))
	if err != nil {
		return err
	}
	l.conn = conn
	defer l.close()
	select {
	case <-has:
	case <-ended.Done():
		return context.Cause(ended)
	case <-time.After(connectTime):
		return fmt.Errorf("no session within %v", connectTime)
	}
	return client.Serve(in, out, client.Lock.Operations(), l.reply)
}

func (l *zkLock) dial(dial client.Dial, network, address string, d time.Duration) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	conn, err := dial(dialing, network, address)
	if err == nil {
		l.mu.Lock()
		l.dialed = append(l.dialed, conn)
		l.mu.Unlock()
	}
	return conn, err
}

// The method `reply` carries out the request. After a loss, the client replies to one more request
// and then ends, because only a new client gets a new session.
func (l *zkLock) reply(s *client.Server, r client.Request) client.Reply {
	reply := client.Reply{Type: client.Fail, Error: "unknown operation, or nothing is held"}
	switch {
	case r.Op == client.OpAcquire && l.ended.Err() != nil:
		reply.Error = context.Cause(l.ended).Error()
	case r.Op == client.OpAcquire:
		reply = l.acquire(r)
		context.AfterFunc(l.ended, func() { s.Lost(context.Cause(l.ended)) })
		return reply
	case r.Op == client.OpRelease && l.lock != nil:
		reply = client.ReplyOf(l.lock.Unlock())
	}
	reply.Last = l.ended.Err() != nil
	return reply
}

func (l *zkLock) acquire(r client.Request) client.Reply {
	ctx, cancel := r.Context()
	defer cancel()
	l.lock = zk.NewLock(l.conn, l.path, zk.WorldACL(zk.PermAll))
	// The library's Lock has no context. Closing the connection ends the call.
	defer context.AfterFunc(ctx, l.conn.Close)()
	if err := l.lock.Lock(); err != nil {
		return client.ReplyOf(err)
	}
	path, czxid, err := l.own()
	if err != nil {
		return client.ReplyOf(err)
	}
	return client.Reply{Type: client.OK, Token: czxid, Node: path}
}

// The method `own` finds the znode that the lock created, because the library does not return it.
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
	return "", 0, errors.New("granted, but the node of the lock does not exist")
}

// The method `close` also closes the network connections. This is necessary because the library
// leaves the current connection open when it learns that its session has expired.
func (l *zkLock) close() {
	l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.dialed {
		conn.Close()
	}
}

// inTurn makes the client try the servers in the given order, again and again.
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
