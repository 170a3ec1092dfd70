package queue_test

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
	"context"
)

// give-back of a slow client to a queue that was deleted and made again meanwhile
func TestZZ(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		coordtest.Check(t, other.Put(t.Context(), "a"))
		coordtest.Check(t, coordtest.Must(q.Claim(t.Context())).Ack(t.Context()))
		coordtest.Check(t, other.Put(t.Context(), "old"))
		w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := q.Take(ctx)
		t.Log(session.Outcome(err))
		s.Before("multi", func() {
			coordtest.Check(t, w.Admin().DeleteAll(t.Context(), path))
			coordtest.Check(t, other.Put(t.Context(), "new"))
		})
		time.Sleep(5 * time.Second)
		t.Log(drain(t, other))
	})
}
