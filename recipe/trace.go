package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// Acquire begins the step session.StepAcquire of a session with a Tracer: a call that
// waits for what is at path. Name says what that is, "lock" for instance. It returns the
// context for the requests of the call. Call the function with the error of the call when
// it ends. Without a Tracer, the context is ctx.
func Acquire(ctx context.Context, s *session.Session, name, path string) (context.Context, func(err error)) {
	return engine.Of(s).Acquire(ctx, name, path)
}

// Put is Acquire for a call that puts items in the queue at path.
func Put(ctx context.Context, s *session.Session, path string) (context.Context, func(err error)) {
	return engine.Of(s).Put(ctx, path)
}

// Waits notes, for a Tracer, that the call of Acquire with this context waits for the
// node at path to go. The token is the fencing token of its owner.
func Waits(ctx context.Context, s *session.Session, path string, token int64) {
	engine.Of(s).Waits(ctx, path, token)
}

// Origin returns the place in a trace that ctx has, to be stored with an item: see
// session.Tracer. It is empty if the session has no Tracer, or ctx no trace.
func Origin(ctx context.Context, s *session.Session) string { return engine.Of(s).Origin(ctx) }
