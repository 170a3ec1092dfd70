package election_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

const path = "/election"

type elected struct {
	*election.Term
	err error
}

func campaign(c *recipetest.Client, ctx context.Context, value string) <-chan elected {
	done := make(chan elected, 1)
	go func() {
		term, err := election.New(c.Session, path, election.Options{Label: value}).Campaign(ctx)
		done <- elected{term, err}
	}()
	synctest.Wait()
	return done
}

// The function `now` returns the term that a campaign has already won. It fails the test if the
// campaign has not won a term yet.
func now(t *testing.T, done <-chan elected) *election.Term {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-done:
		if e.err != nil {
			t.Fatalf("Campaign: got error %v, want a term", e.err)
		}
		return e.Term
	default:
		t.Fatal("Campaign still waits when all requests are answered, want a term by now")
		panic("unreachable")
	}
}

func notYet(t *testing.T, done <-chan elected) {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-done:
		t.Fatalf("Campaign returned, error %v; want the candidate to wait", e.err)
	default:
	}
}

var ok = recipetest.Check

// TestRequestsOfAnElection counts requests. A resignation is one write. The successor needs no
// request if it joined directly behind the leader, and one list request if it joined behind two
// candidates.
//
// Covers E7.
func TestRequestsOfAnElection(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		ok(t, now(t, campaign(a, ctx, "")).Resign(ctx)) // creates the directory
		synctest.Wait()
		a.Requests()

		first := now(t, campaign(a, ctx, "a"))
		a.Expect(t, "uncontended", "create getChildren2")
		second := campaign(b, ctx, "b")
		b.Expect(t, "candidate", "create getChildren2 getChildren2")
		third := campaign(c, ctx, "c")
		c.Expect(t, "candidate", "create getChildren2 getChildren2")
		ok(t, first.Proclaim(ctx, []byte("a2")))
		a.Expect(t, "proclaim", "multi")
		notYet(t, second)
		b.Expect(t, "after a proclamation", "")
		ok(t, first.Resign(ctx))
		a.Expect(t, "resign", "delete")
		term := now(t, second)
		b.Expect(t, "elected", "")
		c.Expect(t, "not next", "")
		ok(t, term.Resign(ctx))
		b.Expect(t, "resign", "delete")
		term = now(t, third)
		c.Expect(t, "elected, when two had been ahead", "getChildren2")
		ok(t, term.Resign(ctx))
		w.NothingLeft()
	})
}

// In this test the candidate that leads is connected to an isolated server. The context of its term
// ends before another candidate is elected, and its later Resign and Txn fail. In libkv#156, the
// leader is not notified that it was deposed. CURATOR-444, -620, -644, -653, -696 and druid#16411
// report two leaders.
//
// Covers E1, E2, E3, E6, E7.
func TestDeposedLeaderIsNotifiedFirst(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		follower := (w.Leader() + 1) % 3
		a := w.Client(w.On(follower))
		b := w.Client(w.On(w.Leader()))
		old := now(t, campaign(a, ctx, "a"))
		ends := make(chan time.Time, 1)
		context.AfterFunc(old.Context(), func() { ends <- time.Now() })
		next := campaign(b, ctx, "b")
		time.Sleep(time.Second)
		begun := time.Now()
		w.Isolate(follower)
		e := <-next
		ok(t, e.err)
		select {
		case ended := <-ends:
			t.Logf("context ended after %v, successor elected after %v", ended.Sub(begun), time.Since(begun))
		default:
			t.Fatal("second candidate elected while the context of the first term is alive")
		}
		if e.Epoch() <= old.Epoch() {
			t.Errorf("second epoch: got %d, want more than %d", e.Epoch(), old.Epoch())
		}
		if err := old.Resign(ctx); !errors.Is(err, session.ErrLeaseLapsed) {
			t.Errorf("Resign of a deposed leader: got %v, want %v", err, session.ErrLeaseLapsed)
		}
		if _, err := old.Txn(ctx, session.CreateOp{Path: "/x", Mode: session.Persistent}); session.OutcomeOf(err) != session.Failed {
			t.Errorf("Txn of a deposed leader: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.Failed)
		}
		ok(t, e.Resign(ctx))
	})
}

// When a leader has crashed, a successor is elected after at most the session timeout plus two
// ticks. The first tick is needed because servers round the time of expiry up to a multiple of the
// tick. The second tick is a margin.
//
// Covers E7.
func TestSuccessionAfterACrash(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		unplugged := false
		a := w.Client(func(o *session.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if unplugged {
					return nil, errors.New("unplugged")
				}
				return dial(ctx, network, address)
			}
		})
		b := w.Client()
		now(t, campaign(a, t.Context(), "a"))
		next := campaign(b, t.Context(), "b")
		unplugged = true
		w.Inject(zktest.Rule{Session: a.ID(), Fate: zktest.CloseBeforeRequest})
		a.Exists(t.Context(), "/")
		begun := time.Now()
		e := <-next
		ok(t, e.err)
		if took := time.Since(begun); took > recipetest.Timeout+2*2*time.Second {
			t.Errorf("successor elected after %v, want at most %v", took, recipetest.Timeout+2*2*time.Second)
		} else {
			t.Logf("succeeded after %v", took)
		}
		ok(t, e.Resign(t.Context()))
	})
}

