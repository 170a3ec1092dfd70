package group

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// A Picker picks one of the given members. The slice is sorted by id and not empty. Several
// goroutines may call a Picker at once.
type Picker func(members []Member) Member

// RoundRobin returns a Picker that picks the members in turn, in the order of their ids. It
// continues in this order while members join and leave.
func RoundRobin() Picker {
	var mu sync.Mutex
	last := ""
	return func(members []Member) Member {
		mu.Lock()
		defer mu.Unlock()
		i, found := find(members, last)
		if found {
			i++
		}
		m := members[i%len(members)]
		last = m.ID
		return m
	}
}

// Random returns a Picker that picks each member with the same probability.
func Random() Picker {
	return func(members []Member) Member { return members[rand.IntN(len(members))] }
}

// Sticky returns a Picker that picks the same member as long as that member is in the group. When
// the member has left, the Picker calls `next` to pick another one.
func Sticky(next Picker) Picker {
	var mu sync.Mutex
	last := ""
	return func(members []Member) Member {
		mu.Lock()
		defer mu.Unlock()
		i, found := find(members, last)
		if found {
			return members[i]
		}
		m := next(members)
		last = m.ID
		return m
	}
}

// find returns the index of the member with the given id, and true. If there is no such member, it
// returns the index at which the member would be, and false.
func find(members []Member, id string) (int, bool) {
	return slices.BinarySearchFunc(members, id, func(m Member, id string) int { return strings.Compare(m.ID, id) })
}
