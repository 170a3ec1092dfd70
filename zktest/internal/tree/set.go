package tree

import (
	"maps"
	"slices"
)

// A set holds strings in an order that depends only on the calls made and on
// the seeds given to add. The zero value is empty.
type set struct {
	index map[string]int32
	items []string
}

func (s *set) len() int { return len(s.items) }

func (s *set) has(v string) bool {
	_, ok := s.index[v]
	return ok
}

// add puts v at a place drawn from the seed, and moves the item that was there
// to the end. So all orders are equally likely, as in an inside-out shuffle.
func (s *set) add(v string, seed uint64) {
	if s.has(v) {
		return
	}
	if s.index == nil {
		s.index = make(map[string]int32)
	}
	end := len(s.items)
	i := draw(seed, v) % uint64(end+1)
	s.items = append(s.items, v)
	s.items[i], s.items[end] = s.items[end], s.items[i]
	s.index[s.items[end]] = int32(end)
	s.index[v] = int32(i)
}

// The function `draw` returns a number that is random for each pair of a seed and a string: the
// hash FNV-1a, followed by the last steps of SplitMix64.
func draw(seed uint64, v string) uint64 {
	h := seed ^ 0xcbf29ce484222325
	for i := range len(v) {
		h = (h ^ uint64(v[i])) * 0x100000001b3
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// remove removes v, and moves the last item to its place.
func (s *set) remove(v string) {
	i, ok := s.index[v]
	if !ok {
		return
	}
	last := len(s.items) - 1
	moved := s.items[last]
	s.items[i], s.index[moved] = moved, i
	s.items[last] = ""
	s.items = s.items[:last]
	delete(s.index, v)
	if last == 0 {
		*s = set{}
	}
}

func (s *set) clone() set { return set{index: maps.Clone(s.index), items: slices.Clone(s.items)} }