// In this test each leader increments the count of the previous leader, while requests or replies
// are lost. Every increment is applied exactly once.
//
// Covers E4, E5.
func TestLeadersCountTogether(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		_, err := w.Admin().Create(ctx, "/count", nil, session.Persistent)
		ok(t, err)
		const clients, rounds = 3, 12
		var wg sync.WaitGroup
		for i := range clients {
			c := w.Client()
			fate := []zktest.Fate{zktest.CloseBeforeReply, zktest.CloseBeforeRequest}[i%2]
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Skip: 3, Count: 1, Fate: fate})
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Skip: 8, Count: 2, Fate: fate})
			wg.Go(func() {
				for range rounds {
					term, err := election.New(c.Session, path, election.Options{}).Campaign(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					value, err := c.Get(ctx, "/count")
					if err == nil {
						_, err = term.Txn(ctx, session.SetOp{Path: "/count", Data: append(value.Data, 'x'), Version: session.AnyVersion})
					}
					if err != nil {
						t.Error(err)
					}
					if err := term.Resign(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		value, err := w.Admin().Get(ctx, "/count")
		ok(t, err)
		if len(value.Data) != clients*rounds {
			t.Errorf("count: got %d, want %d", len(value.Data), clients*rounds)
		}
		w.NothingLeft()
	})
}

func campaignOnce(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
	term, err := election.New(s, path, election.Options{}).Campaign(ctx)
	if err != nil {
		return nil, err
	}
	return term.Resign, nil
}

// A Campaign that fails leaves no znode, whichever of its requests or waits was interrupted. A
// remaining znode would later count as the leader. In etcd#21128, a Campaign that failed left its
// key. In etcd#11456, Campaign returns after its own etcd lease has expired.
//
// Covers E9.
func TestFailedCampaignLeavesNoCandidate(t *testing.T) {
	t.Run("free", recipetest.Call{Do: campaignOnce}.AtEachCrashPoint)
	t.Run("blocked", recipetest.Call{Do: campaignOnce, Block: campaignOnce}.AtEachCrashPoint)
	t.Run("between two steps", func(t *testing.T) { recipetest.CancelBetweenSteps(t, campaignOnce) })
}

// Run leads again after its session was lost. The context of the lost term ends before the next
// term begins. Run returns when its function returns nil.
//
// Covers E6, E7.
func TestRunSurvivesLostSessions(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		opts := session.Options{Servers: w.Servers(), Timeout: recipetest.Timeout, Dial: w.DialContext}
		var epochs []election.Epoch
		again := true
		err := election.Run(t.Context(), opts, path, election.Options{Label: "v"}, func(ctx context.Context, term *election.Term) error {
			if len(epochs) > 0 && term.Epoch() <= epochs[len(epochs)-1] {
				t.Errorf("epoch: got %d after %v, want a larger one", term.Epoch(), epochs)
			}
			epochs = append(epochs, term.Epoch())
			switch {
			case len(epochs) < 4:
				leader, err := election.New(w.Admin().Session, path, election.Options{}).Leader(ctx)
				ok(t, err)
				ok(t, w.Expire(leader.Session))
				<-ctx.Done()
				return context.Cause(ctx)
			case again:
				again = false
				return election.ErrAgain
			}
			return nil
		})
		if err != nil || len(epochs) != 5 {
			t.Errorf("Run: got %v after %d terms, want none after 5", err, len(epochs))
		}
		w.NothingLeft()
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		ctx, cancel := context.WithCancel(t.Context())
		err := election.New(c.Session, path, election.Options{}).Run(ctx, func(ctx context.Context, _ *election.Term) error {
			cancel()
			<-ctx.Done()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run with an ended context: got %v, want %v", err, context.Canceled)
		}
		broken := errors.New("broken")
		err = election.New(c.Session, path, election.Options{}).Run(t.Context(), func(context.Context, *election.Term) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("Run: got %v, want %v", err, broken)
		}
		w.NothingLeft()
	})
}

// In this test a server notifies a candidate that the leader's znode is gone. After that, the
// candidate's connection is lost before the server answers anything else. The candidate's next
// server lags. Nevertheless, the candidate is elected and reads what the previous leader wrote.
//
// Covers E5.
func TestElectedReadsWhatWasWrittenOnAnotherServer(t *testing.T) {
	// Repeat the test, because a heartbeat may be sent before the reads. A heartbeat is a write, so
	// the later reads of the session show all earlier changes, and such a run tests nothing.
	for range 40 {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			ctx := t.Context()
			a := w.Client(w.On(w.Leader()))
			b, fresh, behind := w.OnFollower()
			recipetest.Must(a.Create(ctx, "/state", nil, session.Persistent))
			term := recipetest.Must(election.New(a.Session, "/e", election.Options{}).Campaign(ctx))
			next := make(chan *election.Term, 1)
			go func() { next <- recipetest.Must(election.New(b.Session, "/e", election.Options{}).Campaign(ctx)) }()
			synctest.Wait()
			w.Lag(behind, 300*time.Millisecond)
			time.Sleep(390 * time.Millisecond)
			w.Inject(zktest.Rule{Session: b.ID(), Server: fresh + 1, Fate: zktest.CloseBeforeRequest})
			recipetest.Must(term.Txn(ctx, session.SetOp{Path: "/state", Data: []byte("a"), Version: session.AnyVersion}))
			if err := term.Resign(ctx); err != nil {
				t.Error(err)
			}
			elected := <-next
			if v := recipetest.Must(b.Get(ctx, "/state")); string(v.Data) != "a" {
				t.Errorf("value that the next leader reads: got %q, want %q", v.Data, "a")
			}
			elected.Resign(ctx)
		})
	}
}
