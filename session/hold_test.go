package session

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `holding` creates n znodes and begins a hold on each.
func holding(t *testing.T, s *Session, n int) []*hold {
	t.Helper()
	holds := make([]*hold, n)
	for i := range holds {
		node, err := own(t.Context(), s, "/h")
		must(t, err)
		holds[i] = s.keeper.begin(node)
	}
	return holds
}

// The function `counted` returns opts with a counter of heartbeats.
func counted(opts Options) (Options, *atomic.Int64) {
	beats := new(atomic.Int64)
	opts.Metrics.Heartbeat = func(roundTrip, lease time.Duration) { beats.Add(1) }
	return opts, beats
}

// An idle session sends no writes. A session with a granted hold sends about six heartbeats in a
// session timeout. The number of heartbeats does not depend on the number of holds.
//
// Covers S2.
func TestHeartbeatsOnlyWhileSomethingIsHeldOrWaitedFor(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts, beats := counted(on(e, follower(e)))
		s := open(t, opts)
		defer s.Close()
		writes := e.Inject(zktest.Rule{Op: "multi", Count: -1, Fate: zktest.DelayRequest})
		time.Sleep(time.Hour)
		if beats.Load() != 0 || writes.Fired() != 0 {
			t.Fatalf("got %d heartbeats and %d writes in an idle hour, want none",
				beats.Load(), writes.Fired())
		}
		for _, n := range []int{1, 3, 100} {
			holds := holding(t, s, n)
			must(t, holds[0].Grant(t.Context()))
			before := beats.Load()
			time.Sleep(50 * s.Timeout())
			perTimeout := float64(beats.Load()-before) / 50
			t.Logf("%d holds: %.2f heartbeats a session timeout", n, perTimeout)
			if perTimeout < 5.5 || perTimeout > 6.5 {
				t.Errorf("with %d holds: got %.2f heartbeats in a session timeout, want 5.5 to 6.5",
					n, perTimeout)
			}
			for _, h := range holds {
				if h.Context().Err() != nil {
					t.Errorf("with %d holds: a hold has ended: %v, want it to be held",
						n, context.Cause(h.Context()))
				}
				h.End(errReleased)
				must(t, s.Delete(t.Context(), h.node.Path, AnyVersion))
			}
			time.Sleep(s.Timeout())
			before = beats.Load()
			time.Sleep(10 * time.Minute)
			if beats.Load() != before {
				t.Errorf("after %d holds: got %d heartbeats while nothing was held, want none",
					n, beats.Load()-before)
			}
		}
	})
}

// After ten idle minutes, a grant needs no request except the create of its znode, because syncs
// have kept the session ready. Without these syncs, the grant comes after a probation: see the type
// `probation`.
//
// Covers S2.
func TestFirstGrantAfterIdleness(t *testing.T) {
	for _, test := range []struct {
		name        string
		cold        bool
		tick        time.Duration
		syncs       float64 // per session timeout
		writes      int64   // until the grant, except the create
		after, upTo time.Duration
	}{
		{name: "tick unknown", syncs: 6},
		{name: "tick known", tick: 2 * time.Second, syncs: 4},
		{name: "without syncs", cold: true, writes: 3, after: 10 * time.Second, upTo: 11 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
				opts := on(e, follower(e))
				opts.TickTime, opts.NoIdleLease = test.tick, test.cold
				s := open(t, opts)
				defer s.Close()
				multis := e.Inject(zktest.Rule{Op: "multi", Count: -1, Fate: zktest.DelayRequest})
				syncs := e.Inject(zktest.Rule{Op: "sync", Count: -1, Fate: zktest.DelayRequest})
				time.Sleep(10 * time.Minute)
				if n := float64(syncs.Fired()) / 60; n < test.syncs*0.9 || n > test.syncs*1.1 || multis.Fired() != 0 {
					t.Errorf("while idle: got %.1f syncs in a session timeout and %d writes, want %.0f and none", n, multis.Fired(), test.syncs)
				}
				start := time.Now()
				h := holding(t, s, 1)[0]
				must(t, h.Grant(t.Context()))
				if took := time.Since(start); took < test.after || took > test.upTo {
					t.Errorf("granted after %v, want between %v and %v", took, test.after, test.upTo)
				}
				if n := int64(multis.Fired()); n > test.writes {
					t.Errorf("got %d writes before the grant, want at most %d", n, test.writes)
				}
			})
		})
	}
}

