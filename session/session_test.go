package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// The function `lose` expires s at the servers and waits until s has noticed.
func lose(t *testing.T, e *zktest.Ensemble, s *Session) {
	t.Helper()
	must(t, e.Expire(s.ID()))
	<-s.Done()
}

// Each listener gets all states in order, however slow it is.
//
// Covers S6.
func TestEveryListenerSeesEveryState(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e, 0)
		var told []State
		opts.Metrics.State = func(s State) { told = append(told, s) }
		s := open(t, opts)
		seen := make([][]State, 20)
		var listeners sync.WaitGroup
		for i := range seen {
			listeners.Go(func() {
				for state := range s.States(t.Context()) {
					seen[i] = append(seen[i], state)
					time.Sleep(time.Duration(i) * 10 * time.Second) // slow listeners too
				}
			})
		}
		synctest.Wait()
		for range 8 { // more than the client's own channel holds
			e.Kill(0)
			time.Sleep(3 * time.Second)
			e.Start(0)
			time.Sleep(3 * time.Second)
		}
		lose(t, e, s)
		if s.State() != Lost || !errors.Is(s.Err(), ErrLost) {
			t.Errorf("got state %v with %v, want %v with %v", s.State(), s.Err(), Lost, ErrLost)
		}
		must(t, s.Close())
		listeners.Wait()
		want := []State{Connected}
		for range 8 {
			want = append(want, Suspended, Connected)
		}
		// The server closes the connection of an expired session, so a listener may also get
		// Suspended before Lost.
		for i, states := range seen {
			if last := len(states) - 1; !slices.Equal(states[:min(last, len(want))], want) || states[last] != Lost {
				t.Errorf("listener %d got %v, want %v and then %v", i, states, want, Lost)
			}
		}
		if !slices.Equal(told, seen[0]) {
			t.Errorf("the hook got %v, want the states of the listeners %v", told, seen[0])
		}
		for state := range s.States(t.Context()) {
			if state != Lost {
				t.Errorf("a listener after the end got %v, want only %v", state, Lost)
			}
		}
	})
}

func TestListenerEndsWithItsContext(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for range s.States(ctx) {
			n++
			cancel()
		}
		for range s.States(t.Context()) {
			n++
			break
		}
		if n != 2 || len(s.states.listeners) != 0 {
			t.Errorf("got %d states and %d listeners left, want 2 and none", n, len(s.states.listeners))
		}
	})
}

// A logger or a hook may use the session, and may be slow. A hold still ends at its deadline at the
// latest.
func TestHooksAreCalledWithoutTheLock(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var s atomic.Pointer[Session]
		use := func() {
			if s := s.Load(); s != nil {
				s.ID()
				s.State()
			}
			time.Sleep(time.Second)
		}
		opts := on(e, follower(e))
		opts.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) { use(); return len(b), nil }), nil))
		opts.Metrics = Metrics{State: func(State) { use() }, Heartbeat: func(_, _ time.Duration) { use() }, Lapsed: func(int) { use() }}
		opts.Metrics.Request = func(string, time.Duration, error) { s.Load().ID() }
		opened := open(t, opts)
		s.Store(opened)
		h := holding(t, opened, 1)[0]
		must(t, h.Grant(t.Context()))
		e.Isolate(follower(e))
		if err := cause(t, h.Context(), opened.Timeout()); err != ErrLeaseLapsed || time.Now().After(h.Deadline()) {
			t.Errorf("the hold ended with %v, %v after its deadline; want %v in time", err, time.Since(h.Deadline()), ErrLeaseLapsed)
		}
		must(t, opened.Close())
	})
}

