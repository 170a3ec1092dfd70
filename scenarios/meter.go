package scenarios

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// While a queue has free items, its consumers do not wait in a lock queue. So several consumers can
// try to take or claim the same item. A consumer reads ahead: it reads several items, and then
// sends one transaction for each of them. If another consumer was faster, there is a conflict: the
// transaction fails, and the consumer continues with the next item.
//
// If the consumers of a run are faster than its producers, the queue seldom has several items. Then
// the run exercises neither reads ahead nor conflicts. So a meter counts both, and guards require a
// minimum of each.

// A meter counts some requests of a client's session. From these counts one can see how the queue
// has served a take or a claim. The client makes one take or claim at a time.
type meter struct {
	reads     atomic.Int64 // of items
	applied   atomic.Int64 // transactions
	conflicts atomic.Int64 // transactions that failed because of an item
}

const (
	// factReadAhead means that a queue has served a take or claim without a read, because an
	// earlier call had read the item. In the event, Object is the queue and Result is the value.
	factReadAhead = "read-ahead"
	// factConflict means that another consumer was faster during a take or claim. The event has the
	// same fields as an event of factReadAhead.
	factConflict = "conflict"
)

// The method `on` returns o with a Metrics.Request that counts requests in the meter. A nil meter
// changes nothing.
func (m *meter) on(o session.Options) session.Options {
	if m == nil {
		return o
	}
	o.Metrics.Request = func(op string, _ time.Duration, err error) {
		part := (*session.MultiError)(nil)
		switch {
		case op == "get":
			m.reads.Add(1)
		case op == "multi" && err == nil:
			m.applied.Add(1)
		case op == "multi" && errors.As(err, &part) && ofItem(part.Path):
			m.conflicts.Add(1)
		}
	}
	return o
}

// ofItem reports whether path belongs to an item or to a claim on an item. In a queue, only the
// names of items have a dot. The names of segments are numbers.
func ofItem(path string) bool {
	dir, name := znode.Split(path)
	_, parent := znode.Split(dir)
	return strings.Contains(name, ".") || strings.Contains(parent, ".")
}

// The method `metered` returns a function that calls `take`, which takes or claims a value. The
// function also records how the queue has served the value. Clients in other languages have no
// meter, so their calls leave no record.
func (m *meter) metered(c *harness.Client, queue string, take func(context.Context) (history.Event, error)) func(context.Context) (history.Event, error) {
	return func(ctx context.Context) (history.Event, error) {
		m.reads.Store(0)
		m.applied.Store(0)
		m.conflicts.Store(0)
		e, err := take(ctx)
		fact := func(op string, happened bool) {
			if happened && err == nil && e.Result != "" {
				c.Record(history.Event{Kind: history.Fact, Op: op, Object: queue, Result: e.Result})
			}
		}
		fact(factReadAhead, m.reads.Load() == 0 && m.applied.Load() > 0)
		fact(factConflict, m.conflicts.Load() > 0)
		return e, err
	}
}

// readAhead requires n takes or claims that the queue has served with items read by earlier calls.
func readAhead(n int) checker.Checker {
	return checker.AtLeast("run/read-ahead", n, "values that an earlier call had read", countFacts(factReadAhead))
}

// The function `conflicts` requires n takes or claims during which another consumer was faster.
func conflicts(n int) checker.Checker {
	return checker.AtLeast("run/conflicts", n, "values taken after another consumer was faster", countFacts(factConflict))
}

func countFacts(op string) func(*history.History) int {
	return func(h *history.History) (found int) {
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Fact && e.Op == op {
				found++
			}
		}
		return found
	}
}
