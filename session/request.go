package session

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// The function do makes one request: it runs its argument call, which makes the request through the
// client. Then do waits for the answer, for the end of ctx or for the end of the session. While
// there is no connection, do waits without sending. So a request that is given up during this wait
// was certainly not applied.
//
// A request that only the session's end can interrupt needs no goroutine: at the end the keeper
// closes the client, which ends every call.
func do[T any](ctx context.Context, s *Session, op, path string, call func(*zk.Conn, *ticket) (T, error)) (value T, err error) {
	if told := s.opts.Metrics.Request; told != nil {
		start := time.Now()
		defer func() { told(op, time.Since(start), err) }()
	}
	if s.opts.Tracer != nil && ctx != s.life.ctx {
		traced, end := s.step(ctx, StepRequest, op, path)
		ctx = traced
		defer func() { end(err) }()
	}
	if err := s.tap.up.wait(ctx, s.life.ctx); err != nil {
		return value, unsent(op, path, err)
	}
	t := s.tap.tickets.issue()
	var r result[T]
	if ctx == s.life.ctx {
		r.value, r.err = call(s.zk, t)
	} else {
		r, err = apart(ctx, s, t, call)
	}
	if r.err == nil && err == nil {
		return r.value, nil
	}
	if r.err = named(r.err); errors.Is(r.err, zk.ErrNoNode) {
		r.err = s.explainNoNode(ctx, r.err)
	}
	if err == nil && s.Err() != nil && OutcomeOf(r.err) == Indeterminate {
		err = s.Err()
	}
	switch {
	case s.tap.tickets.void(t):
		return value, unsent(op, path, cmp.Or(err, r.err))
	case err != nil:
		return value, ended(op, path, err)
	}
	return r.value, answered(op, path, r.err)
}

type result[T any] struct {
	value T
	err   error
}

// The function apart makes the call on a new goroutine, so that the caller can give the call up.
// The error then says why.
func apart[T any](ctx context.Context, s *Session, t *ticket, call func(*zk.Conn, *ticket) (T, error)) (r result[T], err error) {
	answer := make(chan result[T], 1)
	if !s.life.spawn(func() {
		v, err := call(s.zk, t)
		answer <- result[T]{v, err}
	}) {
		return r, s.Err()
	}
	select {
	case r = <-answer:
		return r, nil
	case <-ctx.Done():
		return r, causeOf(ctx)
	case <-s.Done():
		return r, s.Err()
	}
}

// The function read is like do, for a request that changes nothing. If the connection is lost, it
// repeats the request.
func read[T any](ctx context.Context, s *Session, op, path string, call func(*zk.Conn, *ticket) (T, error)) (T, error) {
	for {
		value, err := do(ctx, s, op, path, call)
		if err == nil || !retryable(err) {
			return value, err
		}
	}
}

// check returns an error if servers would refuse the request, so that it is not sent.
func (s *Session) check(op, path string, size int) error {
	if err := znode.Check(path); err != nil {
		return unsent(op, path, err)
	}
	return s.checkSize(op, path, size)
}

func (s *Session) checkSize(op, path string, size int) error {
	if size += len(s.opts.Chroot) + len(path) + 256; size > s.opts.MaxRequest {
		return unsent(op, path, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, s.opts.MaxRequest))
	}
	return nil
}

// aclSize returns the number of bytes that an ACL adds to a request.
func aclSize(acl []zk.ACL) (size int) {
	for _, a := range acl {
		size += 12 + len(a.Scheme) + len(a.ID)
	}
	return size
}

// A Mode is the kind of a znode.
type Mode int32

// The kinds of znodes. CreateTTL creates a TTL node.
const (
	Persistent           Mode = zk.FlagPersistent
	Ephemeral            Mode = zk.FlagEphemeral
	PersistentSequential Mode = zk.FlagSequence
	EphemeralSequential  Mode = zk.FlagEphemeralSequential
	Container            Mode = zk.FlagContainer // deleted by the server some time after its last child was deleted
)

