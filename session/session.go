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
)

// A Session is one ZooKeeper session. It is safe for concurrent use.
type Session struct {
	ref
	opts Options
	rand rand.Source
	zk   *zk.Conn

	life   context.Context // ends, with the cause, when the session does
	end    context.CancelCauseFunc
	done   chan struct{} // closed when nothing of the session runs any more
	work   sync.WaitGroup
	wake   chan struct{} // tells the keeper to look again
	parked chan struct{} // closed when the client has a parkedConn: the session is over
	park   func()        // closes parked, once
	up     *gate         // open while there is a connection
	tidy   *gate         // open while no clean-up is under way

	tickets *tickets // of the requests

	rootSeen  atomic.Bool   // the chroot exists
	reporting chan struct{} // holds one token when reports may be non-empty

	mu          sync.Mutex
	reports     []func() // for the logger and the metrics, to be called without mu
	state       State
	listeners   map[*listener]struct{}
	id          int64
	password    []byte
	foreign     bool // the servers are not ZooKeeper
	timeout     time.Duration
	current     *conn // the one that serves the session; nil while there is none
	latest      *conn // the last one that was dialled
	attempts    int   // to connect since one lasted
	failures    int   // of attempts to connect since there was a connection
	unwelcome   bool  // a server demanded credentials that it did not get, and is closing the session
	downSince   time.Time
	trying      string // the server that was dialled last
	dialError   error
	lastZxid    int64 // of a reply: all events up to it came before it
	seenZxid    int64 // of a reply or an event: a server that is behind it must not answer
	told        bool  // of an event without a zxid, after the last reply: it may be later than seenZxid
	inflight    map[int32]packet
	pings       []time.Time // when the unanswered pings were sent
	queued      []byte      // frames to be sent before the next of the client
	watches     map[watchKey]*watched
	holds       map[*hold]struct{}
	lease       lease
	sleptBefore time.Duration // what Options.slept had counted when no lease rested on it
	lastPing    time.Time     // of the session's own
	beating     bool          // a heartbeat is under way
	syncing     bool          // a sync of an idle session is
	beatAfter   time.Time     // the last one failed: not before this
	renewal     chan struct{} // closed when the lease stands again; nil while nobody waits
	cleaning    int           // clean-ups under way
}

// Open connects to one of the servers and begins a session. It fails with the
// reason when ctx ends first, and then nothing is left behind.
func Open(ctx context.Context, opts Options) (*Session, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Session{
		opts:      opts,
		rand:      opts.source(),
		done:      make(chan struct{}),
		wake:      make(chan struct{}, 1),
		parked:    make(chan struct{}),
		reporting: make(chan struct{}, 1),
		up:        newGate(),
		tidy:      newGate(),
		tickets:   newTickets(),
		state:     Suspended,
		downSince: time.Now(),
		listeners: make(map[*listener]struct{}),
		inflight:  make(map[int32]packet),
		watches:   make(map[watchKey]*watched),
		holds:     make(map[*hold]struct{}),
	}
	s.ref = engine.NewRef(inside{s})
	s.sleptBefore = opts.slept()
	s.park = sync.OnceFunc(func() { close(s.parked) })
	s.life, s.end = context.WithCancelCause(context.Background())
	s.tidy.set(true)

	client, events, err := connect(s)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s.zk = client
	s.work.Go(s.keep)
	go s.supervise(events)

	if err := s.up.wait(ctx, s.life); err != nil {
		return nil, s.openFailed(ctx, err)
	}
	return s, nil
}

func (s *Session) openFailed(ctx context.Context, err error) error {
	s.mu.Lock()
	why, trying := s.dialError, s.trying
	s.mu.Unlock()
	s.finish(ErrClosed)
	<-s.done
	switch {
	case ctx.Err() == nil:
		return fmt.Errorf("session: %w", err)
	case why == nil:
		return fmt.Errorf("session: no server answered: %w (tried %s)", err, trying)
	}
	return fmt.Errorf("session: no server answered: %w (last: %w)", err, why)
}

// supervise reports until the session ends, and waits until it is taken apart.
func (s *Session) supervise(events <-chan zk.Event) {
	for s.life.Err() == nil {
		select {
		case <-s.reporting:
		case <-s.life.Done():
		}
		s.report()
	}
	for range events { // closed when the client's goroutines have ended
	}
	s.work.Wait()
	s.report()
	close(s.done)
}

