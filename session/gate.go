package session

import (
	"context"
	"sync"
)

// A gate blocks waiters while it is shut. It starts shut.
type gate struct {
	mu     sync.Mutex
	open   bool
	opened chan struct{} // closed when the gate opens; nil while nobody waits
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if open && g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
	g.open = open
}

// wait returns nil as soon as the gate is open. If one of the two contexts ends first, wait returns
// the cause of that context. If both contexts have ended, wait returns the cause of ctx.
func (g *gate) wait(ctx, life context.Context) error {
	g.mu.Lock()
	if !g.open && g.opened == nil {
		g.opened = make(chan struct{})
	}
	open, opened := g.open, g.opened
	g.mu.Unlock()
	if !open {
		select {
		case <-opened:
		case <-ctx.Done():
		case <-life.Done():
		}
	}
	if ctx.Err() != nil {
		return causeOf(ctx)
	}
	return context.Cause(life)
}
