package harness

import (
	"errors"
	"strconv"
	"sync"

	"github.com/zkcoord/zkcoord/harness/history"
)

// ErrStale is the error that a fenced resource returns if a token is lower than a token that the
// resource has accepted.
var ErrStale = errors.New("harness: stale fencing token")

// Resource is a fenced register outside of ZooKeeper, like a resource that a lock protects. It
// remembers the highest token presented, refuses reads and writes with a lower token, and records
// each access itself. A holder increments the value with a read and a write. If a holder with a
// higher token has read the value in between, the write is refused. So no accepted increment is
// lost, even if holders are wrong about their holds. The property lock/fenced-writes requires that
// no increment is lost.
type Resource struct {
	name   string
	fenced bool

	mu      sync.Mutex
	highest int64
	value   int64
}

// NewResource returns a resource with the value 0.
func NewResource(name string) *Resource { return &Resource{name: name, fenced: true} }

// NewUnfencedResource returns a resource that ignores tokens. Only mutants and tests use it.
func NewUnfencedResource(name string) *Resource { return &Resource{name: name} }

// Read returns the value. Reads are fenced too: after a holder has read, no earlier holder can
// change the value.
func (r *Resource) Read(c *Client, token int64) (int64, error) {
	return r.access(c, token, "read", func() {})
}

// Write sets the value.
func (r *Resource) Write(c *Client, token, value int64) error {
	_, err := r.access(c, token, "write", func() { r.value = value })
	return err
}

// The method `access` records each access while it holds mu, so that the order of the history is
// the order of accesses.
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