// If a session has expired while its follower was isolated, nothing is granted to the session,
// although the follower still answers reads. With zk.Lock, a waiter on an isolated follower found
// that its znode was the first, and was granted a lock that another client held. That lock had two
// holders for 4.3 s.
//
// Covers S2.
func TestWaiterOnAnIsolatedFollowerIsNotGrantedAfterItsSessionExpired(t *testing.T) {
	inBubble(t, zktest.Options{SyncLimit: 30}, func(t *testing.T, e *zktest.Ensemble) {
		f := follower(e)
		opts := on(e, f)
		opts.Timeout, opts.Abandon, opts.NoIdleLease = 4*time.Second, -1, true
		s := open(t, opts)
		defer s.Close()
		node, err := own(t.Context(), s, "/h")
		must(t, err)
		e.Isolate(f)
		time.Sleep(20 * time.Second) // the leader has closed the session
		if stat, err := s.Exists(t.Context(), node.Path); err != nil || stat == nil || s.State() != Connected {
			t.Fatalf("a follower without its leader: got %v, %v, state %v; want it to answer and to show the znode",
				stat, err, s.State())
		}
		h := s.keeper.begin(node)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.Grant(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Grant on an isolated follower: got %v, want a deadline exceeded", err)
		}
		e.Mend()
		if err := h.Grant(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Grant after the session expired: got %v, want %v", err, ErrLost)
		}
	})
}

// If the session's server is isolated, a granted hold ends exactly at its deadline. When the server
// is connected again and the session has not expired, another hold of the session can be granted.
//
// Covers S2.
func TestHoldLapsesWithinTheTimeoutAndIsGrantedAgain(t *testing.T) {
	for _, timeout := range []time.Duration{4 * time.Second, 10 * time.Second, 40 * time.Second} {
		inBubble(t, zktest.Options{SyncLimit: 100}, func(t *testing.T, e *zktest.Ensemble) {
			opts, beats := counted(on(e, follower(e)))
			opts.Timeout = timeout
			lapsed := 0
			opts.Metrics.Lapsed = func(n int) { lapsed += n }
			s := open(t, opts)
			defer s.Close()
			h, waiter := holding(t, s, 1)[0], holding(t, s, 1)[0]
			must(t, h.Grant(t.Context()))
			time.Sleep(3 * timeout)
			if left := time.Until(h.Deadline()); left < timeout/10 {
				t.Errorf("T %v: the lease stands for only %v, want at least T/10", timeout, left)
			}
			e.Isolate(follower(e))
			synctest.Wait() // an answer may arrive at this instant
			start, deadline := time.Now(), h.Deadline()
			if err := cause(t, h.Context(), timeout); err != ErrLeaseLapsed {
				t.Fatalf("T %v: the hold ended with %v, want %v", timeout, err, ErrLeaseLapsed)
			}
			if !time.Now().Equal(deadline) {
				t.Errorf("T %v: the hold ended at %v, want the deadline %v",
					timeout, time.Now(), deadline)
			}
			e.Mend() // before the session expires
			before := beats.Load()
			must(t, waiter.Grant(t.Context()))
			t.Logf("T %v: lapsed after %v; granted %v later with %d heartbeats", timeout, deadline.Sub(start), time.Since(deadline), beats.Load()-before)
			synctest.Wait()
			if lapsed != 1 || beats.Load()-before > 8 {
				t.Errorf("T %v: got %d lapses and %d heartbeats, want 1 and at most 8", timeout, lapsed, beats.Load()-before)
			}
		})
	}
}

