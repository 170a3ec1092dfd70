package fence

import (
	"context"
	"fmt"
	"sync"
)

// A Gate fences a resource in the memory of one process, or another resource that only this process
// can reach. The zero value is ready for use and has accepted no token. A Gate must not be copied
// after its first use.
type Gate struct {
	// Name of the resource in errors. It may be empty.
	Name string

	mu      sync.Mutex
	largest Token
	turn    chan struct{} // contains a value while a call is running; nil before the first call
}

// Do calls f unless the gate has accepted a larger token. It runs one f at a time, so no other call
// runs between the check and the end of f.
//
// If ctx ends while another call is running, f is not called and the error has the cause. The gate
// keeps the token whatever f returns, and also if f panics. If f calls Do of the same gate, that
// inner call blocks until its own ctx ends.
func (g *Gate) Do(ctx context.Context, token Token, f func(ctx context.Context) error) error {
	turn := g.queue()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("fence: %swait for the gate: %w", prefix(g.Name), context.Cause(ctx))
	}
	defer func() { <-turn }()
	if err := g.accept(token); err != nil {
		return err
	}
	return f(ctx)
}

// Raise makes the gate refuse tokens below the given one. If a resource itself stores the largest
// token, call Raise with that token after a restart. Raise never lowers the largest token of the
// gate. A call that is running is not interrupted.
func (g *Gate) Raise(token Token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.largest = max(g.largest, token)
}

// Largest returns the largest token that the gate has accepted, or zero if
// there is none.
func (g *Gate) Largest() Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.largest
}

func (g *Gate) accept(token Token) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := check(g.Name, token, g.largest); err != nil {
		return err
	}
	g.largest = token
	return nil
}

func (g *Gate) queue() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turn == nil {
		g.turn = make(chan struct{}, 1)
	}
	return g.turn
}
