package trace

// The function `minimize` returns a part of a trace that still fails, as indices into the trace.
// The part no longer fails if any of its steps is removed. The algorithm is ddmin by Zeller and
// Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", with complements only: it
// removes one chunk at a time and keeps the rest.
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