// If another client deletes the znode of a hold, that hold ends at once, even if a new znode is
// created at the same path. Other holds do not end.
//
// Covers S2.
func TestDeletedNodeRevokesAtOnce(t *testing.T) {
	for name, recreate := range map[string]bool{"deleted": false, "recreated": true} {
		for _, unsafe := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
					opts := on(e)
					opts.UnsafeHoldUntilLost = unsafe
					s, admin := open(t, opts), open(t, on(e))
					defer s.Close()
					defer admin.Close()
					holds := holding(t, s, 3)
					for _, h := range holds {
						must(t, h.Grant(t.Context()))
					}
					time.Sleep(s.Timeout())
					must(t, admin.Delete(t.Context(), holds[1].node.Path, AnyVersion))
					if recreate {
						_, err := admin.Create(t.Context(), holds[1].node.Path, nil, Persistent)
						must(t, err)
					}
					if err := cause(t, holds[1].Context(), time.Millisecond); err != ErrRevoked {
						t.Errorf("UnsafeHoldUntilLost %v: cause of the hold whose znode was deleted: got %v, want %v",
							unsafe, err, ErrRevoked)
					}
					time.Sleep(2 * s.Timeout())
					for _, h := range []*hold{holds[0], holds[2]} {
						if err := context.Cause(h.Context()); err != nil {
							t.Errorf("UnsafeHoldUntilLost %v: the hold of another znode ended: %v, want it to be held",
								unsafe, err)
						}
					}
				})
			})
		}
	}
}

// If the znode of a hold is deleted before the session watches the znode, the session detects the
// deletion when it sets the watch.
func TestNodeDeletedBeforeItIsWatchedRevokes(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts, beats := counted(on(e))
		s, admin := open(t, opts), open(t, on(e))
		defer s.Close()
		defer admin.Close()
		h := holding(t, s, 1)[0] // too young to be watched, and not expected, so there are no heartbeats
		must(t, admin.Delete(t.Context(), h.node.Path, AnyVersion))
		if err := cause(t, h.Context(), s.Timeout()); err != ErrRevoked || beats.Load() != 0 {
			t.Errorf("got %v after %d heartbeats, want %v without heartbeats", err, beats.Load(), ErrRevoked)
		}
	})
}

// Heartbeats find deleted znodes, one znode with each heartbeat. In this test the server is too
// busy to set watches, so nothing else can find the deletions.
func TestHeartbeatFindsDeletedNodes(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s, admin := open(t, on(e)), open(t, on(e))
		defer s.Close()
		defer admin.Close()
		unwatched := e.Inject(zktest.Rule{Op: "exists", Session: s.ID(), Count: -1, Fate: zktest.ThrottleRequest})
		holds := holding(t, s, 5)
		for _, h := range holds {
			must(t, h.Grant(t.Context()))
		}
		time.Sleep(s.Timeout())
		if unwatched.Fired() < len(holds) { // the session tries again to watch them
			t.Errorf("got %d refused watches, want at least %d", unwatched.Fired(), len(holds))
		}
		for _, h := range holds[:4] {
			must(t, admin.Delete(t.Context(), h.node.Path, AnyVersion))
		}
		for _, h := range holds[:4] {
			if err := cause(t, h.Context(), s.Timeout()); err != ErrRevoked {
				t.Errorf("the hold of a deleted znode ended with %v, want %v", err, ErrRevoked)
			}
		}
		if err := context.Cause(holds[4].Context()); err != nil {
			t.Errorf("the hold of another znode ended: %v, want it to be held", err)
		}
	})
}

// After a failed heartbeat the session pauses before the next one.
func TestFailingHeartbeatsAreSpaced(t *testing.T) {
	var multis atomic.Int32
	sc := &script{reply: func(_ int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
		if h.Op == wire.OpMulti {
			multis.Add(1)
			return wire.ThrottledOp, true
		}
		// An exists gets no answer, because the script would reply with the stat of another znode.
		return wire.OK, h.Op != wire.OpExists
	}}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, sc.options())
		defer s.Close()
		h := holding(t, s, 1)[0]
		must(t, h.Grant(t.Context()))
		if err := cause(t, h.Context(), 2*s.Timeout()); err != ErrLeaseLapsed {
			t.Errorf("the hold ended with %v, want %v", err, ErrLeaseLapsed)
		}
		still := holding(t, s, 1)[0] // only waits; the session's heartbeats try to begin a new lease
		defer still.End(nil)
		time.Sleep(10 * s.Timeout())
		if n := multis.Load(); n < 10 || n > 2*13*spacing {
			t.Errorf("got %d failed heartbeats, want 10 to %d", n, 2*13*spacing)
		}
	})
}

