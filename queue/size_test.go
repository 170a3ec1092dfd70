package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// The function `small` opens a session that refuses requests above a limit of bytes.
func small(ctx context.Context, w *recipetest.World, limit int) *session.Session {
	return recipetest.Must(session.Open(ctx, session.Options{
		Servers: w.Servers(), Dial: w.DialContext, Timeout: recipetest.Timeout, MaxRequest: limit,
	}))
}

// A transaction can take so many items that they do not fit into one transaction that puts them
// back. Such items are put back in several transactions.
//
// Covers Q3.
func TestMoreThanFitsInATransactionIsGivenBack(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{Prefetch: 300})
		other, _ := newQueue(w, queue.Options[string]{})
		big := strings.Repeat("x", 12<<10)
		for range 200 {
			recipetest.Check(t, q.Put(t.Context(), big))
		}
		for _, err := range q.Items(t.Context()) {
			recipetest.Check(t, err)
			break
		}
		synctest.Wait()
		if n := len(drain(t, other)); n != 199 {
			t.Errorf("items left: got %d, want 199", n)
		}
	})
}

// ClaimBatch claims fewer items than requested if the claims on all of them do not fit into one
// transaction. When items that share a znode are claimed, the transaction writes each of them to a
// znode of its own.
func TestMoreThanFitsInATransactionIsClaimed(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		big := strings.Repeat("x", 7<<10)
		for range 100 {
			recipetest.Check(t, q.Put(t.Context(), big, big))
		}
		n := 0
		for n < 200 {
			claims, err := q.ClaimBatch(t.Context(), 200)
			recipetest.Check(t, err)
			n += len(claims)
			for _, c := range claims {
				recipetest.Check(t, c.Ack(t.Context()))
			}
		}
	})
}

// A put that fits into a request of its own succeeds, even if other goroutines put at the same time
// and all the items together do not fit into one request.
func TestPutsThatFitAloneAreNotRefusedTogether(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		s := small(t.Context(), w, 10<<10)
		defer s.Close()
		q := queue.New(s, path, queue.Options[string]{})
		errs := make(chan error, 20)
		for range 20 {
			go func() { errs <- q.Put(t.Context(), strings.Repeat("x", 8<<10)) }()
		}
		for range 20 {
			recipetest.Check(t, <-errs)
		}
	})
}

// The largest item that can be put can also be claimed and rejected. If it does not decode, it can
// be moved to the dead letters. If it is a dead letter already, it can be moved to the dead letters
// of the dead letters.
//
// Covers Q11.
func TestWhatCanBePutCanBeMovedToTheDeadLetters(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const limit = 64 << 10
		s := small(t.Context(), w, limit)
		defer s.Close()
		q := queue.New(s, path, queue.Options[string]{})
		n := limit
		for ; ; n-- {
			err := q.TryPut(t.Context(), strings.Repeat("x", n))
			if err == nil {
				break
			}
			if !errors.Is(err, session.ErrTooLarge) || session.OutcomeOf(err) != session.Failed {
				t.Fatalf("TryPut of %d bytes: got %v, outcome %v, want %v, outcome %v",
					n, err, session.OutcomeOf(err), session.ErrTooLarge, session.Failed)
			}
		}
		if n < limit-2<<10 {
			t.Errorf("largest item: got %d bytes, want at least %d", n, limit-2<<10)
		}
		recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Reject(t.Context()))
		numbers := queue.New(s, path+"/dead", queue.Options[int]{})
		if _, err := numbers.TryTake(t.Context()); !errors.As(err, new(*queue.DecodeError)) {
			t.Errorf("TryTake of a dead letter that is no number: got error %v, want a DecodeError",
				err)
		}
		letter := recipetest.Must(queue.New(s, path+"/dead/dead", queue.Options[string]{}).TryTake(t.Context()))
		if len(letter) != n {
			t.Errorf("dead letter: got %d bytes, want %d", len(letter), n)
		}
	})
}
