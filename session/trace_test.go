package session

import (
	"errors"
	"testing"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// Without a Tracer, nothing is allocated for tracing.
func TestNoTracerCostsNothing(t *testing.T) {
	s := &Session{}
	h := &hold{keeper: &leaseKeeper{opts: &s.opts}, node: engine.Node{Path: "/locks/a", Czxid: 7}}
	ctx, failed := t.Context(), errors.New("failed")
	allocs := testing.AllocsPerRun(100, func() {
		traced, done := inside{s}.Acquire(ctx, "lock", "/locks")
		inside{s}.Waits(traced, "/locks/b", 6)
		h.Describe("lock", 7, inside{s}.Origin(ctx))
		h.traceGrant(traced)
		h.traceEndLocked(failed)
		done(failed)
		_, done = inside{s}.Put(ctx, "/queue")
		done(nil)
		if traced != ctx {
			t.Fatal("got another context, want the caller's")
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}