// dismiss closes the client. The requests under way end at once. A server is only
// waited for if it serves the session: it gets a closeSession, and at most a second
// to answer.
func (s *Session) dismiss() {
	s.mu.Lock()
	served := s.current != nil && errors.Is(s.Err(), ErrClosed)
	s.mu.Unlock()
	if !served {
		s.hangUp()
		<-s.parked
	}
	s.zk.Close()
	s.hangUp()
}

// hangUp closes the connection on which the client may be waiting for a server.
func (s *Session) hangUp() {
	s.mu.Lock()
	c := s.latest
	s.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// reportLocked has f called by supervise, in order: a logger or a hook that
// is slow, or uses the session, must not hold up the lease.
func (s *Session) reportLocked(f func()) {
	s.reports = append(s.reports, f)
	select {
	case s.reporting <- struct{}{}:
	default:
	}
}

func (s *Session) logLocked(level slog.Level, message string, args ...any) {
	s.logInLocked(context.Background(), level, message, args...)
}

// logInLocked is logLocked with a context for the handler, which may be nil.
func (s *Session) logInLocked(ctx context.Context, level slog.Level, message string, args ...any) {
	if ctx == nil {
		ctx = context.Background()
	}
	s.reportLocked(func() { s.opts.Logger.Log(ctx, level, message, args...) })
}

func (s *Session) report() {
	s.mu.Lock()
	reports := s.reports
	s.reports = nil
	s.mu.Unlock()
	for _, f := range reports {
		f()
	}
}

// finish ends the session for the given reason. Holds end first: their
// programs must know before the servers can give them to somebody else.
func (s *Session) finish(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(cause)
}

func (s *Session) finishLocked(cause error) {
	if s.life.Err() != nil {
		return
	}
	s.endHoldsLocked(cause)
	s.end(cause)
	s.setStateLocked(stateAtEnd(cause))
	for key, w := range s.watches {
		w.fire(key, zk.Event{Type: zk.EventNotWatching, State: zk.StateDisconnected, Path: s.outer(key.path), Err: cause})
	}
	clear(s.watches)
	if s.id != 0 { // else it never began, and Open says why
		s.logLocked(slog.LevelInfo, "zookeeper session ended", "session", hexID(s.id), "cause", cause)
	}
}

func stateAtEnd(cause error) State {
	if errors.Is(cause, ErrClosed) {
		return Closed
	}
	return Lost
}

// Close ends the session: every hold ends, the clean-up that is under way is
// given a third of the session timeout, and the server deletes the session's
// ephemeral nodes at once. It returns when no goroutine of the session is
// left. Without a server the ephemeral nodes go when the session expires.
// Calling it again, or on a lost session, is fine and waits too.
func (s *Session) Close() error {
	s.mu.Lock()
	s.endHoldsLocked(ErrClosed)
	timeout := s.timeout
	s.mu.Unlock()
	s.settle(timeout / 3)
	s.finish(ErrClosed)
	<-s.done
	return nil
}

// ID is the number by which servers know the session. It is 0 before the
// session began.
func (s *Session) ID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Password is the secret with which a client proves that the session is its
// own. Whoever has it can close the session.
func (s *Session) Password() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.password)
}

// Timeout is the session timeout that the server granted.
func (s *Session) Timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timeout == 0 {
		return s.opts.Timeout
	}
	return s.timeout
}

// Server is the address of the server that the session is connected to, ""
// while there is none.
func (s *Session) Server() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return ""
	}
	return s.current.server
}

// Done is closed when the session is over, whether lost or closed.
func (s *Session) Done() <-chan struct{} { return s.life.Done() }

// Context ends when the session does, with the cause that Err returns.
//
// It is no proof of holding anything: use a Hold's context for that.
func (s *Session) Context() context.Context { return s.life }

// Err returns nil while the session goes on, then why it ended: an error that
// is ErrLost, or ErrClosed.
func (s *Session) Err() error { return context.Cause(s.life) }

func hexID(id int64) string { return fmt.Sprintf("%#x", uint64(id)) }

// abandonAfter is how long the session may be without a server; negative for ever.
func (s *Session) abandonAfter() time.Duration {
	if s.opts.Abandon != 0 {
		return s.opts.Abandon
	}
	return 3 * s.timeout
}
