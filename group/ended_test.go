package group_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// A call whose context has ended sends no request (etcd#10111).
//
// Covers G2.
func TestJoinWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := group.New(c.Session, "/a/b/g").Join(ended, "id", nil); session.OutcomeOf(err) != session.Failed {
			t.Errorf("got error %v with outcome %v, want outcome Failed", err, session.OutcomeOf(err))
		}
		c.Expect(t, "Join", "")
	})
}
