package conform

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/zkcoord/zkcoord/harness/checker"
)

// A Standing says which guarantees of a package hold. It has only guarantees that depend on the
// servers.
type Standing struct {
	Package string   `json:"package"`
	Stand   []string `json:"stand"`
	Fall    []string `json:"fall"`
	Unknown []string `json:"unknown"`
}

// Summary returns, for each package, which guarantees hold, which do not, and which are unknown. A
// guarantee does not hold if one of its requirements fails.
func Summary(findings []Finding) []Standing {
	worst := map[string]checker.Verdict{}
	for _, f := range findings {
		for _, g := range f.Guarantees {
			before, known := worst[g]
			if !known || f.Verdict == checker.Invalid || f.Verdict == checker.Unknown && before != checker.Invalid {
				worst[g] = f.Verdict
			}
		}
	}
	guarantees := slices.SortedFunc(maps.Keys(worst), func(a, b string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(number(a), number(b)))
	})
	var all []Standing
	for _, p := range packages {
		s := Standing{Package: p.name, Stand: []string{}, Fall: []string{}, Unknown: []string{}}
		for _, g := range guarantees {
			if packageOf(g) != p.name {
				continue
			}
			switch worst[g] {
			case checker.Valid:
				s.Stand = append(s.Stand, g)
			case checker.Invalid:
				s.Fall = append(s.Fall, g)
			default:
				s.Unknown = append(s.Unknown, g)
			}
		}
		all = append(all, s)
	}
	return all
}

func number(guarantee string) int {
	n, _ := strconv.Atoi(guarantee[1:]) // a test finds guarantees without a number
	return n
}