// In this test, a hook is still running when the session ends. Requests with the session's own
// context must nevertheless end at once. Such a request runs on the caller's goroutine. Once the
// request is in progress, the end of the context does not end the request. So the session must
// close the client to end the request, and must not wait for the hook first.
//
// Covers S5, S7.
func TestSlowHookDelaysNoRequestAtTheEnd(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		release := make(chan struct{})
		opts := on(e)
		opts.Metrics.State = func(State) { <-release }
		s := open(t, opts)
		e.Inject(zktest.Rule{Count: -1, Fate: zktest.DelayReply, Delay: time.Hour})
		creation := make(chan error, 1)
		s.life.spawn(func() { _, err := s.Create(s.Context(), "/n-", nil, Ephemeral); creation <- err })
		deletion := make(chan error, 1)
		go func() { deletion <- s.Delete(s.Context(), "/n", AnyVersion) }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		start := time.Now()
		if err := <-creation; !errors.Is(err, ErrClosed) {
			t.Errorf("the create: got %v, want %v", err, ErrClosed)
		}
		if err := <-deletion; !errors.Is(err, ErrClosed) || OutcomeOf(err) != Indeterminate {
			t.Errorf("the delete: got %v (%v), want %v (%v)", err, OutcomeOf(err), ErrClosed, Indeterminate)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("the requests ended %v after Close, want at once", d)
		}
		close(release)
		must(t, <-closed)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// If no server answers, Open returns when its context ends. The error contains the reason of the
// last failed attempt.
//
// Covers S5.
func TestOpenEndsWithItsContext(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for name, breakIt := range map[string]func(i int){"down": e.Kill, "hung": e.Pause} {
			for i := range e.Servers() {
				breakIt(i)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			start := time.Now()
			s, err := Open(ctx, on(e))
			cancel()
			if s != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last: ") {
				t.Errorf("%s: Open: got %v, want a deadline exceeded with the last reason", name, err)
			}
			if d := time.Since(start); d > 21*time.Second {
				t.Errorf("%s: Open took %v, want at most 21 s", name, d)
			}
			for i := range e.Servers() {
				e.Resume(i)
				e.Start(i)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// A session that reaches no server ends after the time Options.Abandon, and not earlier.
//
// Covers S5.
func TestUnreachableSessionEndsWithinABound(t *testing.T) {
	for name, breakIt := range map[string]func(*zktest.Ensemble, int){"down": (*zktest.Ensemble).Kill, "hung": (*zktest.Ensemble).Pause} {
		for abandon, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Minute: time.Minute, -1: 0} {
			t.Run(fmt.Sprintf("%s/%v", name, abandon), func(t *testing.T) {
				inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
					opts := on(e)
					opts.Abandon = abandon
					s := open(t, opts)
					defer s.Close()
					for i := range e.Servers() {
						breakIt(e, i)
					}
					waiting := make(chan error, 1)
					go func() { waiting <- s.Sync(t.Context(), "/") }()
					start := time.Now()
					select {
					case <-s.Done():
					case <-time.After(10 * time.Minute):
					}
					d := time.Since(start)
					if want == 0 {
						if s.Err() != nil {
							t.Errorf("the session ended within %v: %v, want it to be open", d, s.Err())
						}
						return
					}
					if d < want || d > want+s.Timeout() || !errors.Is(s.Err(), ErrLost) {
						t.Errorf("the session was given up after %v with %v, want %v after about %v", d, s.Err(), ErrLost, want)
					}
					if err := <-waiting; !errors.Is(err, ErrLost) {
						t.Errorf("a waiting request: got %v, want %v", err, ErrLost)
					}
				})
			})
		}
	}
}

// Close can be called several times. It ends the session's holds and watches, and the servers
// delete the session's ephemeral znodes. Later requests fail.
//
// Covers S7.
func TestCloseIsIdempotentWaitsAndDeletes(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		_, err := s.Create(t.Context(), "/e", nil, Ephemeral)
		must(t, err)
		h := holding(t, s, 1)[0]
		must(t, h.Grant(t.Context()))
		_, w, err := s.ExistsWatch(t.Context(), "/w")
		must(t, err)
		start := time.Now()
		var closers sync.WaitGroup
		for range 5 {
			closers.Go(func() { must(t, s.Close()) })
		}
		closers.Wait()
		must(t, s.Close())
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("Close took %v, want at most 100 ms", d)
		}
		if !errors.Is(s.Err(), ErrClosed) || s.State() != Closed || context.Cause(s.Context()) != s.Err() || context.Cause(h.Context()) != ErrClosed {
			t.Errorf("after Close: got %v, state %v, hold ended with %v; want %v in all", s.Err(), s.State(), context.Cause(h.Context()), ErrClosed)
		}
		if ev, ok := <-w.C; !ok || ev.Err != ErrClosed {
			t.Errorf("the watch got %+v, want an event with %v", ev, ErrClosed)
		}
		if names := children(t, e, "/"); slices.Contains(names, "e") {
			t.Error("the ephemeral znode still exists after Close")
		}
		for name, err := range map[string]error{
			"get":     func() error { _, err := s.Get(t.Context(), "/"); return err }(),
			"existsW": func() error { _, _, err := s.ExistsWatch(t.Context(), "/"); return err }(),
			"create":  func() error { _, err := own(t.Context(), s, "/a"); return err }(),
		} {
			if !errors.Is(err, ErrClosed) || OutcomeOf(err) != Failed {
				t.Errorf("%s after Close: got %v (%v), want %v (%v)",
					name, err, OutcomeOf(err), ErrClosed, Failed)
			}
		}
	})
}

// If no server can be reached, Open returns soon after its context has ended, and Close returns
// soon after it was called. Regression: 3 to 8 of 100 calls of Open returned 1.0 s late, and Close
// was as late, because the client library waits a second for a request that was queued after the
// last flush of the queue.
//
// Covers S7.
func TestOpenAndCloseReturnInTime(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for i := range e.Servers() {
			e.Kill(i)
		}
		for i := range 100 {
			for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
				"refused": e.DialContext,
				"silent": func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go io.Copy(io.Discard, theirs)
					return ours, nil
				},
			} {
				opts := on(e)
				opts.Dial = dial
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+37*i)*time.Millisecond)
				ends, _ := ctx.Deadline()
				if _, err := Open(ctx, opts); !errors.Is(err, context.DeadlineExceeded) || time.Since(ends) > 100*time.Millisecond {
					t.Errorf("%s: Open returned %v after the end of its context with %v, want a deadline exceeded within 100 ms", name, time.Since(ends), err)
				}
				cancel()
			}
		}
		for i := range e.Servers() {
			e.Start(i)
		}
		for i := range 100 {
			s := open(t, on(e))
			for i := range e.Servers() {
				e.Kill(i)
			}
			time.Sleep(time.Duration(37*i) * time.Millisecond)
			start := time.Now()
			if err := s.Close(); time.Since(start) > 100*time.Millisecond {
				t.Errorf("Close without a server took %v (%v), want at most 100 ms", time.Since(start), err)
			}
			for i := range e.Servers() {
				e.Start(i)
			}
		}
	})
}

