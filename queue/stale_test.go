package queue_test

import (
	"fmt"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
)

// A slow consumer needs few requests to get an item, even if other consumers have got all the items
// that the slow consumer had read ahead. It must not need one failed transaction for each of these
// items. Otherwise it might never get an item, because the other consumers get more than one item
// during each of its transactions.
//
// Covers Q6.
func TestConsumerDoesNotCollideOverEveryItem(t *testing.T) {
	const items = 200
	for name, get := range map[string]func(q *queue.Queue[string], t *testing.T){
		"claims": func(q *queue.Queue[string], t *testing.T) {
			claim, err := q.Claim(t.Context())
			recipetest.Check(t, err)
			recipetest.Check(t, claim.Ack(t.Context()))
		},
		"takes":         func(q *queue.Queue[string], t *testing.T) { recipetest.Must(q.Take(t.Context())) },
		"relaxed takes": func(q *queue.Queue[string], t *testing.T) { recipetest.Must(q.Take(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				options := queue.Options[string]{Relaxed: name == "relaxed takes"}
				behind, s := newQueue(w, options)
				other, _ := newQueue(w, options)
				put := func(n int) {
					for i := range n {
						recipetest.Check(t, other.Put(t.Context(), fmt.Sprint(i)))
					}
				}
				put(items)
				for range 6 { // after these calls, the consumer has read some items ahead
					get(behind, t)
				}
				for range items - 6 {
					get(other, t)
				}
				put(items)
				s.Requests()
				get(behind, t)
				if n := s.Count(); n > 20 {
					t.Errorf("requests to get one item after others got those that were read: got %d, want at most 20", n)
				}
			})
		})
	}
}
