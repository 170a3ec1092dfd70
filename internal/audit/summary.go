package audit

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/internal/waits"
)

// A Summary counts spans, and keeps the last spans of each place. Its size depends on the number of
// places and of expired sessions, but not on the number of spans.
type Summary struct {
	// Most limits how many spans a Summary keeps. Zero means no limit. For each place, the result
	// of Places has at most this number of spans in the field Last: the last ones. The lists
	// Takeovers and Abandoned are for all places together. When one of them reaches twice this
	// number, its older half is dropped.
	Most int

	Takeovers, Abandoned []Span // spans whose field After or Abandoned is set
	// Expired is the number of sessions that expired while they held something or waited for it.
	Expired int

	places  map[string]*Place
	expired map[int64]bool
}

// A Place is a lock, an election, a semaphore, a group, a queue, or an ephemeral znode.
type Place struct {
	Path    string
	Kind    waits.Kind
	Granted int // spans that were served
	Gave    int // spans that ended before they were served, or still wait
	Ends    map[End]int
	Longest Span   // the span that waited longest
	Last    []Span // the last spans
}

// Add counts a span. A span that has not ended counts as waiting or held until `now`.
func (s *Summary) Add(one Span, now time.Time) {
	if s.places == nil {
		s.places, s.expired = make(map[string]*Place), make(map[int64]bool)
	}
	p := s.places[one.Place]
	if p == nil {
		p = &Place{Path: one.Place, Ends: make(map[End]int)}
		s.places[one.Place] = p
	}
	p.Kind = one.Kind
	if p.Ends[one.End]++; one.Served.IsZero() {
		p.Gave++
	} else {
		p.Granted++
	}
	if p.Longest.Place == "" || one.Waited(now) > p.Longest.Waited(now) {
		p.Longest = one
	}
	p.Last = s.keep(p.Last, one)
	if one.After != nil {
		s.Takeovers = s.keep(s.Takeovers, one)
	}
	if one.Abandoned != "" {
		s.Abandoned = s.keep(s.Abandoned, one)
	}
	if one.End == Expired && !s.expired[one.Session] {
		s.expired[one.Session] = true
		s.Expired++
	}
}

// The method `keep` appends the span `one` to `all`. When the list has twice as many spans as
// s.Most, `keep` drops the first half, unless s.Most is zero.
func (s *Summary) keep(all []Span, one Span) []Span {
	if all = append(all, one); s.Most > 0 && len(all) >= 2*s.Most {
		all = slices.Delete(all, 0, len(all)-s.Most)
	}
	return all
}

// Places returns the places in the order of their paths. The spans of each place are in the order
// of Served.
func (s *Summary) Places() []Place {
	var all []Place
	for _, path := range slices.Sorted(maps.Keys(s.places)) {
		p := *s.places[path]
		p.Last = s.inOrder(p.Last)
		all = append(all, p)
	}
	return all
}

func (s *Summary) inOrder(spans []Span) []Span {
	if s.Most > 0 && len(spans) > s.Most {
		spans = spans[len(spans)-s.Most:]
	}
	return slices.SortedStableFunc(slices.Values(spans), func(a, b Span) int {
		return cmp.Or(a.Served.Compare(b.Served), cmp.Compare(a.Token, b.Token))
	})
}
