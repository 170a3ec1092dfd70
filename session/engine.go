package session

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// ref gives package recipe, and no other package, access to the internals of a session. Programs
// cannot use ref, because its type is from an internal package and the field that embeds it is
// unexported.
type ref = engine.Ref

// inside has the operations that package recipe uses on a session.
type inside struct{ s *Session }

func (i inside) NewID() engine.ID { return i.s.newID() }

func (i inside) Enter() bool { return i.s.life.enter() }

func (i inside) Leave() { i.s.life.leave() }

func (i inside) Detach(f func(ctx context.Context) error) <-chan error { return i.s.life.detach(f) }

func (i inside) Create(ctx context.Context, path string, data []byte, mode int32, t *engine.Trace) (string, error) {
	return i.s.create(ctx, path, data, Mode(mode), i.s.opts.ACL, t)
}

func (i inside) Rooted(ctx context.Context) error { return i.s.rooted(ctx) }

func (i inside) Hold(n engine.Node) engine.Hold { return i.s.keeper.begin(n) }

func (i inside) Acquire(ctx context.Context, name, path string) (context.Context, func(error)) {
	return i.s.step(ctx, StepAcquire, name, path)
}

func (i inside) Put(ctx context.Context, path string) (context.Context, func(error)) {
	return i.s.step(ctx, StepPut, "put", path)
}

func (i inside) Waits(ctx context.Context, path string, token int64) {
	if t := i.s.opts.Tracer; t != nil {
		t.Waits(ctx, path, token)
	}
}

func (i inside) Origin(ctx context.Context) string {
	if t := i.s.opts.Tracer; t != nil {
		return t.Origin(ctx)
	}
	return ""
}

func (i inside) NewWatches() engine.Watches { return i.s.newWatches() }

func (i inside) Fits(ops any) error { return i.s.fits(ops.([]Op)...) }
