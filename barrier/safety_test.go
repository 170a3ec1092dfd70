package barrier_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// movable returns a client that is connected to a follower, the index of this follower, and the
// index of the only other server to which the client can connect. That server is the other follower
// or, if toLeader is true, the leader.
//
// The tests run with each of these two servers. A read after a sync is fresh at a follower, but may
// be stale at the leader: the leader may reply to a sync before it has applied all that it has
// committed. So only a run with the leader can detect that the package wrongly relies on a sync.
func movable(w *world, toLeader bool) (c *recipetest.Client, at, next int) {
	if !toLeader {
		return w.OnFollower()
	}
	next = w.Leader()
	at = (next + 1) % 3
	for c == nil || c.Server() != w.Servers()[at] {
		c = w.Client(func(o *session.Options) { o.Servers = []string{w.Servers()[at], w.Servers()[next]} })
	}
	return c, at, next
}

// A member is not counted twice if the reply to the creation of its znode is lost and the member's
// next server does not show the znode yet.
//
// Covers D1.
func TestMemberAfterALostReplyAtAServerThatIsBehind(t *testing.T) {
	// Repeated, because a heartbeat may be sent before the reads. A heartbeat is a quorum write, so
	// the reads are then fresh, and such a run does not test a stale read.
	for i := range 10 {
		recipetest.Run(t, func(t *testing.T, w *world) {
			c, at, behind := movable(w, i%2 == 0)
			other := w.Client()
			d := barrier.NewDouble(c.Session, path, 2)
			before := enter(t.Context(), 2, other) // the Double has been used before
			r := recipetest.Must(d.Enter(t.Context()))
			gone := leave(t.Context(), r, (<-before).round)
			check(t, <-gone)
			check(t, <-gone)
			time.Sleep(time.Second)
			w.Inject(zktest.Rule{Session: c.ID(), Server: at + 1, Op: "multi", Path: path, Fate: zktest.CloseBeforeReply})
			w.Lag(behind, 300*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			end := make(chan error, 1)
			go func() {
				_, err := d.Enter(ctx)
				end <- err
			}()
			time.Sleep(recipetest.Timeout)
			select {
			case err := <-end:
				t.Fatalf("a round of two opened for one member: error %v", err)
			default:
			}
			if n := len(w.Ephemerals(path)); n != 1 {
				t.Errorf("got %d members, want 1: %v", n, w.Nodes(path))
			}
			cancel()
			<-end
			w.NothingLeft()
		})
	}
}

// Remove does not remove a barrier that another client has set after the removal. In this test, the
// reply to the deletion is lost, and the other client sets the barrier before Remove tries again.
// The new barrier must stay, even if the remover's next server still shows the old barrier.
//
// Covers B3.
func TestRemoveLeavesABarrierThatWasSetSince(t *testing.T) {
	for _, lag := range []time.Duration{0, 300 * time.Millisecond} {
		// Repeated, because a heartbeat may be sent before the reads. A heartbeat is a quorum
		// write, so the reads are then fresh, and such a run does not test a stale read.
		for i := range 10 {
			recipetest.Run(t, func(t *testing.T, w *world) {
				c, at, next := movable(w, i%2 == 0)
				other := w.Client(w.On(at))
				b := barrier.New(c.Session, path)
				check(t, b.Set(t.Context()))
				check(t, b.Remove(t.Context())) // the Barrier has been used before
				check(t, b.Set(t.Context()))
				time.Sleep(time.Second)
				lost := w.Inject(zktest.Rule{Session: c.ID(), Server: at + 1, Op: "delete", Fate: zktest.CloseBeforeReply})
				set := make(chan error, 1)
				c.Before("delete", func() {
					w.Lag(next, lag)
					go func() {
						for lost.Fired() == 0 {
							time.Sleep(time.Microsecond)
						}
						set <- barrier.New(other.Session, path).Set(t.Context())
					}()
				})
				check(t, b.Remove(t.Context()))
				check(t, <-set)
				w.Lag(next, 0)
				time.Sleep(time.Second)
				synctest.Wait()
				if stat := recipetest.Must(other.Exists(t.Context(), path)); stat == nil {
					t.Errorf("lag of %v: the barrier that was set after the removal is gone, want it to stay",
						lag)
				}
			})
		}
	}
}

// A lost transaction opens no round. In this test, the transaction that opens a round does not
// arrive, and when the connection is restored, one member of the round has gone. If the last member
// assumed that the transaction was applied, it would be alone in the round.
//
// Covers D1.
func TestOpeningThatWasLostOpensNothing(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := enter(ctx, 2, s[0])
		synctest.Wait()
		// The first multi joins the round, and the second multi opens the round.
		lost := w.Inject(zktest.Rule{Op: "multi", Session: s[1].ID(), Skip: 1, Fate: zktest.CloseBeforeRequest})
		w.Inject(zktest.Rule{Op: "multi", Session: s[1].ID(), Skip: 1, Count: -1, Fate: zktest.DelayRequest, Delay: time.Second})
		last := enter(t.Context(), 2, s[1])
		synctest.Wait()
		if lost.Fired() != 1 {
			t.Fatalf("%d requests to open the round were lost, want 1", lost.Fired())
		}
		cancel()
		if en := <-first; en.err == nil {
			t.Fatal("the cancelled Enter returned no error")
		}
		if en, ok := within(last, patience); ok {
			t.Fatalf("one member entered a round of two: %v", en)
		}
		again := enter(t.Context(), 2, s[0])
		for i, ends := range []<-chan entry{last, again} {
			if en, ok := within(ends, patience); !ok || en.err != nil {
				t.Errorf("%s: Enter returned in time: %v, error %v; want true and no error",
					[]string{"last member", "member that comes again"}[i], ok, en.err)
			}
		}
	})
}

// The members of a round can leave it, even if the round's directory also contains the znode of a
// member that came too late for the round and has not noticed this yet.
//
// Covers D3.
func TestLateMemberHoldsNobodyUp(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		rounds := s.rounds(t, enter(t.Context(), 2, s...))
		recipetest.Must(w.Admin().Create(t.Context(), path+"/0000000000/late-member-", nil, session.PersistentSequential))
		out := leave(t.Context(), rounds...)
		for range s {
			if err, ok := within(out, patience); !ok || err != nil {
				t.Errorf("Leave returned in time: %v, error %v; want true and no error", ok, err)
			}
		}
	})
}

// If several members find that the directory of a round is missing, they all enter the next round:
// only one of them begins it.
//
// Covers D4, D5.
func TestDeletedRoundIsPassedOverByAllAtOnce(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 4)
		recipetest.Must(w.Admin().Create(t.Context(), "/app", nil, session.Persistent))
		recipetest.Must(w.Admin().Create(t.Context(), path, []byte("4"), session.Persistent))
		// The first multi of this member finds that the directory of round 0 is missing. Its second
		// multi, which would begin round 1, arrives after the other members have joined round 1.
		late := w.Inject(zktest.Rule{Op: "multi", Session: s[0].ID(), Skip: 1, Fate: zktest.DelayRequest, Delay: time.Second})
		first := enter(t.Context(), 4, s[0])
		synctest.Wait()
		if late.Fired() != 1 {
			t.Fatalf("%d requests were delayed, want 1", late.Fired())
		}
		rest := enter(t.Context(), 4, s[1:]...)
		for i := range s {
			ends := rest
			if i == 0 {
				ends = first
			}
			if en, ok := within(ends, patience); !ok || en.err != nil || en.round.Number() != 1 {
				t.Errorf("Enter returned in time: %v, %v; want true, with round 1 and no error", ok, en)
			}
		}
	})
}
