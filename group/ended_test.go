package group_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// A call with an ended context sends no request. See etcd#10111.
//
// Covers G2.
func TestJoinWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.EndedContextSendsNothing(t, map[string]func(context.Context, *session.Session) error{
		"Join": func(ctx context.Context, s *session.Session) error {
			_, err := group.New(s, "/a/b/g").Join(ctx, "id", nil)
			return err
		},
	})
}
