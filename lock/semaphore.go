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

// A Semaphore is a number of permits. Each permit is held by one contender at a time. The number of
// permits, the capacity, is stored in ZooKeeper and can be changed.
//
// One znode in the directory <path>/leases, the permit znode, represents all permits of a grant.
// The directory has the same name as in Curator's semaphore. The name has nothing to do with the
// lease of a session.
//
// Contenders wait in a lock queue, which is called the gate. Only the first contender reads how
// many permits others hold. It takes its own permits in the same transaction in which it leaves the
// gate. Therefore permits are granted in the order of requests, no matter how many each contender
// requests, and a released permit wakes one contender.
type Semaphore struct {
	session  *session.Session
	gate     *lockqueue.Queue
	path     string
	leases   string
	size     string // the znode that contains the capacity
	capacity int    // initial capacity
	label    string
}

// NewSemaphore returns the semaphore at path. If the semaphore was never used, the first Acquire
// sets the semaphore's capacity to the given one. Otherwise the semaphore keeps its present
// capacity: see SetCapacity. NewSemaphore makes no request. If path or an option is invalid, or if
// capacity is negative or above math.MaxInt32, each call fails with session.ErrInvalid.
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

// Acquire waits for the given number of permits. Release them, all at once, with the grant's
// Unlock. If ctx ends first, or on any other error, no permit is held and no znode remains.
//
// Acquire fails with ErrCapacity if more permits are requested than the semaphore has in all. If
// ctx is the context of grants on this semaphore, the permits of these grants count too: Acquire
// fails with ErrDeadlock if the requested permits and the permits of these grants together exceed
// the capacity. Acquire checks the capacity when its turn comes. With the context of a grant, it
// also checks the capacity before it waits for its turn, which costs one more read.
//
// Acquire detects no other deadlock. For example, suppose that the caller holds one of two permits
// and requests the other one, while a contender ahead of the caller waits for both permits. Then
// the caller and this contender wait for each other until a context ends. So request all permits in
// one call, or use TryAcquire while you hold permits.
func (m *Semaphore) Acquire(ctx context.Context, permits int) (*Grant, error) {
	return m.acquire(ctx, permits, false)
}

// TryAcquire is like Acquire, but fails with ErrLocked where Acquire would wait.
func (m *Semaphore) TryAcquire(ctx context.Context, permits int) (*Grant, error) {
	return m.acquire(ctx, permits, true)
}

