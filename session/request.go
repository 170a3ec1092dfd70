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

// The function `do` makes one request, by running `call`. It returns when the answer arrives, or
// when ctx or the session ends. Before it sends, `do` waits for a connection. So a request that is
// given up during this wait was certainly not applied.
//
// Usually `call` runs on another goroutine, so that `do` can return before the answer arrives. If
// ctx is the session's own context, `call` runs on the caller's goroutine. This ctx ends only with
// the session. Then Session.keep closes the client, and every `call` returns.
func do[T any](ctx context.Context, s *Session, r request, call func(request) (T, error)) (value T, err error) {
	op, path := r.op, r.path
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
	r.s, r.zk, r.ticket = s, s.zk, s.tap.tickets.issue(r.trace)
	var a answer[T]
	if ctx == s.life.ctx {
		a.value, a.err = call(r)
	} else {
		a, err = apart(ctx, r, call)
	}
	if a.err == nil && err == nil {
		return a.value, nil
	}
	if a.err = named(a.err); errors.Is(a.err, zk.ErrNoNode) {
		a.err = s.explainNoNode(ctx, a.err)
	}
	if err == nil && s.Err() != nil && OutcomeOf(a.err) == Indeterminate {
		err = s.Err()
	}
	switch {
	case s.tap.tickets.void(r.ticket):
		return value, unsent(op, path, cmp.Or(err, a.err))
	case err != nil:
		return value, ended(op, path, err)
	}
	return a.value, answered(op, path, a.err)
}

// A request is one request of a caller. The function that is passed to `do` should take all of its
// input from its parameter, the request. Then the function captures no variables and costs no
// allocation.
type request struct {
	op      string
	path    string
	data    []byte
	acl     []zk.ACL
	trace   *engine.Trace // nil unless the caller needs more than the answer: see engine.Trace
	version int32
	mode    Mode

	// The function `do` sets these fields.
	s      *Session
	zk     *zk.Conn
	ticket ticket
}

// The method `marked` returns the path to pass to the client library. This path contains the number
// of the ticket.
func (r request) marked() string { return r.ticket.mark(r.s.root.inner(r.path)) }

// An answer is the result of a request.
type answer[T any] struct {
	value T
	err   error
}

// The function `apart` runs `call` on a new goroutine, so that the caller can give up the request
// before the answer arrives. If ctx or the session ends first, `err` is the cause.
func apart[T any](ctx context.Context, r request, call func(request) (T, error)) (a answer[T], err error) {
	if !r.s.life.enter() {
		return a, r.s.Err()
	}
	done := make(chan answer[T], 1)
	go func() {
		defer r.s.life.leave()
		v, err := call(r)
		done <- answer[T]{v, err}
	}()
	select {
	case a = <-done:
		return a, nil
	case <-ctx.Done():
		return a, causeOf(ctx)
	case <-r.s.Done():
		return a, r.s.Err()
	}
}

// The function `read` is like `do`, for a request that changes nothing. If the connection is lost,
// `read` repeats the request.
func read[T any](ctx context.Context, s *Session, r request, call func(request) (T, error)) (T, error) {
	for {
		value, err := do(ctx, s, r, call)
		if err == nil || !retryable(err) {
			return value, err
		}
	}
}

// The method `check` returns an error if the path is invalid or the request is larger than
// Options.MaxRequest. The caller then sends nothing. The parameter `size` is the number of bytes
// without the path.
func (s *Session) check(op, path string, size int) error {
	if err := znode.Check(path); err != nil {
		return unsent(op, path, err)
	}
	return s.checkSize(op, path, size)
}

