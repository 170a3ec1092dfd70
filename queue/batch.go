package queue

import (
	"context"
	"sync"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A batcher carries out the calls of one kind that are made on a queue, in batches. Calls that are
// made during one batch form the next batch. So any number of goroutines cost one transaction at a
// time, and the owner of a ledger never has more than one transaction in progress.
type batcher[J any] struct {
	s *session.Session

	// commit carries out as many of calls as it chooses, but at least one, starting with the
	// first, and finishes them. Its context is that of the session and not of a caller, because
	// a call cannot be cancelled halfway.
	commit func(ctx context.Context, calls []*call[J])

	// tidy removes what commit left on the servers. It is called after close, each time that no
	// call is left to carry out.
	tidy func(ctx context.Context) error

	mu      sync.Mutex
	waiting []*call[J]
	running bool
	closing bool
	refused error         // the error of further calls; nil while calls are accepted
	idle    chan struct{} // if not nil, closed when run ends
	tidied  bool          // tidy has run since the last call and the last use of again
	untidy  error         // the last error of tidy
}

// A call is one caller's part of a batch.
type call[J any] struct {
	job  J
	undo func(ctx context.Context) // undoes a call that succeeds after its caller has gone; may be nil

	done chan struct{}

	// These belong to the goroutine of commit until done is closed.
	ended bool
	err   error

	// These are guarded by batcher.mu.
	started  bool
	finished bool // done is closed
	gone     bool // the caller no longer waits
}

// do carries out a call. If ctx ends first, do withdraws the call and returns a Failed error. If
// the call is already in progress by then, the error is Indeterminate, and undo runs if the call
// succeeds.
func (g *batcher[J]) do(ctx context.Context, op, path string, c *call[J]) error {
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
	case <-g.s.Done():
		cause = g.s.Err()
	}
	return g.withdraw(c, op, path, cause)
}

func (g *batcher[J]) withdraw(c *call[J], op, path string, cause error) error {
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

func (g *batcher[J]) startLocked() {
	if !g.running {
		g.running = true
		recipe.Detach(g.s, g.run)
	}
}

// run carries out calls until none are left.
func (g *batcher[J]) run(ctx context.Context) error {
	for {
		g.mu.Lock()
		switch {
		case len(g.waiting) > 0 && ctx.Err() == nil:
			g.tidied = false
		case g.closing && !g.tidied:
			g.tidied = true // before tidy, because again may reset it meanwhile
			g.mu.Unlock()
			err := g.tidy(ctx)
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
		g.commit(ctx, calls)
		g.finish(ctx, calls)
	}
}

// finish ends the calls that commit carried out, and puts the other calls back at the front.
func (g *batcher[J]) finish(ctx context.Context, calls []*call[J]) {
	var undo []*call[J]
	g.mu.Lock()
	var again []*call[J]
	for _, c := range calls {
		switch {
		case c.ended:
			if c.gone && c.err == nil && c.undo != nil {
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
		c.undo(ctx)
	}
}

// close waits until all existing calls have ended, and then tidies up. Later calls are refused. If
// late is true, they are carried out instead, and close's clean-up is repeated after them. An error
// means that ctx or the session ended first, or that tidy failed.
func (g *batcher[J]) close(ctx context.Context, late bool) error {
	g.mu.Lock()
	g.closing, g.tidied = true, false
	if !late {
		g.refused = ErrClosed
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
	case <-g.s.Done():
		return g.s.Err()
	}
}

// again repeats the clean-up if the batcher is closed.
func (g *batcher[J]) again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		g.tidied = false
		g.startLocked()
	}
}

// finish records the end of a call, on behalf of commit. The caller is notified when commit
// returns.
func (c *call[J]) finish(err error) { c.ended, c.err = true, err }