func (m *Semaphore) acquire(ctx context.Context, permits int, try bool) (_ *Grant, err error) {
	ctx, done := recipe.TraceAcquire(ctx, m.session, "semaphore", m.path)
	defer func() { done(err) }()
	if permits < 1 || permits > math.MaxInt32 {
		return nil, acquireError(m.path, invalid.New("%d permits: not between 1 and %d", permits, math.MaxInt32))
	}
	if !try {
		if err := m.feasible(ctx, permits); err != nil {
			return nil, acquireError(m.path, err)
		}
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

// feasible returns an error if the request can never be granted while the caller keeps the permits
// that it already holds. Acquire calls feasible before the caller waits at the gate. Without this
// early check, a contender ahead of the caller could wait for the permits that the caller holds,
// and the caller would wait behind this contender. Both would wait forever.
//
// The session's server may be behind and show an earlier capacity. So before feasible returns such
// an error, it reads the capacity again, after a read barrier.
func (m *Semaphore) feasible(ctx context.Context, permits int) error {
	held := permitsHeld(ctx, m.session, m.path)
	if held == 0 || ctx.Err() != nil {
		return nil
	}
	for current := false; ; current = true {
		capacity, err := m.capacityNow(ctx)
		switch {
		case err != nil:
			return err
		case permits <= capacity-held:
			return nil
		case current && permits > capacity:
			return tooMany(permits, capacity)
		case current:
			return ErrDeadlock
		}
		if err := recipe.ReadBarrier(ctx, m.session, m.size); err != nil {
			return err
		}
	}
}

func tooMany(permits, capacity int) error {
	return fmt.Errorf("%w: %d requested, capacity %d", ErrCapacity, permits, capacity)
}

// The method `pass` waits until enough permits are free, and takes them. Its caller must be the
// first contender at the gate.
func (m *Semaphore) pass(ctx context.Context, first *lockqueue.Place, permits int, try bool) (*lockqueue.Place, error) {
	for waiting := false; ; waiting = true {
		seen, err := m.look(ctx, waiting)
		if err != nil {
			return nil, err
		}
		switch {
		case permits > seen.capacity:
			err = tooMany(permits, seen.capacity)
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

// The type `seen` is the state of the permits, as the first contender at the gate has read it.
//
// The server that answers the read may be behind. This is harmless. The server shows a contender as
// the first one only after it has applied the transactions in which the earlier contenders passed
// the gate. So no permit znode is missing from the server's answer. The answer may still count a
// permit that has already been released. In that case fewer permits are granted than possible, and
// never too many.
type seen struct {
	capacity int
	version  int32 // version of the capacity's znode
	out      int   // number of permits held

	resized, returned *session.Watch // nil if the caller does not wait
}

// The method `look` is like read. But if `waiting` is true, `look` repeats a read that fails with a
// transient error, for example because a server is too busy. Without the repetition, the contender
// would lose its place at the gate.
func (m *Semaphore) look(ctx context.Context, waiting bool) (s *seen, err error) {
	if !waiting {
		return m.read(ctx, false)
	}
	err = m.session.Retry(ctx, func(ctx context.Context) (err error) {
		s, err = m.read(ctx, true)
		return err
	})
	return s, err
}

// The method `read` reads the capacity and the permit znodes at the same time. It does not matter
// if the capacity is older than the list of permit znodes, because the method `take` checks that
// the capacity has not changed since it was read.
func (m *Semaphore) read(ctx context.Context, waiting bool) (*seen, error) {
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
	if s.capacity, err = m.parse(value.Data); err != nil {
		s.stop()
		return nil, err
	}
	for _, name := range listing.Names {
		s.out += weight(name)
	}
	return s, nil
}

// readCapacity reads the capacity's znode. At the first use it creates the znode.
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
		if err := recipe.Ensure(ctx, m.session, m.size, strconv.AppendInt(nil, int64(m.capacity), 10), session.Persistent); err != nil {
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

func (s *seen) stop() {
	for _, w := range []*session.Watch{s.resized, s.returned} {
		if w != nil {
			w.Stop()
		}
	}
}

// await waits until the state of the permits may differ from s.
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

// The method `take` creates the permit znode, in the same transaction that removes this contender
// from the gate. The method fails with session.ErrBadVersion or errResized if the capacity has
// changed since it was read.
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
			return errResized // the missing znode is that of the capacity
		}
		return err
	})
	if err != nil && session.OutcomeOf(err) == session.Failed || errors.Is(err, errResized) {
		return nil, err
	}
	// The token of the grant is that of the contender's znode at the gate, because permits are
	// granted in the order of the gate.
	lease := lockqueue.NewPlace(m.session, node, data, first.Token())
	if err != nil && !m.isOut(ctx, node) {
		lease.Abandon(ctx, err)
		return nil, err
	}
	return lease, nil
}

// errResized means that the znode with the capacity was deleted after it was read.
var errResized = errors.New("the capacity was changed")

// isOut reports whether a permit znode of this session is known to exist. It is used after a
// transaction whose outcome is unknown. Place.Txn normally finds out the outcome by a mark that the
// transaction leaves in the directory of the gate. Here the mark is not enough: if this contender
// has left the gate, the next contender may have overwritten the mark. The name of the permit znode
// is unique, so the znode itself shows the outcome.
func (m *Semaphore) isOut(ctx context.Context, lease recipe.Node) bool {
	out, _ := recipe.Settle(ctx, m.session, lease.Path, func(ctx context.Context) (bool, error) {
		stat, err := m.session.Exists(ctx, lease.Path)
		return stat != nil, err
	})
	return out
}

// leaseName precedes the number of permits in the names of this package's permit znodes. In the
// names of Curator's InterProcessSemaphoreV2, the same text precedes the sequence number, and each
// znode is one permit.
const leaseName = "lease-"

// weight returns the number of permits that a child of <path>/leases denotes. Ten digits at the end
// of a name can be a number of permits or a sequence number. So weight recognizes the permit znodes
// of this package by the length of the ID before leaseName.
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

// idLength is the length of an ID of recipe.NewID.
const idLength = 32

// Capacity returns the number of permits in all. If nobody has used the semaphore yet, this is the
// capacity that was passed to NewSemaphore.
func (m *Semaphore) Capacity(ctx context.Context) (int, error) {
	if m.gate.Invalid != nil {
		return 0, fmt.Errorf("lock: read capacity of %s: %w", m.path, m.gate.Invalid)
	}
	n, err := m.capacityNow(ctx)
	if err != nil {
		return 0, fmt.Errorf("lock: read capacity of %s: %w", m.path, err)
	}
	return n, nil
}

func (m *Semaphore) capacityNow(ctx context.Context) (int, error) {
	value, err := m.session.Get(ctx, m.size)
	if errors.Is(err, session.ErrNoNode) {
		return m.capacity, nil
	}
	if err != nil {
		return 0, err
	}
	return m.parse(value.Data)
}

// The method `parse` parses the data of the znode with the capacity.
func (m *Semaphore) parse(data []byte) (int, error) {
	n, err := strconv.ParseUint(string(data), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("capacity in %s: %w", m.size, err)
	}
	return int(n), nil
}

func checkCapacity(permits int) error {
	if permits < 0 || permits > math.MaxInt32 {
		return invalid.New("a capacity of %d permits is not between 0 and %d", permits, math.MaxInt32)
	}
	return nil
}

// SetCapacity changes the number of permits. Permits that are held remain held. If more permits are
// held than the new capacity, no client is granted a permit until enough are released. A call in
// progress that acquires permits uses either the old capacity or the new one, never a mixture. With
// a capacity of 0, no client is granted any permit. SetCapacity may be called again after any
// error.
func (m *Semaphore) SetCapacity(ctx context.Context, permits int) error {
	if err := cmp.Or(m.gate.Invalid, checkCapacity(permits)); err != nil {
		return fmt.Errorf("lock: set capacity of %s: %w", m.path, err)
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
		return fmt.Errorf("lock: set capacity of %s: %w", m.path, err)
	}
	return nil
}

// Contenders lists the contenders that wait for permits, in order. Only the first one may take
// permits, because it is at the head of their lock queue, the gate. The field Holds of a Contender
// reports whether the contender is at the head, and not whether it holds permits.
func (m *Semaphore) Contenders(ctx context.Context) ([]Contender, error) {
	return contenders(ctx, m.gate)
}
