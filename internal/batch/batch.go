// Package batch carries out the calls of many goroutines together. Calls that are made during one
// batch form the next batch. Package queue uses it for its transactions, package counter for its
// writes.
package batch

import (
	"context"
	"sync"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Batcher carries out the calls of one kind on a handle, in batches. Calls that are made during
// one batch form the next batch. So a handle has at most one transaction in progress, however many
// goroutines use it. A recipe.Ledger needs this, because it is not safe for concurrent use.
type Batcher[J any] struct {
	Session *session.Session

	// Prepare, if not nil, reads what Commit needs, before the calls of a batch are chosen. A call
	// that is made while Prepare runs joins the batch. If a caller stops waiting before Prepare
	// returns, its call is not carried out. Prepare returns no error: if it fails, Commit reports
	// the error to the calls.
	Prepare func(ctx context.Context)

	// Commit carries out as many calls as it chooses, starting with the first, and finishes them.
	// The other calls come first in the next batch. A call that Commit has begun to carry out
	// cannot be cancelled halfway, even if its caller no longer waits. So the context of Commit
	// ends with the session, and not with the context of a caller.
	Commit func(ctx context.Context, calls []*Call[J])

	// Tidy removes the znodes that Commit left, for example a ledger znode. It runs after Close, as
	// soon as no call is left to be carried out. If calls come even later and Commit carries them
	// out, Tidy runs again after them.
	Tidy func(ctx context.Context) error

	mu      sync.Mutex
	waiting []*Call[J]
	running bool
	closing bool
	refused error         // the error of further calls; nil while calls are accepted
	idle    chan struct{} // if not nil, the method `run` closes it at its end
	tidied  bool          // whether Tidy was called after the last batch and the last Again
	untidy  error         // the last error of Tidy
}

// A Call is one caller's part of a batch.
type Call[J any] struct {
	Job  J
	Undo func(ctx context.Context) // undoes a call that succeeds after its caller has gone; may be nil

	done chan struct{}

	// Only the goroutine of Commit uses the next two fields until the channel `done` is closed.
	ended bool
	err   error

	// Batcher.mu guards the remaining fields.
	started  bool
	finished bool // the channel `done` is closed
	gone     bool // the caller no longer waits
}

// Do carries out a call. If ctx or the session ends before the call is passed to Commit, Do
// withdraws the call and returns an error with the outcome Failed. If ctx or the session ends
// later, the outcome is Indeterminate, and Undo runs if the call succeeds.
func (g *Batcher[J]) Do(ctx context.Context, op, path string, c *Call[J]) error {
	if ctx.Err() != nil {
		return &session.RequestError{Op: op, Path: path, Outcome: session.Failed, Err: context.Cause(ctx)}
	}
	c.done = make(chan struct{})
	g.mu.Lock()
	if err := g.refused; err != nil {
		g.mu.Unlock()
		return &session.RequestError{Op: op, Path: path, Outcome: session.Failed, Err: err}
	}
	g.waiting = append(g.waiting, c)
	g.startLocked()
	g.mu.Unlock()
	cause := error(nil)
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-g.Session.Done():
		cause = g.Session.Err()
	}
	return g.withdraw(c, op, path, cause)
}

func (g *Batcher[J]) withdraw(c *Call[J], op, path string, cause error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	effect := session.Indeterminate
	switch {
	case c.finished:
		return c.err
	case c.started:
		c.gone = true
	default:
		effect = session.Failed
		for i := range g.waiting {
			if g.waiting[i] == c {
				g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
				break
			}
		}
	}
	return &session.RequestError{Op: op, Path: path, Outcome: effect, Err: cause}
}

func (g *Batcher[J]) startLocked() {
	if !g.running {
		g.running = true
		recipe.Detach(g.Session, g.run)
	}
}

// run carries out calls until none are left. It then calls Tidy if the batcher is closed.
func (g *Batcher[J]) run(ctx context.Context) error {
	for {
		g.mu.Lock()
		switch {
		case len(g.waiting) > 0 && ctx.Err() == nil:
			g.tidied = false
			if g.Prepare != nil {
				g.mu.Unlock()
				g.Prepare(ctx)
				g.mu.Lock()
				if len(g.waiting) == 0 {
					g.mu.Unlock()
					continue // all callers have left
				}
			}
		case g.closing && !g.tidied:
			g.tidied = true // set before Tidy runs, because Again may be called meanwhile
			g.mu.Unlock()
			err := g.Tidy(ctx)
			g.mu.Lock()
			g.untidy = err
			g.mu.Unlock()
			continue
		default:
			g.running = false
			if g.idle != nil {
				close(g.idle)
				g.idle = nil
			}
			g.mu.Unlock()
			return nil
		}
		calls := g.waiting
		g.waiting = nil
		for _, c := range calls {
			c.started = true
		}
		g.mu.Unlock()
		g.Commit(ctx, calls)
		g.finish(ctx, calls)
	}
}

// finish ends the calls that Commit carried out. The other calls wait again, ahead of newer ones.
func (g *Batcher[J]) finish(ctx context.Context, calls []*Call[J]) {
	var undo []*Call[J]
	g.mu.Lock()
	var again []*Call[J]
	for _, c := range calls {
		switch {
		case c.ended:
			if c.gone && c.err == nil && c.Undo != nil {
				undo = append(undo, c)
			}
			c.finished = true
			close(c.done)
		case c.gone: // the call did not happen, and its caller has gone
		default:
			c.started = false
			again = append(again, c)
		}
	}
	g.waiting = append(again, g.waiting...)
	g.mu.Unlock()
	for _, c := range undo {
		c.Undo(ctx)
	}
}

// Refuse makes every call fail with reason. It must be called before the first call.
func (g *Batcher[J]) Refuse(reason error) { g.refused = reason }

// Refused returns the reason why calls are refused, or nil if they are accepted.
func (g *Batcher[J]) Refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// Close waits until all existing calls have ended, and then tidies up. Later calls fail with the
// error `refused`. If `refused` is nil, later calls are carried out, and Tidy is called again after
// them. An error means that ctx or the session ended first, or that Tidy failed.
func (g *Batcher[J]) Close(ctx context.Context, refused error) error {
	g.mu.Lock()
	g.closing, g.tidied = true, false
	if refused != nil {
		g.refused = refused
	}
	g.startLocked()
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.untidy
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.Session.Done():
		return g.Session.Err()
	}
}

// Again makes a closed batcher call Tidy once more. Something, for example a claim, can prevent
// Tidy from removing a znode. When this obstacle is gone, call Again.
func (g *Batcher[J]) Again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		g.tidied = false
		g.startLocked()
	}
}

// Finish records the result of a call. Only Commit calls it. The caller of Do gets the result after
// Commit has returned.
func (c *Call[J]) Finish(err error) { c.ended, c.err = true, err }
