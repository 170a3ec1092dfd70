package session

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// ref lets package recipe reach the inside of a session, and nobody else: the type
// comes from an internal package, and the field that embeds it is unexported.
type ref = engine.Ref

// inside is what package recipe can do with a session.
type inside struct{ s *Session }

func (i inside) NewID() string { return i.s.newID() }

func (i inside) Detach(f func(ctx context.Context) error) <-chan error { return i.s.detach(f) }

func (i inside) ReadBarrier(ctx context.Context, path string) error {
	return i.s.readBarrier(ctx, path)
}

func (i inside) CreateParents(ctx context.Context, path string) error {
	return i.s.createParents(ctx, path)
}

func (i inside) WithParents(ctx context.Context, path string, create func(ctx context.Context) error) error {
	return i.s.withParents(ctx, path, func([]string) {}, create)
}

func (i inside) Start(dir, suffix string, data []byte, mode int32) engine.Creation {
	return i.s.startSuffixed(dir, suffix, data, Mode(mode))
}

func (i inside) Remove(ctx context.Context, n engine.Node) error { return i.s.remove(ctx, n) }

func (i inside) RemoveFound(find func(ctx context.Context) (engine.Node, error)) <-chan error {
	return i.s.removeFound(find)
}

func (i inside) Hold(n engine.Node) engine.Hold { return i.s.hold(n) }

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
