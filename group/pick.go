package group

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// A Picker picks one of the members, of which there is at least one, sorted by
// id. It may be called from any goroutine.
type Picker func(members []Member) Member

// RoundRobin picks each in turn, by id, also while members come and go.
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

// Random picks any, each as likely as the others.
func Random() Picker {
	return func(members []Member) Member { return members[rand.IntN(len(members))] }
}

// Sticky picks the same one again for as long as it is there, and then lets
// next pick another.
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

// find returns where the member is, or where it would be.
func find(members []Member, id string) (int, bool) {
	return slices.BinarySearchFunc(members, id, func(m Member, id string) int { return strings.Compare(m.ID, id) })
}
