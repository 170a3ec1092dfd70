package lock_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// A jam blocks a connection. When `set` is true, the next write on the connection blocks until the
// channel `broken` is closed. The jam then closes the connection. Requests that the client makes in
// the meantime wait in the client's queue, and are not written on this connection.
type jam struct {
	set    atomic.Bool
	once   sync.Once
	broken chan struct{}
}

type jammedConn struct {
	net.Conn
	jam *jam
}

func (c jammedConn) Write(b []byte) (int, error) {
	if c.jam.set.Load() {
		<-c.jam.broken
		c.Close()
	}
	return c.Conn.Write(b)
}

// The method `dial` jams only the first connection of a session.
func (j *jam) dial(o *session.Options) {
	next := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		if conn, err = next(ctx, network, address); err == nil {
			j.once.Do(func() { conn = jammedConn{conn, j} })
		}
		return conn, err
	}
}

// If a connection is lost before a transaction was sent on it, the transaction is sent on the next
// connection.
//
// Covers L6.
func TestTxnThatWasNotSentIsSentAgain(t *testing.T) {
	for name, take := range grants {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				j := &jam{broken: make(chan struct{})}
				c := w.Client(j.dial)
				recipetest.Must(w.Admin().Create(t.Context(), "/log", nil, session.Persistent))
				g := recipetest.Must(take(t.Context(), c))
				j.set.Store(true)
				go func() { _, _ = c.Exists(t.Context(), "/log") }() // this write blocks
				synctest.Wait()
				done := make(chan error, 1)
				go func() {
					_, err := g.Txn(t.Context(), entry())
					done <- err
				}()
				synctest.Wait()
				close(j.broken)
				ok(t, <-done)
				ok(t, context.Cause(g.Context()))
				if n := len(w.Nodes("/log")); n != 1 {
					t.Errorf("entries: got %d, want 1", n)
				}
			})
		})
	}
}

// If a connection is lost before the create of an Exclusive was sent on it, the create is sent on
// the next connection. The same is true of the request that releases a Mutex.
//
// Covers L4.
func TestExclusiveThatWasNotSentIsSentAgain(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		recipetest.Must(w.Admin().Create(t.Context(), "/d", nil, session.Persistent))
		jammed := func(f func(c *recipetest.Client) (work func() error)) {
			j := &jam{broken: make(chan struct{})}
			c := w.Client(j.dial)
			work := f(c)
			j.set.Store(true)
			go func() { _, _ = c.Exists(t.Context(), "/d") }()
			synctest.Wait()
			done := make(chan error, 1)
			go func() { done <- work() }()
			synctest.Wait()
			close(j.broken)
			ok(t, <-done)
		}
		var g *lock.Grant
		jammed(func(c *recipetest.Client) func() error {
			return func() (err error) {
				g, err = lock.NewExclusive(c.Session, "/d/node", lock.Options{}).TryLock(t.Context())
				return err
			}
		})
		ok(t, g.Unlock(t.Context()))
		jammed(func(c *recipetest.Client) func() error {
			g := recipetest.Must(mutexAt("/d/lock")(c).Lock(t.Context()))
			return func() error { return g.Unlock(t.Context()) }
		})
		w.NothingLeft()
	})
}
