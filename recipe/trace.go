package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// TraceAcquire begins a step of the kind session.StepAcquire if the session has a Tracer. The step
// is a call that waits for the lock, election or queue at path. The parameter `name` says which of
// these it is, for example "lock". TraceAcquire returns the context for the requests of the call.
// If the session has no Tracer, this context is ctx. When the call ends, pass its error to the
// returned function.
func TraceAcquire(ctx context.Context, s *session.Session, name, path string) (context.Context, func(err error)) {
	return engine.Of(s).Acquire(ctx, name, path)
}

// TracePut is TraceAcquire for a call that puts items in the queue at path.
func TracePut(ctx context.Context, s *session.Session, path string) (context.Context, func(err error)) {
	return engine.Of(s).Put(ctx, path)
}

// TraceWait records, for a Tracer, that a call waits for the deletion of the znode at path. ctx is
// the context that TraceAcquire returned for the call. The parameter `token` is the fencing token
// of the znode's owner.
func TraceWait(ctx context.Context, s *session.Session, path string, token int64) {
	engine.Of(s).Waits(ctx, path, token)
}

// TraceOrigin returns the position of ctx in a trace, which can be stored with an item: see
// session.Tracer. The result is empty if the session has no Tracer or ctx has no trace.
func TraceOrigin(ctx context.Context, s *session.Session) string { return engine.Of(s).Origin(ctx) }
