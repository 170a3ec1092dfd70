package election_test

import (
	"fmt"
	"testing"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// BenchmarkCampaign wins a term and resigns. Each candidate has its own session.
func BenchmarkCampaign(b *testing.B) {
	for _, candidates := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(candidates), func(b *testing.B) {
			recipetest.Calls(b, candidates, b.N, func(s *session.Session) func() error {
				c := election.New(s, "/election", election.Options{})
				return func() error {
					term, err := c.Campaign(b.Context())
					if err != nil {
						return err
					}
					return term.Resign(b.Context())
				}
			})
		})
	}
}