// Create creates a znode with the ACL of the options and returns its path. The path of a sequential
// node ends in the number that the server assigned. After an Indeterminate error the znode may
// exist: see recipe.CreateProtected.
func (s *Session) Create(ctx context.Context, path string, data []byte, mode Mode) (string, error) {
	return s.create(ctx, path, data, mode, s.opts.ACL, nil)
}

// CreateACL is Create with the given ACL.
func (s *Session) CreateACL(ctx context.Context, path string, data []byte, mode Mode, acl []ACL) (string, error) {
	return s.create(ctx, path, data, mode, slices.Clone(acl), nil)
}

func (s *Session) create(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL, trace *engine.Trace) (string, error) {
	check := strings.TrimSuffix(path, "/") // the name of a sequential node may be its number alone
	if check == "" || mode&zk.FlagSequence == 0 {
		check = path
	}
	if err := s.check("create", check, len(data)+aclSize(acl)); err != nil {
		return "", err
	}
	data = bytes.Clone(data)
	return do(ctx, s, "create", path, func(c *zk.Conn, t *ticket) (string, error) {
		t.trace = trace
		create := c.Create
		if mode == Container {
			create = c.CreateContainer
		}
		created, err := create(t.mark(s.root.innerNew(path, mode&zk.FlagSequence != 0)), data, int32(mode), acl)
		return s.root.outer(created), err
	})
}

// CreateTTL creates a persistent znode, which the server deletes when it has had no children and no
// change for ttl. ttl is at least a millisecond and at most 34 years. Servers refuse the request
// unless zookeeper.extendedTypesEnabled is set.
func (s *Session) CreateTTL(ctx context.Context, path string, data []byte, ttl time.Duration, sequential bool) (string, error) {
	if err := s.check("create", path, len(data)+aclSize(s.opts.ACL)); err != nil {
		return "", err
	}
	if ttl < time.Millisecond || ttl > maxTTL {
		return "", unsent("create", path, invalid.New("a time to live of %v is not between 1 ms and %v", ttl, maxTTL))
	}
	flag := int32(zk.FlagTTL)
	if sequential {
		flag = zk.FlagPersistentSequentialWithTTL
	}
	data = bytes.Clone(data)
	return do(ctx, s, "create", path, func(c *zk.Conn, t *ticket) (string, error) {
		created, err := c.CreateTTL(t.mark(s.root.innerNew(path, sequential)), data, flag, s.opts.ACL, ttl)
		return s.root.outer(created), err
	})
}

// maxTTL is the longest TTL, because servers store it in 40 bits.
const maxTTL = (1<<40 - 1) * time.Millisecond

// Exists returns the stat of a znode, or nil if the znode does not exist.
func (s *Session) Exists(ctx context.Context, path string) (*Stat, error) {
	if err := s.check("exists", path, 0); err != nil {
		return nil, err
	}
	return read(ctx, s, "exists", path, func(c *zk.Conn, t *ticket) (*zk.Stat, error) {
		exists, stat, err := c.Exists(t.mark(s.root.inner(path)))
		if err != nil || !exists {
			return nil, err
		}
		return stat, nil
	})
}

// ExistsWatch is Exists with a watch, which fires when the znode is created or deleted, or when its
// data are set. Stop the watch if nobody waits for it.
func (s *Session) ExistsWatch(ctx context.Context, path string) (*Stat, *Watch, error) {
	w := s.watches.watch(path, false)
	stat, err := s.Exists(ctx, path)
	if err != nil {
		w.Stop()
		return nil, nil, err
	}
	return stat, w, nil
}

// A Value is the data and the stat of a znode.
type Value struct {
	Data []byte
	Stat *Stat
}

// Get returns the data of a znode as the connected server knows it. Call Sync before it to see what
// was committed before.
func (s *Session) Get(ctx context.Context, path string) (Value, error) {
	if err := s.check("get", path, 0); err != nil {
		return Value{}, err
	}
	return read(ctx, s, "get", path, func(c *zk.Conn, t *ticket) (Value, error) {
		data, stat, err := c.Get(t.mark(s.root.inner(path)))
		return Value{data, stat}, err
	})
}

