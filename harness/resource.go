package harness

import (
	"errors"
	"strconv"
	"sync"

	"github.com/zkcoord/zkcoord/harness/history"
)

// ErrStale is what a fenced resource answers to a token below one it has seen.
var ErrStale = errors.New("harness: stale fencing token")

// Resource is a fenced register outside of ZooKeeper: what a lock is for. It
// remembers the highest token presented, refuses every lower one, reads as well
// as writes, and logs each access itself. However wrong holders may be about
// their hold, increments of it add up: property lock/fenced-writes.
type Resource struct {
	name   string
	fenced bool

	mu      sync.Mutex
	highest int64
	value   int64
}

// NewResource makes a resource with the value 0.
func NewResource(name string) *Resource { return &Resource{name: name, fenced: true} }

// NewUnfencedResource makes one that ignores tokens: the mutant of a resource.
func NewUnfencedResource(name string) *Resource { return &Resource{name: name} }

// Read returns the value. Reading is fenced too: a holder that has read may be
// sure that no earlier holder changes the value any more.
func (r *Resource) Read(c *Client, token int64) (int64, error) {
	return r.access(c, token, "read", func() {})
}

// Write sets the value.
func (r *Resource) Write(c *Client, token, value int64) error {
	_, err := r.access(c, token, "write", func() { r.value = value })
	return err
}

// access logs under the lock: the order of the log is the order of accesses.
func (r *Resource) access(c *Client, token int64, what string, apply func()) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := history.Event{Kind: history.Write, Object: r.name, Arg: what, Token: token}
	if r.fenced && token < r.highest {
		e.Op, e.Error = history.WriteRejected, ErrStale.Error()
		c.Record(e)
		return 0, ErrStale
	}
	r.highest = max(r.highest, token)
	apply()
	e.Op, e.Result = history.WriteAccepted, strconv.FormatInt(r.value, 10)
	c.Record(e)
	return r.value, nil
}
