package difftest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// minimize returns a shortest part of a trace, as indices into it, that still
// fails: without any one of its steps it does not fail. It is the ddmin
// algorithm of Zeller and Hildebrandt, "Simplifying and Isolating
// Failure-Inducing Input", with complements only.
func minimize(all []int, fails func(part []int) bool) []int {
	chunks := 2
	for len(all) > 1 {
		smaller := false
		size := (len(all) + chunks - 1) / chunks
		for from := 0; from < len(all); from += size {
			rest := append(append([]int{}, all[:from]...), all[min(from+size, len(all)):]...)
			if fails(rest) {
				all, smaller = rest, true
				break
			}
		}
		switch {
		case smaller:
			chunks = max(chunks-1, 2)
		case size == 1:
			return all
		default:
			chunks = min(2*chunks, len(all))
		}
	}
	return all
}

// minimize returns exactly the steps that a failure needs, whichever they are.
func TestMinimizeFindsTheStepsThatItTakes(t *testing.T) {
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
