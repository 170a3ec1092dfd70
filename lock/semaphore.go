package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Semaphore is a number of permits, each of which one contender holds at a
// time. How many there are is kept in ZooKeeper and can be changed.
//
// Contenders wait in a line, called the gate. Only the first of them looks at
// the permits that are out, the leases, and takes what it asks for in the
// transaction in which it leaves the gate. So permits are granted first come
// first served, however many each asks for, and a permit given back wakes one.
type Semaphore struct {
	session  *session.Session
	gate     *lockqueue.Queue
	path     string
	leases   string
	size     string // the node that has the capacity
	capacity int    // to begin with
	label    string
}

// NewSemaphore returns the semaphore at path. If nobody used it before, it gets
// the given capacity at the first Acquire; else it keeps the one it has: see
// SetCapacity. No request is made. An invalid path or option, or a capacity that is
// negative or above math.MaxInt32, is an error of each call, session.ErrInvalid.
func NewSemaphore(s *session.Session, path string, capacity int, o Options) *Semaphore {
	gate := newQueue(s, znode.Join(path, "locks"), Options{})
	gate.Invalid = cmp.Or(o.checkPlain("a Semaphore", path), checkCapacity(capacity))
	return &Semaphore{
		session:  s,
		gate:     gate,
		path:     path,
		leases:   znode.Join(path, "leases"),
		size:     znode.Join(path, "capacity"),
		capacity: capacity,
		label:    o.Label,
	}
}

// Acquire waits for so many permits. Give them back, all at once, with the
// grant's Unlock. If ctx ends first, or on any other error, none is held and no
// znode remains. It fails with ErrCapacity if there are fewer in all, and with
// ErrDeadlock if there are too few beside those of the grants whose context ctx is.
func (m *Semaphore) Acquire(ctx context.Context, permits int) (*Grant, error) {
	return m.acquire(ctx, permits, false)
}

// TryAcquire is Acquire, but fails with ErrLocked where Acquire would wait.
func (m *Semaphore) TryAcquire(ctx context.Context, permits int) (*Grant, error) {
	return m.acquire(ctx, permits, true)
}

func (m *Semaphore) acquire(ctx context.Context, permits int, try bool) (_ *Grant, err error) {
	ctx, done := recipe.Acquire(ctx, m.session, "semaphore", m.path)
	defer func() { done(err) }()
	if permits < 1 || permits > math.MaxInt32 {
		return nil, acquireError(m.path, invalid.New("%d permits: not between 1 and %d", permits, math.MaxInt32))
	}
	first, err := m.gate.Join(ctx, lockqueue.Request{Name: lockSuffix, Data: []byte(m.label), Try: try, Gate: true})
	if err != nil {
		return nil, acquireError(m.path, err)
	}
	lease, err := m.pass(ctx, first, permits, try)
	if err != nil {
		first.Abandon(ctx, err)
		return nil, acquireError(m.path, err)
	}
	first.Close()
	lease.Describe("semaphore")
	if err := lease.Grant(ctx); err != nil {
		lease.Abandon(ctx, err)
		return nil, acquireError(m.path, err)
	}
	return newGrant(ctx, lease, m.path).holdingPermits(permits), nil
}

// pass waits, as the first at the gate, until there are permits enough, and
// takes them.
func (m *Semaphore) pass(ctx context.Context, first *lockqueue.Place, permits int, try bool) (*lockqueue.Place, error) {
	for waiting := false; ; waiting = true {
		seen, err := m.look(ctx, waiting)
		if err != nil {
			return nil, err
		}
		switch {
		case permits > seen.capacity:
			err = fmt.Errorf("%w: %d of %d permits", ErrCapacity, permits, seen.capacity)
		case permits <= seen.capacity-seen.out:
			seen.stop()
			lease, err := m.take(ctx, first, permits, seen.version)
			if errors.Is(err, session.ErrBadVersion) || errors.Is(err, errResized) {
				continue
			}
			return lease, err
		case try:
			err = lockqueue.ErrBusy
		case permits > seen.capacity-permitsHeld(ctx, m.session, m.path):
			err = ErrDeadlock
		case waiting:
			err = seen.await(ctx, first)
		}
		seen.stop()
		if err != nil {
			return nil, err
		}
	}
}

