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

// movable returns a client of a follower that can move to the other one, or to the
// leader, which answers a sync without waiting; and the indices of the two servers.
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

// The reply to the making of a member's node is lost, and the next server does not show
// the node yet: the member is not counted twice.
//
// Covers D1.
func TestMemberAfterALostReplyAtAServerThatIsBehind(t *testing.T) {
	for i := range 10 { // as a heartbeat may be sent first, behind which reads are fresh
		recipetest.Run(t, func(t *testing.T, w *world) {
			c, at, behind := movable(w, i%2 == 0)
			other := w.Client()
			d := barrier.NewDouble(c.Session, path, 2)
			before := enter(t.Context(), 2, other) // a Double that has been used
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
				t.Fatalf("a round of two opened for one: %v", err)
			default:
			}
			if n := len(w.Ephemerals(path)); n != 1 {
				t.Errorf("%d members, want 1: %v", n, w.Nodes(path))
			}
			cancel()
			<-end
			w.NothingLeft()
		})
	}
}

// The reply to the deletion is lost, and somebody sets the barrier again meanwhile: that
// one stays, also where the next server shows the old one still.
//
// Covers B3.
func TestRemoveLeavesABarrierThatWasSetSince(t *testing.T) {
	for _, lag := range []time.Duration{0, 300 * time.Millisecond} {
		for i := range 10 { // as a heartbeat may be sent first, behind which reads are fresh
			recipetest.Run(t, func(t *testing.T, w *world) {
				c, at, next := movable(w, i%2 == 0)
				other := w.Client(w.On(at))
				b := barrier.New(c.Session, path)
				check(t, b.Set(t.Context()))
				check(t, b.Remove(t.Context())) // a Barrier that has been used
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
					t.Error("a barrier that was set after the removal is gone")
				}
			})
		}
	}
}
