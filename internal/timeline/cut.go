package main

import (
	"errors"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// The constants `before` and `after` say how much time the picture shows before and after the start
// of the cut.
const (
	before = 3 * time.Second
	after  = 13 * time.Second
)

// holder is the client whose server is cut off.
const holder = 0

// A cut has the times of one fault of a history. The function `find` chooses this fault: the first
// one during which the holder's lock was granted to another client.
type cut struct {
	at, mended time.Duration
	granted    time.Duration // when another client was granted the lock
	told       time.Duration // when the holder was notified of the loss
}

// A hold is one bar of the picture.
type hold struct {
	client   int
	from, to time.Duration
}

func find(h *history.History) (cut, error) {
	for i, e := range h.Events {
		if e.Kind != history.Fault || e.Op != history.FaultStart {
			continue
		}
		c := cut{at: e.Time, mended: h.End()}
		if stop := slices.IndexFunc(h.Events[i:], func(e history.Event) bool {
			return e.Kind == history.Fault && e.Op == history.FaultStop
		}); stop >= 0 {
			c.mended = h.Events[i+stop].Time
		}
		if c.replaced(h) {
			return c, nil
		}
	}
	return cut{}, errors.New("no cut in which another client was granted the lock")
}

// The method `replaced` reports whether the holder held the lock when the cut began, and another
// client was granted the lock during the cut. If so, it sets the time of that grant, and the time
// at which the holder was notified of its loss.
func (c *cut) replaced(h *history.History) bool {
	for _, i := range h.Holds() {
		switch b := i.Begin; {
		case b.Client == holder && b.Time < c.at && i.End != nil && i.End.Time > c.at:
			c.told = i.End.Time
		case b.Client != holder && b.Time > c.at && b.Time < c.mended && c.granted == 0:
			c.granted = b.Time
		}
	}
	return c.told > 0 && c.granted > 0
}

// part returns the faults and holds of h that the picture shows.
func (c cut) part(h *history.History) *history.History {
	part := &history.History{Header: h.Header}
	for _, e := range h.Events {
		if e.Kind == history.Fault && e.Time >= c.at && e.Time <= c.mended || e.Kind == history.Hold && c.drawn(h, e.Token) {
			e.Index = int32(len(part.Events))
			part.Events = append(part.Events, e)
		}
	}
	return part
}

func (c cut) drawn(h *history.History, token int64) bool {
	return slices.ContainsFunc(h.Holds(), func(i history.HoldInterval) bool {
		return i.Begin.Token == token && i.End != nil && i.End.Time > c.at-before && i.Begin.Time < c.at+after
	})
}

func (c cut) holds(h *history.History) (all []hold) {
	for _, i := range h.Holds() {
		if i.End != nil {
			all = append(all, hold{int(i.Begin.Client), i.Begin.Time, i.End.Time})
		}
	}
	return all
}
