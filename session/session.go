package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
)

// A Session is one ZooKeeper session. It is safe for concurrent use.
type Session struct {
	ref
	opts Options
	root chroot
	rand rand.Source
	zk   *zk.Conn

	life    *lifetime
	tap     *tap           // handles the frames of the connections
	keeper  *leaseKeeper   // holds and their lease
	watches *watchRegistry // watches
	servers *servers       // servers to connect to
	states  *states
	reports *reporter // calls the logger and the metrics

	finishing sync.Once
	done      chan struct{} // closed when no part of the session runs any more
	latest    atomic.Pointer[conn]
	parked    chan struct{} // closed when the client has a parkedConn, after the end of the session
	park      func()        // closes `parked`, at most once
	rootSeen  atomic.Bool   // a request has shown that the chroot exists
}

// Open connects to one of the servers and begins a session. If ctx ends first, Open returns the
// reason, and nothing is left behind.
func Open(ctx context.Context, opts Options) (*Session, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	opts.leases = leasetrace.From(ctx)
	s := assemble(opts)
	events, err := connect(s)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return s.begin(ctx, events)
}

// begin starts the goroutines of a session whose client has started, and waits for a server.
func (s *Session) begin(ctx context.Context, events <-chan zk.Event) (*Session, error) {
	kept := s.life.spawn(s.keep)
	if s.opts.FollowMembers {
		s.life.spawn(s.followMembers)
	}
	go s.supervise(events)
	if !kept { // a server has already ended the session
		s.dismiss()
	}

	if err := s.tap.up.wait(ctx, s.life.ctx); err != nil {
		s.finish(ErrClosed)
		<-s.done
		if ctx.Err() != nil {
			err = s.servers.whyNot(err)
		}
		return nil, fmt.Errorf("session: %w", err)
	}
	return s, nil
}

// assemble returns a session without a client.
func assemble(opts Options) *Session {
	s := &Session{opts: opts, root: chroot(opts.Chroot), rand: opts.source(), done: make(chan struct{}), parked: make(chan struct{})}
	s.ref = engine.NewRef(inside{s})
	s.park = sync.OnceFunc(func() { close(s.parked) })
	s.life = newLifetime()
	s.reports = newReporter(opts.Logger)
	s.states = newStates(s.stateChanged)
	s.servers = newServers(opts.Servers, s.rand, s.reports)
	s.keeper = newLeaseKeeper(&s.opts, s.reports)
	s.watches = newWatchRegistry(s.root)
	s.tap = newTap(&s.opts, s.life, s.keeper, s.watches, s.servers, s.states, s.reports)
	return s
}

func (s *Session) stateChanged(state State) {
	if told := s.opts.Metrics.State; told != nil {
		s.reports.add(func() { told(state) })
	}
}

// supervise calls the logger and the hooks until the session ends. Then it waits until all parts of
// the session have stopped.
func (s *Session) supervise(events <-chan zk.Event) {
	s.reports.run(s.life.ctx)
	for range events { // ends when the client's goroutines have ended
	}
	s.life.wait()
	s.reports.flush()
	close(s.done)
}

// dismiss closes the client. The requests in progress end at once. If the program closed the
// session and the session is still connected, the client sends closeSession and waits at most a
// second for the answer. In all other cases, dismiss does not wait for a server.
func (s *Session) dismiss() {
	if s.Server() == "" || !errors.Is(s.Err(), ErrClosed) {
		s.hangUp()
		<-s.parked
	}
	s.zk.Close()
	s.hangUp()
}

// hangUp closes the connection on which the client may be waiting for a server.
func (s *Session) hangUp() {
	if c := s.latest.Load(); c != nil {
		c.Close()
	}
}

// finish ends the session for the given reason, unless the session has already ended. Holds end
// first: a program must notice the end of a hold before another client can be granted the same
// lock.
func (s *Session) finish(cause error) {
	s.finishing.Do(func() {
		s.keeper.close(cause)
		s.life.end(cause)
		s.states.set(stateAtEnd(cause))
		s.watches.close(cause)
		if id := s.ID(); id != 0 { // if the id is 0, the session never began, and Open reports why
			s.reports.log(slog.LevelInfo, "zookeeper session ended", "session", hexID(id), "cause", cause)
		}
	})
}

func stateAtEnd(cause error) State {
	if errors.Is(cause, ErrClosed) {
		return Closed
	}
	return Lost
}

// Close ends the session. Every hold ends, and Close waits for clean-up in progress, at most a
// third of the session timeout. The server then deletes the session's ephemeral znodes at once.
// Close returns when no goroutine of the session is left. If no server is reachable, the ephemeral
// znodes are deleted when the session expires. A further call, or a call on a lost session, also
// waits and succeeds.
func (s *Session) Close() error {
	s.keeper.endAll(ErrClosed)
	s.life.settle(s.Timeout() / 3)
	s.finish(ErrClosed)
	<-s.done
	return nil
}

// ID returns the number that identifies the session at the servers. It is 0 before the session has
// begun.
func (s *Session) ID() int64 {
	id, _, _ := s.tap.identity()
	return id
}

// Password returns the secret with which a client proves that it owns the session. Anybody who has
// it can close the session.
func (s *Session) Password() []byte {
	_, password, _ := s.tap.identity()
	return slices.Clone(password)
}

// Timeout returns the session timeout that the server granted.
func (s *Session) Timeout() time.Duration {
	_, _, timeout := s.tap.identity()
	return timeout
}

// Server returns the address of the server that the session is connected to, or "" if there is
// none.
func (s *Session) Server() string { return s.tap.served() }

// Done returns a channel that is closed when the session is over, whether lost or closed.
func (s *Session) Done() <-chan struct{} { return s.life.ctx.Done() }

// Context returns a context that ends when the session ends, with the cause that Err returns.
//
// This context does not prove that anything is held: use the context of a Hold for that.
func (s *Session) Context() context.Context { return s.life.ctx }

// Err returns nil while the session is open. After its end, Err returns the cause: an error that is
// ErrLost, or ErrClosed.
func (s *Session) Err() error { return s.life.err() }

func hexID(id int64) string { return fmt.Sprintf("%#x", uint64(id)) }