// Close of a session waits at most a second for a hung server. Without this package, go-zookeeper's
// client keeps the connection and the client's goroutines for two thirds of the timeout.
//
// Covers S7.
func TestCloseIsBoundedOnAHungServer(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Timeout = 40 * time.Second
		s := open(t, opts)
		for i := range e.Servers() {
			e.Pause(i)
		}
		start := time.Now()
		must(t, s.Close())
		if d := time.Since(start); d > 1100*time.Millisecond {
			t.Errorf("Close on a hung server took %v, want at most 1.1 s", d)
		}
	})
}

// After many sessions were closed or lost, nothing of them is left in this process or at the
// servers.
//
// Covers S1, S5, S7.
func TestNothingIsLeftAfterManySessions(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for i := range rounds {
			s := open(t, on(e))
			_, _, err := s.ExistsWatch(t.Context(), "/none")
			must(t, err)
			h := holding(t, s, 1)[0]
			must(t, h.Grant(t.Context()))
			if i%2 == 0 {
				lose(t, e, s)
				if err := context.Cause(h.Context()); err == nil {
					t.Fatal("the hold has not ended with its session")
				}
			}
			must(t, s.Close())
		}
		time.Sleep(time.Minute)
		if sessions, watches, ephemerals := mntr(t, e, "global_sessions"), mntr(t, e, "watch_count"), mntr(t, e, "ephemerals_count"); sessions+watches+ephemerals != 0 {
			t.Errorf("at the servers: got %d sessions, %d watches and %d ephemeral znodes left, want none",
				sessions, watches, ephemerals)
		}
	}) // a goroutine that is left would fail the bubble
}

func TestRunOpensANewSessionAfterEachLoss(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		ids := make(map[int64]bool)
		done := errors.New("done")
		err := Run(t.Context(), on(e), func(ctx context.Context, s *Session) error {
			ids[s.ID()] = true
			if len(ids) == 5 {
				return done
			}
			must(t, e.Expire(s.ID()))
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrLost) {
				t.Errorf("the context ended with %v, want %v", context.Cause(ctx), ErrLost)
			}
			return ctx.Err()
		})
		if err != done || len(ids) != 5 {
			t.Errorf("Run: got %v after %d sessions, want %v after 5", err, len(ids), done)
		}
		must(t, Run(t.Context(), on(e), func(context.Context, *Session) error { return nil }))

		why := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		err = Run(ctx, on(e), func(ctx context.Context, s *Session) error {
			cancel(why)
			<-ctx.Done()
			return nil
		})
		if err != why {
			t.Errorf("Run: got %v, want %v", err, why)
		}
		time.Sleep(time.Minute)
		if n := mntr(t, e, "global_sessions"); n != 0 {
			t.Errorf("at the servers: got %d sessions left, want none", n)
		}
	})
}

func TestRunWaitsForServers(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for i := range e.Servers() {
			e.Kill(i)
		}
		time.AfterFunc(time.Hour, func() {
			for i := range e.Servers() {
				e.Start(i)
			}
		})
		start := time.Now()
		must(t, Run(t.Context(), on(e), func(context.Context, *Session) error { return nil }))
		if d := time.Since(start); d < time.Hour || d > time.Hour+10*time.Second {
			t.Errorf("Run took %v, want 1h to 1h0m10s", d)
		}
	})
}

func TestAccessors(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e, 1)
		opts.Timeout = time.Second // below two ticks, so the server grants 4 s
		s := open(t, opts)
		defer s.Close()
		if s.ID() == 0 || len(s.Password()) != 16 || s.Timeout() != 4*time.Second || s.Server() != e.Servers()[1] || s.Err() != nil {
			t.Errorf("got id %#x, password %x, timeout %v, server %s, error %v; want an id, 16 bytes, 4s, server 1 and no error", s.ID(), s.Password(), s.Timeout(), s.Server(), s.Err())
		}
		e.Kill(1)
		synctest.Wait()
		if s.Server() != "" || s.State() != Suspended {
			t.Errorf("without servers: got server %q and state %v, want none and suspended", s.Server(), s.State())
		}
	})
	if s := State(99).String() + Suspended.String() + Connected.String() + Lost.String() + Closed.String(); s != "unknownsuspendedconnectedlostclosed" {
		t.Errorf("names of the states: got %s, want unknown, suspended, connected, lost and closed",
			s)
	}
}
