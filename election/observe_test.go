package election_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// observe returns a channel that receives the values of an observer, with "-" for no leader.
func observe(ctx context.Context, c *recipetest.Client) <-chan string {
	given := make(chan string, 100)
	go func() {
		defer close(given)
		for leader, err := range election.New(c.Session, path, election.Options{}).Observe(ctx) {
			switch {
			case err != nil:
				given <- fmt.Sprint("error: ", errors.Is(err, context.Canceled), errors.Is(err, session.ErrLost))
			case leader.Epoch == 0:
				given <- "-"
			default:
				given <- string(leader.Value)
			}
		}
	}()
	synctest.Wait()
	return given
}

func given(t *testing.T, c <-chan string, want ...string) {
	t.Helper()
	synctest.Wait()
	for _, w := range want {
		select {
		case got := <-c:
			if got != w {
				t.Errorf("observed %q, want %q", got, w)
			}
		default:
			t.Errorf("observed nothing, want %q", w)
		}
	}
	select {
	case got, more := <-c:
		if more {
			t.Errorf("observed %q, want nothing more", got)
		}
	default:
	}
}

// An observer continues when a server that is too busy refuses its requests. Regression: the loop
// over Observe ended.
//
// Covers E8.
func TestBusyServerEndsNoObserver(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		o, a, b := w.Client(), w.Client(), w.Client()
		refuse := func(count int) {
			var all []recipetest.Refusal
			for _, pattern := range []string{path, path + "/*"} {
				for _, op := range []string{"getData", "getChildren2", "exists"} {
					all = append(all, recipetest.Refusal{Op: op, Path: pattern, Count: count, Code: wire.ThrottledOp})
				}
			}
			o.RefuseSome(all...)
		}
		refuse(2)
		ctx, stop := context.WithCancel(t.Context())
		seen := observe(ctx, o)
		time.Sleep(recipetest.Timeout)
		given(t, seen, "-")
		refuse(2)
		first := now(t, campaign(a, t.Context(), "a"))
		time.Sleep(recipetest.Timeout)
		given(t, seen, "a")
		refuse(2)
		second := campaign(b, t.Context(), "b")
		recipetest.Check(t, first.Resign(t.Context()))
		time.Sleep(recipetest.Timeout)
		given(t, seen, "b")
		refuse(0)
		recipetest.Check(t, now(t, second).Resign(t.Context()))
		time.Sleep(recipetest.Timeout)
		stop()
		given(t, seen, "error: true false")
		w.NothingLeft()
	})
}

// Run does not end when a server that is too busy refuses two requests of a candidate: to create
// the candidate's znode, and to watch the candidate's predecessor.
func TestBusyServerEndsNoRun(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, b := w.Client(), w.Client()
		first := now(t, campaign(a, t.Context(), "a"))
		busy := []*recipetest.Refusal{
			b.Refuse(recipetest.Refusal{Op: "create", Path: path + "/*", Count: 1, Code: wire.ThrottledOp}),
			b.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Count: 1, Code: wire.ThrottledOp}),
		}
		leads, done, enough := make(chan bool, 1), make(chan error, 1), errors.New("enough")
		ctx, stop := context.WithCancelCause(t.Context())
		go func() {
			done <- election.New(b.Session, path, election.Options{}).Run(ctx, func(ctx context.Context, _ *election.Term) error {
				leads <- true
				<-ctx.Done()
				return context.Cause(ctx)
			})
		}()
		time.Sleep(recipetest.Timeout)
		for i, r := range busy {
			if r.Fired() != 1 {
				t.Errorf("refusal %d: got %d refused requests, want 1", i, r.Fired())
			}
		}
		recipetest.Check(t, first.Resign(t.Context()))
		w.Within(time.Second, "the next term", func(ctx context.Context) error {
			select {
			case <-leads:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		stop(enough)
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("Run: got error %v, want %v", err, enough)
		}
		w.NothingLeft()
	})
}

// An observer sees each change of the leader or of the leader's value. The test also checks which
// requests each change costs the observer.
//
// Covers E8.
func TestObserverSeesEachChange(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		o := w.Client()
		watching, stop := context.WithCancel(ctx)
		seen := observe(watching, o)
		given(t, seen, "-")
		o.Expect(t, "no directory", "getChildren2 getChildren2 exists")

		a, b, c, d := w.Client(), w.Client(), w.Client(), w.Client()
		first := now(t, campaign(a, ctx, "a"))
		given(t, seen, "a")
		o.Requests()
		second := campaign(b, ctx, "b")
		giving, cancel := context.WithCancel(ctx)
		third := campaign(c, giving, "c")
		fourth := campaign(d, ctx, "d")
		cancel()
		<-third
		given(t, seen)
		o.Expect(t, "candidates come and go", "")

		ok(t, first.Proclaim(ctx, []byte("a2")))
		given(t, seen, "a2")
		o.Expect(t, "proclamation", "getData")
		_, err := first.Txn(ctx, session.CreateOp{Path: "/x", Mode: session.Persistent})
		ok(t, err)
		given(t, seen)
		o.Expect(t, "transaction", "")

		ok(t, first.Resign(ctx))
		given(t, seen, "b")
		// The last list of the observer contained only the leader, so the observer lists again.
		o.Expect(t, "succession", "getData getChildren2 getData")
		b.Lose()
		now(t, fourth)
		given(t, seen, "d")
		o.Expect(t, "succession, the next one known", "getData getData")
		e := <-second
		ok(t, e.err)

		d.Lose()
		given(t, seen, "-")
		stop()
		given(t, seen, "error: true false")
		w.NothingLeft()
	})
}