// GetWatch is Get with a watch, which fires when the znode is deleted or its data are set. If the
// znode does not exist, no watch is set: use ExistsWatch.
func (s *Session) GetWatch(ctx context.Context, path string) (Value, *Watch, error) {
	w := s.watches.watch(path, false)
	value, err := s.Get(ctx, path)
	if err != nil {
		w.Stop()
		return Value{}, nil, err
	}
	return value, w, nil
}

// Listing has the names of a znode's children, in no order, and its stat.
type Listing struct {
	Names []string
	Stat  *Stat
}

// Children lists a znode's children.
func (s *Session) Children(ctx context.Context, path string) (Listing, error) {
	if err := s.check("children", path, 0); err != nil {
		return Listing{}, err
	}
	return read(ctx, s, "children", path, func(c *zk.Conn, t *ticket) (Listing, error) {
		names, stat, err := c.Children(t.mark(s.root.inner(path)))
		return Listing{names, stat}, err
	})
}

// ChildrenWatch is Children with a watch, which fires when a child is created or deleted and when
// the znode is deleted.
func (s *Session) ChildrenWatch(ctx context.Context, path string) (Listing, *Watch, error) {
	w := s.watches.watch(path, true)
	listing, err := s.Children(ctx, path)
	if err != nil {
		w.Stop()
		return Listing{}, nil, err
	}
	return listing, w, nil
}

// AnyVersion makes Set and Delete unconditional.
const AnyVersion int32 = -1

// Set replaces the data of a znode if the znode has the given version.
func (s *Session) Set(ctx context.Context, path string, data []byte, version int32) (*Stat, error) {
	if err := s.check("set", path, len(data)); err != nil {
		return nil, err
	}
	data = bytes.Clone(data)
	return do(ctx, s, "set", path, func(c *zk.Conn, t *ticket) (*zk.Stat, error) {
		return c.Set(t.mark(s.root.inner(path)), data, version)
	})
}

// Delete deletes a znode without children if the znode has the given version.
func (s *Session) Delete(ctx context.Context, path string, version int32) error {
	if err := s.check("delete", path, 0); err != nil {
		return err
	}
	_, err := do(ctx, s, "delete", path, func(c *zk.Conn, t *ticket) (struct{}, error) {
		return struct{}{}, c.Delete(t.mark(s.root.inner(path)), version)
	})
	return err
}

// Sync ensures that the next read of this session includes what the leader had committed when it
// received the Sync. If the session is connected to the leader itself, the read includes only what
// the leader has applied. This can be less than another server showed before: see
// recipe.ReadBarrier. Sync does not prove that the session lives, because an isolated leader
// answers it too.
func (s *Session) Sync(ctx context.Context, path string) error {
	if err := s.check("sync", path, 0); err != nil {
		return err
	}
	_, err := read(ctx, s, "sync", path, func(c *zk.Conn, t *ticket) (string, error) {
		return c.Sync(t.mark(s.root.inner(path)))
	})
	return err
}

// GetACL returns the ACL of a znode.
func (s *Session) GetACL(ctx context.Context, path string) ([]ACL, error) {
	if err := s.check("getACL", path, 0); err != nil {
		return nil, err
	}
	return read(ctx, s, "getACL", path, func(c *zk.Conn, t *ticket) ([]zk.ACL, error) {
		acl, _, err := c.GetACL(t.mark(s.root.inner(path)))
		return acl, err
	})
}

// SetACL replaces the ACL of a znode if the ACL has the given version.
func (s *Session) SetACL(ctx context.Context, path string, acl []ACL, version int32) error {
	if err := s.check("setACL", path, aclSize(acl)); err != nil {
		return err
	}
	acl = slices.Clone(acl)
	_, err := do(ctx, s, "setACL", path, func(c *zk.Conn, t *ticket) (*zk.Stat, error) {
		return c.SetACL(t.mark(s.root.inner(path)), acl, version)
	})
	return err
}
