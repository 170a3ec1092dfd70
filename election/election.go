package election

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/recipe"
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

// Options are what a candidate may choose. The zero value shows nothing.
type Options struct {
	// Label is what observers are shown when the candidate leads, an address for
	// example. Term.Proclaim changes it.
	Label string
}

// An Election chooses one leader among the processes that use the same path.
type Election struct {
	queue *lockqueue.Queue
	label string
}

// New returns the election at path. No request is made. An invalid path is an error
// of each call, session.ErrInvalid.
func New(s *session.Session, path string, o Options) *Election {
	return &Election{queue: newQueue(s, path), label: o.Label}
}

// suffix ends own nodes' names before the number.
const suffix = "latch-"

func newQueue(s *session.Session, path string) *lockqueue.Queue {
	return &lockqueue.Queue{Session: s, Dir: path, Name: "election", Invalid: session.CheckPath(path), Naming: lockqueue.Naming{
		Exclusive: []string{suffix, "lock-", "__lock__"},
		Silent:    true, // Curator's LeaderLatch would sleep through a change, and never be told of the deletion
	}}
}

// Campaign waits to be elected. Observers are shown Options.Label. If ctx ends
// first, or on any other error, nobody is elected and no candidate remains. Within
// a term of the same election it fails with ErrDeadlock.
func (e *Election) Campaign(ctx context.Context) (_ *Term, err error) {
	ctx, done := recipe.Acquire(ctx, e.queue.Session, "election", e.queue.Dir)
	defer func() { done(err) }()
	if leads(ctx, e.queue.Session, e.queue.Dir) {
		return nil, fmt.Errorf("election: campaign at %s: %w", e.queue.Dir, ErrDeadlock)
	}
	value := []byte(e.label)
	claim, err := e.queue.Join(ctx, lockqueue.Request{Name: suffix, Data: value})
	if errors.Is(err, lockqueue.ErrExhausted) {
		err = ErrExhausted
	}
	if err != nil {
		return nil, fmt.Errorf("election: campaign at %s: %w", e.queue.Dir, err)
	}
	term := &Term{claim: claim, value: value}
	term.ctx = term.leading(claim.Context(), ctx)
	return term, nil
}

// Run campaigns, calls f for each term, and campaigns again when a term ended
// before f returned, or when f returned ErrAgain. It returns what else f
// returned, nil included, after resigning; an error of Campaign; or the cause
// of ctx when that ended. The context that f gets is that of Term.Bind: it is
// derived from ctx and ends too, with the cause, when the term does. f must return
// then. The candidate resigns also if f panics.
func (e *Election) Run(ctx context.Context, f func(ctx context.Context, term *Term) error) error {
	for {
		term, err := e.Campaign(ctx)
		if err != nil {
			return err
		}
		over, err := term.run(ctx, f)
		if over {
			return err
		}
	}
}

// Run is Election.Run that also survives lost sessions: it opens one after
// another with the given options. See session.Run for the pauses in between.
func Run(ctx context.Context, opts session.Options, path string, o Options, f func(ctx context.Context, term *Term) error) error {
	return session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		return New(s, path, o).Run(ctx, f)
	})
}
