package counter

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of counters. For any other error, session.OutcomeOf says whether the change was applied.
var (
	// ErrOverflow means that the sum does not fit into an int64. The value is unchanged. Add less,
	// or set the counter to a smaller value.
	ErrOverflow = errors.New("counter: overflow")
	// ErrFormat means that the data of the znode are not a number in the counter's format. Nothing
	// was written. Check the path and Options.Format.
	ErrFormat = errors.New("counter: no number of this format")
	// ErrExhausted means that the version numbers of the znode are used up. Nothing was written.
	// Set the znode's data once without a version, for example with the command "zkcoord znode
	// set".
	ErrExhausted = errors.New("counter: version numbers of the znode are used up: set its data once without a version")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("counter: closed")
)

// Options of a counter. The zero value is the default.
type Options struct {
	// Format is the form of the data. All users of a counter must use the same one.
	Format Format
}

// A Counter is a handle on the counter at a path. It is safe for concurrent use.
type Counter struct {
	s      *session.Session
	path   string
	format Format
	calls  *batch.Batcher[*job]

	invalid error // error of the constructor's arguments

	// Only the goroutine of the Batcher uses the fields below.
	ledger  *recipe.Ledger
	value   int64
	version int32
	known   bool  // value and version were read or written, and no newer ones are known
	sure    bool  // a majority has confirmed value and version in this batch
	confirm bool  // a majority must confirm the next value that is loaded
	broken  error // error of the last load
}

// A job is one call that changes the value.
type job struct {
	do    step
	value int64 // the value after the call
}

// New returns the counter at path. It sends no request. A counter that does not exist has the value
// 0. The first call that writes creates the counter, and its parents as containers. If the path is
// invalid or the format is unknown, each call returns an error that wraps session.ErrInvalid.
func New(s *session.Session, path string, o Options) *Counter {
	c := &Counter{s: s, path: path, format: o.Format, ledger: recipe.NewLedger(s, path, "add")}
	c.calls = &batch.Batcher[*job]{Session: s, Prepare: c.prepare, Commit: c.commit, Tidy: c.tidy}
	if c.invalid = cmp.Or(session.CheckPath(path), o.Format.check()); c.invalid != nil {
		c.calls.Refuse(c.invalid)
	}
	return c
}

func (f Format) check() error {
	if f != Decimal && f != BigEndian {
		return invalid.New("Options.Format is %d: must be %d (Decimal) or %d (BigEndian)", f, Decimal, BigEndian)
	}
	return nil
}

// Add adds delta, which may be negative, and returns the new value. It fails with ErrOverflow if
// the sum does not fit into an int64. After an error, session.OutcomeOf says whether delta was
// added: see C1.
func (c *Counter) Add(ctx context.Context, delta int64) (int64, error) {
	value, err := c.do(ctx, add(delta))
	if err != nil {
		return 0, fmt.Errorf("counter: add %d to %s: %w", delta, c.path, err)
	}
	return value, nil
}

// CompareAndSet sets the value to `new` if the value equals `old`. It reports whether it set the
// value. If it returns false and a nil error, a majority of the servers had another value at one
// instant during the call. After an error, session.OutcomeOf says whether the value may have been
// set.
func (c *Counter) CompareAndSet(ctx context.Context, old, new int64) (bool, error) {
	_, err := c.do(ctx, compareAndSet(old, new))
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("counter: set %s from %d to %d: %w", c.path, old, new, err)
	}
	return true, nil
}

// Set replaces the value, whatever it is. A concurrent Add of another client takes effect before or
// after Set. If it takes effect before Set, Set overwrites the result of Add. After an error,
// session.OutcomeOf says whether the value may have been set.
func (c *Counter) Set(ctx context.Context, value int64) error {
	if _, err := c.do(ctx, set(value)); err != nil {
		return fmt.Errorf("counter: set %s to %d: %w", c.path, value, err)
	}
	return nil
}

// Get returns the value, or 0 if the counter does not exist. A majority of the servers confirms
// that the value is not older than the call.
func (c *Counter) Get(ctx context.Context) (int64, error) {
	value, err := c.get(ctx)
	if err != nil {
		return 0, fmt.Errorf("counter: get %s: %w", c.path, err)
	}
	return value, nil
}

func (c *Counter) get(ctx context.Context) (int64, error) {
	if err := c.calls.Refused(); err != nil {
		return 0, err
	}
	if err := recipe.ReadBarrier(ctx, c.s, c.path); err != nil {
		return 0, err
	}
	node, err := c.s.Get(ctx, c.path)
	if errors.Is(err, session.ErrNoNode) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	value, err := c.format.decode(node.Data)
	if err != nil {
		return 0, c.refused(err)
	}
	return value, nil
}

