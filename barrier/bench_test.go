package barrier_test

import (
	"fmt"
	"testing"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// BenchmarkDouble measures rounds of a Double. All members enter and leave each round.
func BenchmarkDouble(b *testing.B) {
	for _, members := range []int{2, 8} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			recipetest.Calls(b, members, members*b.N, func(s *session.Session) func() error {
				d := barrier.NewDouble(s, path, members)
				return func() error {
					round, err := d.Enter(b.Context())
					if err != nil {
						return err
					}
					return round.Leave(b.Context())
				}
			})
		})
	}
}