func TestUnsafeHoldsOutliveTheLease(t *testing.T) {
	inBubble(t, zktest.Options{SyncLimit: 30}, func(t *testing.T, e *zktest.Ensemble) {
		opts, beats := counted(on(e, follower(e)))
		opts.UnsafeHoldUntilLost = true
		s := open(t, opts)
		defer s.Close()
		h := holding(t, s, 1)[0]
		must(t, h.Grant(t.Context()))
		e.Isolate(follower(e))
		time.Sleep(2 * s.Timeout())
		if err := h.Context().Err(); err != nil || beats.Load() != 0 {
			t.Errorf("with UnsafeHoldUntilLost: the hold ended: %v, with %d heartbeats; want it held, with none", err, beats.Load())
		}
		e.Mend()
		if err := cause(t, h.Context(), time.Minute); !errors.Is(err, ErrLost) {
			t.Errorf("the hold ended with %v, want %v", err, ErrLost)
		}
	})
}

func TestEndedHoldsAreNotGranted(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		holds := holding(t, s, 2)
		holds[0].End(errReleased)
		holds[0].End(nil)
		if err := holds[0].Grant(t.Context()); err != errReleased {
			t.Errorf("Grant of an ended hold: got %v, want %v", err, errReleased)
		}
		must(t, s.Close())
		for i, h := range []*hold{holds[1], s.keeper.begin(holds[0].node)} {
			if err := h.Grant(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Grant after Close of a hold begun %s it: got %v, want %v",
					[]string{"before", "after"}[i], err, ErrClosed)
			}
		}
	})
}

// A lapse ends the holds that were granted before the lapse, even if the keeper's timer is late and
// an answer arrives before the timer fires.
//
// Covers S2.
func TestAnswerAfterTheDeadlineSavesNoHold(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		h := holding(t, s, 1)[0]
		must(t, h.Grant(t.Context()))
		s.tap.mu.Lock()
		defer s.tap.mu.Unlock()
		now := time.Now()
		s.keeper.lease.deadline = now
		s.tap.inflight[99] = packet{op: wire.OpSetData, sent: now}
		s.tap.repliedLocked(&wire.ReplyHeader{Xid: 99, Zxid: 1}, nil, now)
		if err := context.Cause(h.Context()); err != ErrLeaseLapsed {
			t.Errorf("the hold ended with %v, want %v; the deadline moved by %v", err, ErrLeaseLapsed, s.keeper.lease.deadline.Sub(now))
		}
	})
}

// If the ACL of a hold's znode no longer lets the session read the znode, this hold ends with that
// reason, and no other hold ends. Regression: all holds ended when the lease lapsed, 9.5 s after
// the change of the ACL.
//
// Covers S2.
func TestAnUnreadableNodeEndsItsHoldAlone(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Auth = []Auth{admin}
		owner, s := open(t, opts), open(t, on(e))
		defer owner.Close()
		defer s.Close()
		holds := holding(t, s, 5)
		for _, h := range holds {
			must(t, h.Grant(t.Context()))
		}
		for _, i := range []int{1, 3} {
			must(t, owner.SetACL(t.Context(), holds[i].node.Path, adminOnly, AnyVersion))
		}
		for _, i := range []int{1, 3} {
			if err := cause(t, holds[i].Context(), s.Timeout()/2); !errors.Is(err, ErrUnreadable) || !errors.Is(err, zk.ErrNoAuth) || !strings.Contains(err.Error(), holds[i].node.Path) {
				t.Errorf("hold %d ended with %v, want %v and %v with the path %s",
					i, err, ErrUnreadable, zk.ErrNoAuth, holds[i].node.Path)
			}
		}
		time.Sleep(10 * s.Timeout())
		for _, i := range []int{0, 2, 4} {
			if err := context.Cause(holds[i].Context()); err != nil {
				t.Errorf("hold %d ended with %v, want it to be held", i, err)
			}
		}
	})
}
