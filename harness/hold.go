package harness

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/harness/history"
)

// holds are the holds of a run that have not ended.
type holds struct {
	mu       sync.Mutex
	standing []*Hold // by begin
}

// Hold is a grant that the program got, and of which it was not notified that it
// has ended.
type Hold struct {
	c     *Client
	grant context.Context
	event history.Event
	stop  func() bool

	// Guarded by the mu of the run's holds.
	ended    bool
	released bool // the program gives it up
}

// Hold records that a grant was given; call it right after. Object, Token, Node
// and Arg of e identify it. When the grant's context ends before [Hold.End] or
// [Hold.Release], the loss is recorded with its cause.
//
// Ends of other holds that have come are recorded first, as they are before each
// completion of an operation: the goroutine that is to record one may be late. So
// a hold overlaps with this one only if its context had not ended when this began.
func (c *Client) Hold(grant context.Context, e history.Event) *Hold {
	e.Kind, e.Op = history.Hold, history.HoldBegin
	h := &Hold{c: c, grant: grant}
	all := &c.env.holds
	all.mu.Lock()
	defer all.mu.Unlock()
	all.catchUpLocked()
	h.event = c.Record(e)
	all.standing = append(all.standing, h)
	h.stop = context.AfterFunc(grant, h.contextEnded)
	return h
}

// Holding reports whether a hold of the client has not ended.
func (c *Client) Holding() bool {
	c.env.holds.mu.Lock()
	defer c.env.holds.mu.Unlock()
	return slices.ContainsFunc(c.env.holds.standing, func(h *Hold) bool { return h.c == c })
}

// End records that the program gives the hold up, whatever its context says; call
// it right before. It reports whether the hold had not ended.
//
// A release that ends the context too late stays unnoticed this way: see
// [Hold.Release].
func (h *Hold) End() bool {
	h.stop()
	h.c.env.holds.mu.Lock()
	defer h.c.env.holds.mu.Unlock()
	if h.ended {
		return false
	}
	h.released = h.grant.Err() == nil // the program may see it before AfterFunc's goroutine runs
	h.c.env.holds.endLocked(h)
	return h.released
}

// Release calls f, which releases the grant, and returns its error. The hold ends
// when the grant's context does. That is a part of the release: it has to be before
// anybody else can be granted the same. Use End for grants whose contexts end only
// when they are lost.
func (h *Hold) Release(f func() error) error {
	h.c.env.holds.mu.Lock()
	h.released = h.released || h.grant.Err() == nil
	h.c.env.holds.mu.Unlock()
	err := f()
	if h.grant.Err() != nil {
		h.contextEnded()
	}
	return err
}

// contextEnded records the end of the hold, unless that was done.
func (h *Hold) contextEnded() {
	h.c.env.holds.mu.Lock()
	defer h.c.env.holds.mu.Unlock()
	if !h.ended {
		h.c.env.holds.endLocked(h)
	}
}

// endLocked records the end of a hold that has not ended: it was given up, or lost.
func (all *holds) endLocked(h *Hold) {
	all.dropLocked(h)
	e := h.event
	e.Op = history.HoldEnd
	if !h.released {
		e.Op, e.Error = history.HoldLost, context.Cause(h.grant).Error()
	}
	h.c.env.rec.Record(e)
}

// catchUp records the ends of holds that have come.
func (all *holds) catchUp() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.catchUpLocked()
}

func (all *holds) catchUpLocked() {
	for _, h := range slices.Clone(all.standing) {
		if h.grant.Err() != nil {
			all.endLocked(h)
		}
	}
}

func (all *holds) dropLocked(h *Hold) {
	h.ended = true
	all.standing = slices.DeleteFunc(all.standing, func(other *Hold) bool { return other == h })
}

// forget drops the holds of a client that has crashed: nobody is left to believe in
// them.
func (all *holds) forget(c *Client) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, h := range slices.Clone(all.standing) {
		if h.c == c {
			h.stop()
			all.dropLocked(h)
		}
	}
}