func TestObserverEndsWithItsSession(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		o := w.Client()
		seen := observe(t.Context(), o)
		given(t, seen, "-")
		o.Lose()
		time.Sleep(recipetest.Timeout)
		given(t, seen, "error: false true")
	})
}

func TestLeader(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		e := election.New(c.Session, path, election.Options{})
		leader, err := e.Leader(t.Context())
		if err != nil || leader.Epoch != 0 {
			t.Errorf("Leader: got epoch %d, error %v; want none", leader.Epoch, err)
		}
		term := now(t, campaign(c, t.Context(), "me"))
		leader, err = e.Leader(t.Context())
		if err != nil || leader.Epoch != term.Epoch() || leader.Session != c.ID() || string(leader.Value) != "me" {
			t.Errorf("Leader: got epoch %d, session %#x, value %q, error %v; want epoch %d, session %#x, value %q",
				leader.Epoch, leader.Session, leader.Value, err, term.Epoch(), c.ID(), "me")
		}
		ok(t, term.Resign(t.Context()))
		w.NothingLeft()
	})
}

// An observer sees the first candidate at whatever moment the candidate joins, for example while
// the observer is about to watch a directory that does not exist.
//
// Covers E8.
func TestObserverMissesNoFirstCandidate(t *testing.T) {
	for n := 1; n <= 8; n++ {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			a, o := w.Client(), w.Client()
			terms := make(chan *election.Term, 1)
			var once sync.Once
			come := func() {
				once.Do(func() {
					term, err := election.New(a.Session, path, election.Options{Label: "a"}).Campaign(t.Context())
					if err != nil {
						t.Error(err)
					}
					terms <- term
				})
			}
			o.At(n, come)
			ctx, stop := context.WithCancel(t.Context())
			seen := observe(ctx, o)
			come()
			synctest.Wait()
			last := ""
			for len(seen) > 0 {
				last = <-seen
			}
			if last != "a" {
				t.Errorf("moment %d: last observed %q, want %q", n, last, "a")
			}
			stop()
			ok(t, (<-terms).Resign(t.Context()))
			w.NothingLeft()
		})
	}
}

// If several candidates departed at once, the observer lists the candidates again.
func TestObserverListsWhenItsListIsOld(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		first := now(t, campaign(w.Client(), ctx, "a"))
		giving, cancel := context.WithCancel(ctx)
		for range 5 {
			campaign(w.Client(), giving, "gone")
		}
		last := campaign(w.Client(), ctx, "z")
		o := w.Client()
		watching, stop := context.WithCancel(ctx)
		seen := observe(watching, o)
		given(t, seen, "a")
		cancel()
		synctest.Wait()
		o.Requests()
		ok(t, first.Resign(ctx))
		given(t, seen, "z")
		o.Expect(t, "succession", "getData getData getChildren2 getData")
		stop()
		ok(t, now(t, last).Resign(ctx))
	})
}

// Value returns the value that observers see. This is true even if the caller later changes the
// buffer that it passed to Proclaim, or if the answer to Proclaim is lost.
func TestValueIsWhatObserversAreShown(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client()
		e := election.New(c.Session, "/e", election.Options{Label: "one"})
		expect := func(term *election.Term, want string) {
			t.Helper()
			shown := recipetest.Must(e.Leader(ctx))
			if got := string(term.Value()); got != want || string(shown.Value) != want {
				t.Errorf("Value: got %q; observers see %q; want %q", got, shown.Value, want)
			}
		}
		term := recipetest.Must(e.Campaign(ctx))
		expect(term, "one")
		value := []byte("two")
		ok(t, term.Proclaim(ctx, value))
		copy(value, "xxx")
		expect(term, "two")

		given, cancel := context.WithCancel(ctx)
		w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Path: term.Path(), Fate: zktest.CloseBeforeReply})
		c.Before("multi", func() { go cancel() })
		if err := term.Proclaim(given, []byte("three")); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("cancelled Proclaim: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Indeterminate)
		}
		recipetest.Must(term.Txn(ctx, session.CheckOp{Path: "/e", Version: session.AnyVersion}))
		expect(term, "three")
	})
}

// An observer distinguishes leaders that have the same label.
//
// Covers E8.
func TestObserverSeesASuccessorWithTheSameLabel(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		epochs := make(chan election.Epoch, 10)
		o := w.Client()
		go func() {
			for leader, err := range election.New(o.Session, path, election.Options{}).Observe(watching) {
				if err != nil {
					return
				}
				epochs <- leader.Epoch
			}
		}()
		a, b := w.Client(), w.Client()
		first := now(t, campaign(a, t.Context(), "same"))
		second := campaign(b, t.Context(), "same")
		ok(t, first.Resign(t.Context()))
		term := now(t, second)
		synctest.Wait()
		var last election.Epoch
		for len(epochs) > 0 {
			last = <-epochs
		}
		if last != term.Epoch() {
			t.Errorf("last observed epoch: got %#x, want %#x", last, term.Epoch())
		}
		ok(t, term.Resign(t.Context()))
	})
}
