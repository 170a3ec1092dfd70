package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func of(ids ...string) []Member {
	var members []Member
	for _, id := range ids {
		members = append(members, Member{ID: id})
	}
	return members
}

func TestRoundRobinPicksEachInTurn(t *testing.T) {
	pick := RoundRobin()
	got := ""
	for _, members := range [][]Member{
		of("a", "b", "c"), of("a", "b", "c"), of("a", "b", "c"), of("a", "b", "c"),
		of("a", "c"), of("a", "b", "c"), of("b"), of("b"), of("a", "b"),
	} {
		got += pick(members).ID
	}
	if got != "abcacabba" {
		t.Errorf("got %s, want abcacabba", got)
	}
	// As long as the members stay the same, each is picked equally often.
	counts := make(map[string]int)
	for range 300 {
		counts[pick(of("a", "b", "c")).ID]++
	}
	if counts["a"] != 100 || counts["b"] != 100 {
		t.Errorf("got counts %v, want 100 for each", counts)
	}
}

func TestStickyStaysWhileItCan(t *testing.T) {
	pick := Sticky(RoundRobin())
	got := ""
	for _, members := range [][]Member{of("a", "b"), of("a", "b"), of("b"), of("a", "b"), of("a"), of("a", "b")} {
		got += pick(members).ID
	}
	if got != "aabbaa" {
		t.Errorf("got %s, want aabbaa", got)
	}
}

func TestRandomPicksAll(t *testing.T) {
	pick := Random()
	counts := make(map[string]int)
	for range 3000 {
		counts[pick(of("a", "b", "c")).ID]++
	}
	for _, id := range []string{"a", "b", "c"} {
		if counts[id] < 800 {
			t.Errorf("got counts %v, want at least 800 for each", counts)
		}
	}
}

// If a Change is applied to the earlier members, the result is the later members.
//
// Covers G4.
func TestChangesAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	before := map[string]Member{}
	for i := range int64(2000) {
		after := make(map[string]Member)
		for id, m := range before {
			if rng.IntN(4) > 0 {
				after[id] = m
			}
		}
		for range rng.IntN(3) {
			id := fmt.Sprint(rng.IntN(6))
			after[id] = Member{ID: id, Incarnation: Incarnation(i + 1)}
		}
		c, any := compare(before, after)
		sum := make(map[string]Member)
		for id, m := range before {
			sum[id] = m
		}
		for _, m := range c.Left {
			delete(sum, m.ID)
		}
		for _, m := range slices.Concat(c.Joined, c.Updated) {
			sum[m.ID] = m
		}
		if fmt.Sprint(sum) != fmt.Sprint(after) || any != (fmt.Sprint(before) != fmt.Sprint(after)) || len(c.Members) != len(after) {
			t.Fatalf("change %d from %v to %v: got %+v (any: %t), want one that leads from one to the other",
				i, before, after, c, any)
		}
		before = after
	}
}

// If an id has several incarnations, the last one counts.
//
// Covers G3.
func TestLastIncarnationCounts(t *testing.T) {
	for range 100 { // repeated, because a loop over a map has a random order
		k := known{"x": {ID: "a", Incarnation: 1}, "y": {ID: "a", Incarnation: 3}, "z": {ID: "a", Incarnation: 2}}
		if m := k.members(); len(m) != 1 || m["a"].Incarnation != 3 {
			t.Fatalf("got members %v, want the incarnation 3 of a", m)
		}
	}
}
