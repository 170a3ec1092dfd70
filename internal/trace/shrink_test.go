package trace

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// minimize returns exactly the steps that a failure needs.
func TestMinimizeFindsTheNeededSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		all := make([]int, 1+r.IntN(60))
		for i := range all {
			all[i] = i
		}
		takes := map[int]bool{}
		for range 1 + r.IntN(4) {
			takes[r.IntN(len(all))] = true
		}
		runs := 0
		got := minimize(all, func(part []int) bool {
			runs++
			n := 0
			for _, i := range part {
				if takes[i] {
					n++
				}
			}
			return n == len(takes)
		})
		if want := slices.Sorted(maps.Keys(takes)); !slices.Equal(got, want) {
			t.Fatalf("after %d runs on %d steps: got %v, want %v", runs, len(all), got, want)
		}
	}
}
