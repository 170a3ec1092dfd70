package session

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/zktest"
)

var seeds = flag.Int("seeds", 2, "runs of each attack on the lease")

// Seeds gives the tests of package session_test access to the flag -seeds.
var Seeds = seeds

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBubble runs f on a virtual clock with a new ensemble.
func inBubble(t *testing.T, opts zktest.Options, f func(t *testing.T, e *zktest.Ensemble)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		e, err := zktest.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(t, e)
	})
}

// The function `on` returns Options for the given servers of e, or for all servers of e if none is
// given.
func on(e *zktest.Ensemble, servers ...int) Options {
	opts := Options{Servers: e.Servers(), Dial: e.DialContext}
	if len(servers) > 0 {
		opts.Servers = nil
		for _, i := range servers {
			opts.Servers = append(opts.Servers, e.Servers()[i])
		}
	}
	return opts
}

// The function `open` opens a session. The caller must close it with defer. A function that is
// passed to t.Cleanup would run too late: inBubble has closed the ensemble by then.
func open(t *testing.T, opts Options) *Session {
	t.Helper()
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The function `cause` waits for the end of a context and returns its cause. It fails the test if
// the context has not ended within the given time.
func cause(t *testing.T, ctx context.Context, within time.Duration) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(within):
		t.Fatalf("the context has not ended within %v", within)
		return nil
	}
}

var errReleased = errors.New("released")

// The function `follower` returns the index of a server that is not the leader.
func follower(e *zktest.Ensemble) int { return (e.Leader() + 1) % len(e.Servers()) }

// The function `own` creates a znode of s in dir, like package recipe. It creates dir if dir does
// not exist.
func own(ctx context.Context, s *Session, dir string) (engine.Node, error) {
	if _, err := s.Create(ctx, dir, nil, Container); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return engine.Node{}, err
	}
	trace := new(engine.Trace)
	trace.Init()
	path, err := s.create(ctx, znode.Join(dir, "n-"), nil, EphemeralSequential, s.opts.ACL, trace)
	return engine.Node{Path: path, Czxid: trace.Zxid()}, err
}

// makeParents creates the parents of path.
func makeParents(t *testing.T, s *Session, path string) {
	t.Helper()
	dir, _ := znode.Split(path)
	if dir == "/" {
		return
	}
	makeParents(t, s, dir)
	if _, err := s.Create(t.Context(), dir, nil, Container); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		t.Fatal(err)
	}
}

// catchUp ensures that the next reads of s include everything that was committed before the call.
func catchUp(t *testing.T, s *Session) {
	t.Helper()
	_, err := s.Multi(t.Context(), CheckOp{Path: "/", Version: AnyVersion})
	must(t, err)
}

// The function `children` lists dir in a new session, after a quorum write. It returns nil if dir
// does not exist.
func children(t *testing.T, e *zktest.Ensemble, dir string) []string {
	t.Helper()
	s := open(t, on(e))
	defer s.Close()
	catchUp(t, s)
	listing, err := s.Children(t.Context(), dir)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		t.Fatal(err)
	}
	return listing.Names
}

// The method `current` returns the connection that serves the session, or nil.
func (s *Session) current() *conn {
	s.tap.mu.Lock()
	defer s.tap.mu.Unlock()
	return s.tap.current
}
