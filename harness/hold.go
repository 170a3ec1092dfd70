package harness

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/harness/history"
)

// The type `holds` lists the holds of a run that have not ended.
type holds struct {
	mu       sync.Mutex
	standing []*Hold // in the order in which they began
}

// Hold is a grant that the program got and recorded with [Client.Hold].
type Hold struct {
	c     *Client
	grant context.Context
	event history.Event
	stop  func() bool

	// Guarded by the mu of the run's holds.
	ended    bool
	released bool // the program gave up the grant before a loss
}

// Hold records that a grant was given. Call Hold right after the grant. Object, Token, Node and Arg
// of e identify the grant. If the grant's context ends before [Hold.End] or [Hold.Release], Hold
// records the loss with its cause.
//
// Hold first records the ends of other holds whose contexts have already ended, because the
// goroutines that record these ends may be late. So two holds overlap in the history only if the
// context of the first hold had not ended when the second hold began. Client.Do and Thread.Do also
// record such ends, before they record the completion of an operation.
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

// End records that the program gives up the hold, even if the grant's context has not ended. Call
// it right before the release. End returns false if the hold had already ended.
//
// End cannot detect this bug: the release first lets another client get the object, and ends the
// context of this grant only afterwards. [Hold.Release] detects it.
func (h *Hold) End() bool {
	h.stop()
	h.c.env.holds.mu.Lock()
	defer h.c.env.holds.mu.Unlock()
	if h.ended {
		return false
	}
	h.released = h.grant.Err() == nil // the context may end before AfterFunc's goroutine runs
	h.c.env.holds.endLocked(h)
	return h.released
}

// Release calls f, and returns the error of f. The function f releases the grant, and so ends the
// grant's context. The hold ends when this context ends, and not when Release or f returns. The end
// of the context is a part of the release, because the context must end before another client can
// be granted the same object. Use End for grants whose contexts end only on a loss.
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

// contextEnded records the end of the hold, unless it is already recorded.
func (h *Hold) contextEnded() {
	h.c.env.holds.mu.Lock()
	defer h.c.env.holds.mu.Unlock()
	if !h.ended {
		h.c.env.holds.endLocked(h)
	}
}

// endLocked records the end of a hold: the program gave up the hold, or lost it. The end must not
// have been recorded before.
func (all *holds) endLocked(h *Hold) {
	all.dropLocked(h)
	e := h.event
	e.Op = history.HoldEnd
	if !h.released {
		e.Op, e.Error = history.HoldLost, context.Cause(h.grant).Error()
	}
	h.c.env.rec.Record(e)
}

// catchUp records the ends of holds whose contexts have ended.
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

// The method `forget` drops the holds of a client that has crashed, because no program relies on
// them any more.
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