func (s *Session) checkSize(op, path string, size int) error {
	if size += len(s.opts.Chroot) + len(path) + 256; size > s.opts.MaxRequest {
		return unsent(op, path, fmt.Errorf("%w: %d bytes, limit %d (Options.MaxRequest; the servers' jute.maxbuffer is another limit)", ErrTooLarge, size, s.opts.MaxRequest))
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

// The kinds of znodes. CreateTTL creates a TTL znode.
const (
	Persistent           Mode = zk.FlagPersistent
	Ephemeral            Mode = zk.FlagEphemeral
	PersistentSequential Mode = zk.FlagSequence
	EphemeralSequential  Mode = zk.FlagEphemeralSequential
	Container            Mode = zk.FlagContainer // deleted by the server some time after its last child was deleted
)

// Create creates a znode with the ACL of the options and returns its path. The path of a sequential
// znode ends in the number that the server assigned. After an Indeterminate error the znode may
// exist: see recipe.CreateProtected.
func (s *Session) Create(ctx context.Context, path string, data []byte, mode Mode) (string, error) {
	return s.create(ctx, path, data, mode, s.opts.ACL, nil)
}

// CreateACL is Create with the given ACL.
func (s *Session) CreateACL(ctx context.Context, path string, data []byte, mode Mode, acl []ACL) (string, error) {
	return s.create(ctx, path, data, mode, slices.Clone(acl), nil)
}

func (s *Session) create(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL, trace *engine.Trace) (string, error) {
	check := strings.TrimSuffix(path, "/") // the name of a sequential znode may be its number alone
	if check == "" || mode&zk.FlagSequence == 0 {
		check = path
	}
	if err := s.check("create", check, len(data)+aclSize(acl)); err != nil {
		return "", err
	}
	data = bytes.Clone(data)
	r := request{op: "create", path: path, data: data, mode: mode, acl: acl, trace: trace}
	return do(ctx, s, r, func(r request) (string, error) {
		create := r.zk.Create
		if r.mode == Container {
			create = r.zk.CreateContainer
		}
		created, err := create(r.ticket.mark(r.s.root.innerNew(r.path, r.mode&zk.FlagSequence != 0)), r.data, int32(r.mode), r.acl)
		return r.s.root.outer(created), err
	})
}

// CreateTTL creates a persistent znode, which the server deletes when the znode has had no children
// and no change for ttl. ttl is at least a millisecond and at most 34 years. Servers refuse the
// request unless zookeeper.extendedTypesEnabled is set.
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
	return do(ctx, s, request{op: "create", path: path}, func(r request) (string, error) {
		created, err := r.zk.CreateTTL(r.ticket.mark(s.root.innerNew(path, sequential)), data, flag, s.opts.ACL, ttl)
		return s.root.outer(created), err
	})
}

// maxTTL is the longest TTL. Servers store a TTL in 40 bits, in milliseconds.
const maxTTL = (1<<40 - 1) * time.Millisecond

// Exists returns the stat of a znode, or nil if the znode does not exist.
func (s *Session) Exists(ctx context.Context, path string) (*Stat, error) {
	if err := s.check("exists", path, 0); err != nil {
		return nil, err
	}
	return read(ctx, s, request{op: "exists", path: path}, func(r request) (*zk.Stat, error) {
		exists, stat, err := r.zk.Exists(r.marked())
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

// Get returns the data of a znode as the connected server knows it. That server may be behind the
// leader: call Sync first to see what the leader has already committed.
func (s *Session) Get(ctx context.Context, path string) (Value, error) {
	if err := s.check("get", path, 0); err != nil {
		return Value{}, err
	}
	return read(ctx, s, request{op: "get", path: path}, func(r request) (Value, error) {
		data, stat, err := r.zk.Get(r.marked())
		return Value{data, stat}, err
	})
}

// GetWatch is Get with a watch, which fires when the znode is deleted or its data are set. If the
// znode does not exist, the session gets no watch: use ExistsWatch.
func (s *Session) GetWatch(ctx context.Context, path string) (Value, *Watch, error) {
	w := s.watches.watch(path, false)
	value, err := s.Get(ctx, path)
	if err != nil {
		w.Stop()
		return Value{}, nil, err
	}
	return value, w, nil
}

// Listing has the names of a znode's children, in no particular order, and the stat of the znode.
type Listing struct {
	Names []string
	Stat  *Stat
}

// Children lists a znode's children.
func (s *Session) Children(ctx context.Context, path string) (Listing, error) {
	if err := s.check("children", path, 0); err != nil {
		return Listing{}, err
	}
	return read(ctx, s, request{op: "children", path: path}, func(r request) (Listing, error) {
		names, stat, err := r.zk.Children(r.marked())
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

// AnyVersion is the version to pass to Set, SetACL, Delete or an Op if any version is acceptable.
const AnyVersion int32 = -1

// Set replaces the data of a znode if the znode has the given version.
func (s *Session) Set(ctx context.Context, path string, data []byte, version int32) (*Stat, error) {
	if err := s.check("set", path, len(data)); err != nil {
		return nil, err
	}
	data = bytes.Clone(data)
	return do(ctx, s, request{op: "set", path: path, data: data, version: version}, func(r request) (*zk.Stat, error) {
		return r.zk.Set(r.marked(), r.data, r.version)
	})
}

// Delete deletes a znode without children if the znode has the given version.
func (s *Session) Delete(ctx context.Context, path string, version int32) error {
	if err := s.check("delete", path, 0); err != nil {
		return err
	}
	_, err := do(ctx, s, request{op: "delete", path: path, version: version}, func(r request) (struct{}, error) {
		return struct{}{}, r.zk.Delete(r.marked(), r.version)
	})
	return err
}

// Sync ensures that the next read of this session includes everything that the leader had committed
// before it received the Sync. There is one exception: if the session is connected to the leader
// itself, the read may miss changes that the leader has committed and not yet applied. Another
// server may already have applied these changes and shown them to a client: see recipe.ReadBarrier.
// Sync does not prove that the session lives, because even an isolated leader answers a Sync.
func (s *Session) Sync(ctx context.Context, path string) error {
	if err := s.check("sync", path, 0); err != nil {
		return err
	}
	_, err := read(ctx, s, request{op: "sync", path: path}, func(r request) (string, error) {
		return r.zk.Sync(r.marked())
	})
	return err
}

// GetACL returns the ACL of a znode.
func (s *Session) GetACL(ctx context.Context, path string) ([]ACL, error) {
	if err := s.check("getACL", path, 0); err != nil {
		return nil, err
	}
	return read(ctx, s, request{op: "getACL", path: path}, func(r request) ([]zk.ACL, error) {
		acl, _, err := r.zk.GetACL(r.marked())
		return acl, err
	})
}

// SetACL replaces the ACL of a znode if the ACL has the given version.
func (s *Session) SetACL(ctx context.Context, path string, acl []ACL, version int32) error {
	if err := s.check("setACL", path, aclSize(acl)); err != nil {
		return err
	}
	acl = slices.Clone(acl)
	_, err := do(ctx, s, request{op: "setACL", path: path}, func(r request) (*zk.Stat, error) {
		return r.zk.SetACL(r.marked(), acl, version)
	})
	return err
}
