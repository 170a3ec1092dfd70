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
	// ErrExhausted means that the sequence numbers of the path are nearly used up. Delete the
	// path while there are no candidates.
	ErrExhausted = errors.New("election: sequence numbers of the directory are used up: delete it while no client uses it")
	// ErrAgain is for the function that Run calls. If the function returns ErrAgain, Run resigns
	// and campaigns again, behind the candidates that already wait.
	ErrAgain = errors.New("election: campaign again")
	// ErrDeadlock means that Campaign would wait for its own caller: the context of the call is
	// the context of a term of the same election in the same session. Resign first.
	ErrDeadlock = errors.New("election: the caller would wait for its own term")
)

// An Epoch is the number of a term. Of two terms on one path, the later one has the larger Epoch,
// even if the path was deleted in between. The number is the zxid of the transaction that created
// the candidate's znode (the czxid of the znode). Pass the epoch to the resource that the leader
// writes to. The resource must refuse any epoch that is smaller than the largest one it has seen.
type Epoch int64

// Options of a candidate. The zero value is the default.
type Options struct {
	// Label is the value that observers see when the candidate leads, for example an address.
	// Term.Proclaim changes it.
	Label string
}

// An Election chooses one leader among the processes that use the same path.
type Election struct {
	queue *lockqueue.Queue
	label string
}

// New returns the election at path. It makes no request. If path is invalid, each call fails with
// session.ErrInvalid.
func New(s *session.Session, path string, o Options) *Election {
	return &Election{queue: newQueue(s, path), label: o.Label}
}

// The name of each znode of this package ends with this suffix and a number.
const suffix = "latch-"

func newQueue(s *session.Session, path string) *lockqueue.Queue {
	return &lockqueue.Queue{Session: s, Dir: path, Name: "election", Invalid: session.CheckPath(path), Naming: lockqueue.Naming{
		Exclusive: []string{suffix, "lock-", "__lock__"},
		// Silent means that a leader that resigns only deletes its znode. Without Silent, it could
		// also change the znode's data (the release mark). This change would use up the watch of a
		// Curator LeaderLatch, which would then not notice the deletion.
		Silent: true,
	}}
}

// Campaign waits until this candidate is elected. Observers then see Options.Label. If ctx ends
// first, or on any other error, the candidate is not elected, and its znode is removed. If ctx is
// the context of a term of the same election in the same session, Campaign fails with ErrDeadlock.
func (e *Election) Campaign(ctx context.Context) (_ *Term, err error) {
	ctx, done := recipe.TraceAcquire(ctx, e.queue.Session, "election", e.queue.Dir)
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

// Run campaigns, and calls the function f for each term. The context of f is that of Term.Bind: it
// is derived from ctx, and also ends, with the cause, when the term ends. When its context ends, f
// must return. When f has returned or panicked, Run resigns.
//
// Run campaigns again if the term ended before f returned, or if f returned ErrAgain. Otherwise Run
// returns the result of f, which may be nil. Three cases are exceptions:
//
//   - Campaign fails. If the error is session.Transient, Run repeats Campaign after a pause.
//     Otherwise Run returns the error of Campaign.
//   - ctx has ended. Run returns the error of f, or the cause of ctx if f returned nil.
//   - The term ended with session.ErrUnreadable. Run returns that cause, because the next term
//     would end in the same way.
func (e *Election) Run(ctx context.Context, f func(ctx context.Context, term *Term) error) error {
	for {
		var term *Term
		err := e.queue.Session.Retry(ctx, func(ctx context.Context) (err error) {
			term, err = e.Campaign(ctx)
			return err
		})
		if err != nil {
			return err
		}
		over, err := term.run(ctx, f)
		if over {
			return err
		}
	}
}

// Run is like Election.Run, but also survives lost sessions: it opens one session after another
// with the given options. See session.Run for the pauses in between.
func Run(ctx context.Context, opts session.Options, path string, o Options, f func(ctx context.Context, term *Term) error) error {
	return session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		return New(s, path, o).Run(ctx, f)
	})
}
