package election_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// etcd#10111: a call whose context has ended sends nothing.
//
// Covers E9.
func TestCampaignWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := election.New(c.Session, "/a/b/e", election.Options{}).Campaign(ended); session.OutcomeOf(err) != session.Failed {
			t.Errorf("got %v, %v", err, session.OutcomeOf(err))
		}
		c.Expect(t, "Campaign", "")
	})
}