// Close waits for the calls in progress and deletes the handle's znode, which otherwise remains
// until the session ends. Later calls fail with ErrClosed. The counter itself remains. An error
// means that ctx or the session ended first, that the server refused the deletion, or that an
// argument of New was invalid. Close may be called again.
func (c *Counter) Close(ctx context.Context) error {
	err := c.invalid
	if err == nil {
		err = c.calls.Close(ctx, ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("counter: close %s: %w", c.path, err)
	}
	return nil
}

// do executes a call in a batch. If it returns an error, the value is 0.
func (c *Counter) do(ctx context.Context, f step) (int64, error) {
	j := &job{do: f}
	if err := c.calls.Do(ctx, "txn", c.path, &batch.Call[*job]{Job: j}); err != nil {
		return 0, err // do not use j, because the batch may still write it
	}
	return j.value, nil
}

// prepare reads the value unless it is known. While the session has no connection, prepare also
// reads a known value again. This read waits for a connection. Callers can give up during this
// wait, because nothing has been written yet.
func (c *Counter) prepare(ctx context.Context) {
	if !c.known || c.s.State() != session.Connected {
		c.broken = c.load(ctx)
	}
}

// load creates the counter's znode and the ledger's znode if they do not exist, and then reads the
// value. Because of this order, a later write detects that another client has deleted the counter's
// znode and created it again. The version of the counter's znode cannot show this, because the new
// znode may have the same version as the old one.
//
// The ledger's znode shows it. This znode is a child of the counter's znode, and ZooKeeper deletes
// no znode that has a child. So a client that replaces the counter's znode has to delete the
// ledger's znode first, and then the next write fails. A replacement before the creation of the
// ledger's znode would not be detected. Therefore load reads the value only after this creation.
func (c *Counter) load(ctx context.Context) error {
	c.known, c.sure = false, false
	for {
		if err := c.open(ctx); err != nil {
			return err
		}
		if c.confirm {
			if err := recipe.ReadBarrier(ctx, c.s, c.path); err != nil {
				return err
			}
		}
		node, err := c.s.Get(ctx, c.path)
		if errors.Is(err, session.ErrNoNode) {
			// Another client has deleted the counter and the ledger's znode. The ledger notices the
			// deletion only when Zxid reads the ledger's znode. After that, the method `open`
			// creates the counter and the ledger's znode again.
			if _, err := c.ledger.Zxid(ctx); err != nil && !errors.Is(err, recipe.ErrGone) {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if c.value, err = c.format.read(node); err != nil {
			return err
		}
		c.version, c.known, c.sure, c.confirm = node.Stat.Version, true, c.confirm, false
		return nil
	}
}

// The method `open` creates the counter and then the ledger. If the ledger were created first, its
// missing parent, the counter, would be created as a container.
func (c *Counter) open(ctx context.Context) error {
	for !c.ledger.Made() {
		stat, err := c.s.Exists(ctx, c.path)
		if err != nil {
			return err
		}
		if stat == nil {
			err := recipe.WithParents(ctx, c.s, c.path, func(ctx context.Context) error {
				_, err := c.s.Create(ctx, c.path, []byte{}, session.Persistent) // kazoo cannot read null data
				return err
			})
			if session.ConnectionLost(err) {
				continue // if the counter was created, the next attempt finds it
			}
			if err != nil && !errors.Is(err, session.ErrNodeExists) {
				return err
			}
		}
		if err := c.ledger.Make(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit executes all calls in one write. In two cases commit leaves the calls for the next batch,
// which reads the value again: if the method `write` returned false, or if the calls write nothing
// and no majority has confirmed the value.
func (c *Counter) commit(ctx context.Context, calls []*batch.Call[*job]) {
	if c.broken != nil {
		finish(calls, c.refused(c.broken))
		c.broken = nil
		return
	}
	steps := make([]step, len(calls))
	for i, call := range calls {
		steps[i] = call.Job.do
	}
	p := carryOut(c.value, steps)
	switch {
	case p.writes:
		if applied, err := c.write(ctx, p.value); err != nil {
			finish(calls, err)
			return
		} else if !applied {
			return
		}
	case !c.sure:
		c.known, c.confirm = false, true
		return
	}
	c.sure = false
	for i, call := range calls {
		call.Job.value = p.results[i].value
		if err := p.results[i].err; err != nil {
			call.Finish(c.refused(err))
		} else {
			call.Finish(nil)
		}
	}
}

func finish(calls []*batch.Call[*job], err error) {
	for _, call := range calls {
		call.Finish(err)
	}
}

// refused returns the error of a call that wrote nothing.
func (c *Counter) refused(err error) error {
	return &session.RequestError{Op: "txn", Path: c.path, Outcome: session.Failed, Err: err}
}

// The method `write` replaces the known value. It returns false and a nil error if the counter's
// znode has changed since the value was read, or if another client deleted or set the ledger's
// znode.
func (c *Counter) write(ctx context.Context, value int64) (applied bool, err error) {
	c.known = false
	results, err := c.ledger.Try(ctx, session.SetOp{Path: c.path, Data: c.format.encode(value), Version: c.version})
	part := (*session.MultiError)(nil)
	switch {
	case err == nil:
		if stat := results[0].Stat; stat != nil { // nil if the reply was lost
			c.value, c.version, c.known = value, stat.Version, stat.Version != session.AnyVersion
		}
		return true, nil
	case errors.Is(err, recipe.ErrGone):
		return false, nil
	case errors.As(err, &part) && (errors.Is(part, session.ErrBadVersion) || errors.Is(part, session.ErrNoNode)):
		return false, nil
	}
	return false, err
}

// tidy deletes the ledger.
func (c *Counter) tidy(ctx context.Context) error {
	c.known = false
	return c.ledger.Remove(ctx)
}