// seen is what the first at the gate saw.
//
// A stale server is no danger. That it shows one first means that it has
// applied the transactions in which the others before passed the gate, so no
// lease is missing; that some may be gone already errs on the safe side.
type seen struct {
	capacity int
	version  int32 // of the capacity's node
	out      int   // permits out

	resized, returned *session.Watch // nil unless waiting
}

// look asks for both at once: take makes sure that the capacity has not changed
// since, so that it may be the older of the two.
func (m *Semaphore) look(ctx context.Context, waiting bool) (*seen, error) {
	s := &seen{}
	var listing session.Listing
	var listErr error
	var listed sync.WaitGroup
	listed.Go(func() { listing, listErr = m.list(ctx, waiting, s) })
	value, err := m.readCapacity(ctx, waiting, s)
	listed.Wait()
	if err == nil && !errors.Is(listErr, session.ErrNoNode) {
		err = listErr
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	s.version = value.Stat.Version
	if s.capacity, err = strconv.Atoi(string(value.Data)); err != nil {
		s.stop()
		return nil, fmt.Errorf("capacity in %s: %w", m.path, err)
	}
	for _, name := range listing.Names {
		s.out += weight(name)
	}
	return s, nil
}

// readCapacity reads the capacity's node, which it makes at the first use.
func (m *Semaphore) readCapacity(ctx context.Context, waiting bool, s *seen) (value session.Value, err error) {
	for {
		if waiting {
			value, s.resized, err = m.session.GetWatch(ctx, m.size)
		} else {
			value, err = m.session.Get(ctx, m.size)
		}
		if !errors.Is(err, session.ErrNoNode) {
			return value, err
		}
		_, err = m.session.Create(ctx, m.size, strconv.AppendInt(nil, int64(m.capacity), 10), session.Persistent)
		if err != nil && !errors.Is(err, session.ErrNodeExists) && !session.ConnectionLost(err) {
			return value, err
		}
	}
}

func (m *Semaphore) list(ctx context.Context, waiting bool, s *seen) (listing session.Listing, err error) {
	if !waiting {
		return m.session.Children(ctx, m.leases)
	}
	listing, s.returned, err = m.session.ChildrenWatch(ctx, m.leases)
	return listing, err
}

// stop ends the watches.
func (s *seen) stop() {
	for _, w := range []*session.Watch{s.resized, s.returned} {
		if w != nil {
			w.Stop()
		}
	}
}

// await waits until something may be otherwise than seen.
func (s *seen) await(ctx context.Context, first *lockqueue.Place) error {
	select {
	case event := <-s.resized.C:
		return event.Err
	case event := <-s.returned.C:
		return event.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-first.Context().Done():
		return context.Cause(first.Context())
	}
}

// take makes the lease in the transaction in which first leaves the gate,
// which fails with session.ErrBadVersion if the capacity was changed.
func (m *Semaphore) take(ctx context.Context, first *lockqueue.Place, permits int, version int32) (*lockqueue.Place, error) {
	data := []byte(m.label)
	node := recipe.Node{Path: znode.Join(m.leases, recipe.NewID(m.session)+"-"+leaseName+strconv.Itoa(permits))}
	ops := append([]session.Op{
		session.CheckOp{Path: m.size, Version: version},
		session.CreateOp{Path: node.Path, Data: data, Mode: session.Ephemeral},
	}, first.LeaveOps()...)
	err := recipe.WithParents(ctx, m.session, node.Path, func(ctx context.Context) error {
		_, err := first.Txn(ctx, ops...)
		part := (*session.MultiError)(nil)
		if errors.Is(err, session.ErrNoNode) && !(errors.As(err, &part) && part.Path == node.Path) {
			return errResized // it is the capacity's node that is missing
		}
		return err
	})
	if err != nil && session.OutcomeOf(err) == session.Failed || errors.Is(err, errResized) {
		return nil, err
	}
	// The token is that of the gate's node: leases are granted in its order.
	lease := lockqueue.NewPlace(m.session, node, data, first.Token())
	if err != nil && !m.isOut(ctx, node) {
		lease.Abandon(ctx, err)
		return nil, err
	}
	return lease, nil
}

// errResized means that the node that has the capacity is another one than was seen.
var errResized = errors.New("the capacity was changed")

// isOut reports whether a lease of this session is known to be out. It is asked
// after a transaction that cannot tell by itself: it has left the gate, so the
// next one may have left its mark over this one's. No other lease has its name.
func (m *Semaphore) isOut(ctx context.Context, lease recipe.Node) bool {
	if err := recipe.ReadBarrier(ctx, m.session, lease.Path); err != nil {
		return false
	}
	stat, err := m.session.Exists(ctx, lease.Path)
	return err == nil && stat != nil
}

// leaseName is what leases of this package are called before their weight,
// and those of Curator's InterProcessSemaphoreV2, which weigh 1, before their
// number.
const leaseName = "lease-"

// weight is how many permits a child of the leases' directory stands for. Ours
// are known by the length of what is before their name, as ten digits may be
// either.
func weight(name string) int {
	if id, permits, ok := strings.Cut(name, "-"+leaseName); ok && len(id) == idLength {
		n, err := strconv.ParseUint(permits, 10, 31)
		if err != nil {
			return 0
		}
		return int(n)
	}
	if prefix, _, ok := znode.ParseSeq(name); ok && strings.HasSuffix(prefix, leaseName) {
		return 1
	}
	return 0
}

// idLength is that of recipe.NewID.
const idLength = 32

// Capacity returns how many permits there are in all. It is the one given to
// NewSemaphore as long as nobody used the semaphore.
func (m *Semaphore) Capacity(ctx context.Context) (int, error) {
	if m.gate.Invalid != nil {
		return 0, fmt.Errorf("lock: capacity of %s: %w", m.path, m.gate.Invalid)
	}
	value, err := m.session.Get(ctx, m.size)
	if errors.Is(err, session.ErrNoNode) {
		return m.capacity, nil
	}
	n := 0
	if err == nil {
		n, err = strconv.Atoi(string(value.Data))
	}
	if err != nil {
		return 0, fmt.Errorf("lock: capacity of %s: %w", m.path, err)
	}
	return n, nil
}

// checkCapacity refuses what cannot be a number of permits.
func checkCapacity(permits int) error {
	if permits < 0 || permits > math.MaxInt32 {
		return invalid.New("a capacity of %d permits is not between 0 and %d", permits, math.MaxInt32)
	}
	return nil
}

// SetCapacity changes how many permits there are. Permits that are out stay
// out: if they are more than that, nobody is granted any until enough are given
// back. A grant under way sees the old number or the new one, never a mixture.
// With none nobody is granted any. It may be called again after any error.
func (m *Semaphore) SetCapacity(ctx context.Context, permits int) error {
	if err := cmp.Or(m.gate.Invalid, checkCapacity(permits)); err != nil {
		return fmt.Errorf("lock: capacity of %s: %w", m.path, err)
	}
	data := strconv.AppendInt(nil, int64(permits), 10)
	_, err := m.session.Set(ctx, m.size, data, session.AnyVersion)
	for errors.Is(err, session.ErrNoNode) {
		err = recipe.WithParents(ctx, m.session, m.size, func(ctx context.Context) error {
			_, err := m.session.Create(ctx, m.size, data, session.Persistent)
			return err
		})
		if errors.Is(err, session.ErrNodeExists) {
			_, err = m.session.Set(ctx, m.size, data, session.AnyVersion)
		}
	}
	if err != nil {
		return fmt.Errorf("lock: capacity of %s: %w", m.path, err)
	}
	return nil
}

// Contenders lists who waits for permits, in order. The first of them is at
// the gate: it Holds the gate, not permits.
func (m *Semaphore) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.gate)
}
