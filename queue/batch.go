package queue

import (
	"context"
	"sync"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A group carries out the calls of one kind that are made on a queue, one
// batcher of calls at a time: what is called while the servers are asked for
// one group makes up the next. So any number of goroutines cost one
// transaction at a time, and the owner of a mark has one under way at most.
type batcher[J any] struct {
	s *session.Session

	// commit carries out as many of calls as it likes, at least one, from the
	// first on, and finishes them. It gets a context of the session, not of
	// the callers: a call cannot be cancelled half done.
	commit func(ctx context.Context, calls []*call[J])

	// tidy removes what commit left at the servers. It is called after close,
	// each time that there is nothing more to carry out.
	tidy func(ctx context.Context) error

	mu      sync.Mutex
	waiting []*call[J]
	running bool
	closing bool
	refused error         // why further calls fail; nil if they do not
	idle    chan struct{} // if not nil, closed when nothing runs any more
	tidied  bool          // since a call was carried out or again was called
	untidy  error         // of tidy
}

// A call is one caller's part of a group.
type call[J any] struct {
	job  J
	undo func(ctx context.Context) // for a call that succeeds although its caller has gone; may be nil

	done chan struct{}

	// Of commit's goroutine, until done is closed.
	ended bool
	err   error

	// Guarded by group.mu.
	started  bool
	finished bool // done is closed
	gone     bool // nobody waits for it any more
}

// do has a call carried out. If ctx ends first, the call is withdrawn, which
// is a Failed error, unless it is being carried out already: then the error is
// Indeterminate, and undo is run should it succeed.
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

// run carries out calls until there are none.
func (g *batcher[J]) run(ctx context.Context) error {
	for {
		g.mu.Lock()
		switch {
		case len(g.waiting) > 0 && ctx.Err() == nil:
			g.tidied = false
		case g.closing && !g.tidied:
			g.tidied = true // first, as again may be called meanwhile
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

// finish ends the calls that commit carried out, and puts the others first in
// the line again.
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
		case c.gone: // it did not happen, and nobody wants it any more
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

// close waits until the calls there are have ended, and tidies up. Further
// calls are refused, or with late carried out and tidied up after. An error
// means that ctx or the session ended first.
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

// again tidies up once more, if the group is closed.
func (g *batcher[J]) again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		g.tidied = false
		g.startLocked()
	}
}

// finish notes the end of a call, for commit. Its caller learns of it when
// commit returns.
func (c *call[J]) finish(err error) { c.ended, c.err = true, err }
