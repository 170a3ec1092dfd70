package election_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/session"
)

// Covers E9.
func TestCampaignWithAnEndedContextMakesNoRequest(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		c := w.Client()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := election.NewCandidate(c.Session, "/a/b/e").Campaign(ended, nil); session.Outcome(err) != session.Failed {
			t.Errorf("got %v, %v", err, session.Outcome(err))
		}
		c.Expect(t, "Campaign", "")
	})
}
