package election_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// A call with an ended context sends no request. See etcd#10111.
//
// Covers E9.
func TestCampaignWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.EndedContextSendsNothing(t, map[string]func(context.Context, *session.Session) error{
		"Campaign": func(ctx context.Context, s *session.Session) error {
			_, err := election.New(s, "/a/b/e", election.Options{}).Campaign(ctx)
			return err
		},
	})
}
