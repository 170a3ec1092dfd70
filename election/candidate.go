package election

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of elections.
var (
	// ErrResigned is the cause with which a term's context ends on Resign.
	ErrResigned = errors.New("election: resigned")
	// ErrExhausted means that the path's sequence numbers are nearly used up.
	// Delete the path while nobody is a candidate.
	ErrExhausted = errors.New("election: sequence numbers of the directory are used up")
	// ErrAgain is for functions given to Run: resign, and campaign again
	// behind those who wait.
	ErrAgain = errors.New("election: campaign again")
	// ErrDeadlock means that the context of Campaign is that of a term of the
	// same election in the same session, so that it would wait for itself.
	// Resign first.
	ErrDeadlock = errors.New("election: waiting for oneself")
)

// An Epoch numbers a term. Epochs grow over the whole ensemble and for ever:
// it is the transaction (czxid) that made the candidate's node. Give it to the
// resource that the leader writes to, and let the resource refuse any epoch
// below the largest that it has seen.
type Epoch int64

// A Candidate may become the leader of an election.
type Candidate struct {
	queue *lockqueue.Queue
}

// NewCandidate returns a candidate for the election at path. Processes that use
// the same path are candidates of the same election. No request is made.
func NewCandidate(s *session.Session, path string) *Candidate {
	return &Candidate{newQueue(s, path)}
}

// suffix ends own nodes' names before the number.
const suffix = "latch-"

func newQueue(s *session.Session, path string) *lockqueue.Queue {
	return &lockqueue.Queue{Session: s, Dir: path, Naming: lockqueue.Naming{
		Exclusive: []string{suffix, "lock-", "__lock__"},
		Silent:    true, // Curator's LeaderLatch would sleep through a change, and never be told of the deletion
	}}
}

// Campaign waits to be elected. Observers are shown the value, an address, say.
// If ctx ends first, or on any other error, nobody is elected and no candidate
// remains. Within a term of the same election it fails with ErrDeadlock.
func (c *Candidate) Campaign(ctx context.Context, value []byte) (*Term, error) {
	if leads(ctx, c.queue.Session, c.queue.Dir) {
		return nil, fmt.Errorf("election: campaign at %s: %w", c.queue.Dir, ErrDeadlock)
	}
	claim, err := c.queue.Join(ctx, lockqueue.Request{Name: suffix, Data: value})
	if errors.Is(err, lockqueue.ErrExhausted) {
		err = ErrExhausted
	}
	if err != nil {
		return nil, fmt.Errorf("election: campaign at %s: %w", c.queue.Dir, err)
	}
	term := &Term{claim: claim, value: slices.Clone(value)}
	term.ctx = term.leading(claim.Context(), ctx)
	return term, nil
}

// Run campaigns, calls f for each term, and campaigns again when a term ended
// before f returned, or when f returned ErrAgain. It returns what else f
// returned, nil included, after resigning; an error of Campaign; or the cause
// of ctx when that ended. The context that f gets is that of Term.Bind: it is
// derived from ctx and ends too, with the cause, when the term does. f must return
// then. The candidate resigns also if f panics.
func (c *Candidate) Run(ctx context.Context, value []byte, f func(ctx context.Context, term *Term) error) error {
	for {
		term, err := c.Campaign(ctx, value)
		if err != nil {
			return err
		}
		over, err := term.run(ctx, f)
		if over {
			return err
		}
	}
}

// Run is Candidate.Run that also survives lost sessions: it opens one after
// another with the given options. See session.Run for the pauses in between.
func Run(ctx context.Context, opts session.Options, path string, value []byte, f func(ctx context.Context, term *Term) error) error {
	return session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		return NewCandidate(s, path).Run(ctx, value, f)
	})
}
