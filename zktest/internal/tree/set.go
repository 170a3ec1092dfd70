package tree

// A set holds strings in an order that depends only on the calls made. The zero
// value is empty.
type set struct {
	index map[string]int32
	items []string
}

func (s *set) len() int { return len(s.items) }

func (s *set) has(v string) bool {
	_, ok := s.index[v]
	return ok
}

func (s *set) add(v string) {
	if s.has(v) {
		return
	}
	if s.index == nil {
		s.index = make(map[string]int32)
	}
	s.index[v] = int32(len(s.items))
	s.items = append(s.items, v)
}

// remove moves the last item into the gap.
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

func (s *set) clone() set {
	var c set
	for _, v := range s.items {
		c.add(v)
	}
	return c
}
