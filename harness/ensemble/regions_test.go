package ensemble

import (
	"testing"
	"time"
)

func TestRegionsAreApart(t *testing.T) {
	far := Pace{Delay: time.Second}
	c := Config{Nodes: 5, Regions: []int{2, 2, 1}, Distance: far}
	if _, err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	for edge, want := range map[Edge]Pace{{0, 1}: {}, {3, 2}: {}, {1, 2}: far, {4, 0}: far, {3, 4}: far} {
		if got := c.PaceOf(edge); got != want {
			t.Errorf("edge %v: got %v, want %v", edge, got, want)
		}
	}
	if got := (Config{Distance: far}).PaceOf(Edge{0, 1}); got != (Pace{}) {
		t.Errorf("without regions: got %v, want full speed", got)
	}
	for _, wrong := range []Config{
		{Nodes: 4, Regions: []int{2, 2, 1}}, {Nodes: 6, Regions: []int{2, 2, 1}}, {Nodes: 3, Regions: []int{3, 0}}, {Nodes: 3, Regions: []int{-1, 4}},
		{Nodes: 3, Regions: []int{1, 2}, Members: true}, {Nodes: 3, Observers: 3}, {Nodes: 3, Observers: -1},
	} {
		if _, err := wrong.Complete(); err == nil {
			t.Errorf("%+v: got no error, want one", wrong)
		}
	}
}
