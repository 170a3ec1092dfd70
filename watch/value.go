package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Errors of a Setting.
var (
	// ErrMissing means that the znode does not exist, or no longer exists.
	ErrMissing = errors.New("watch: no such znode")
	// ErrValue means that the stored data cannot be decoded or is not valid.
	// Store a valid value, or update this program if it is too old for the
	// data.
	ErrValue = errors.New("watch: invalid value")
)

// ValueOptions describe how a Value is stored. With the zero value it is stored
// as JSON, and every value is valid.
type ValueOptions[T any] struct {
	Decode func(data []byte) (T, error) // nil means JSON
	Encode func(T) ([]byte, error)      // nil means JSON

	// Validate returns an error for a value that is not valid. It is applied to
	// each decoded value and to each value before Update stores it. Nil means
	// that every value is valid.
	Validate func(T) error

	// Default is the value that Load returns until Keep has read a good value. If nothing is
	// stored, the function passed to Update receives the default.
	Default T
}

// A Value is configuration in one znode. It is decoded and validated, and can
// be read at any time without a request. A stored value that is not valid does
// not replace the last good one. A Value is safe for concurrent use. It is up
// to date only while Keep runs:
//
//	limits := watch.NewValue("/config/limits", watch.ValueOptions[Limits]{})
//	go session.Run(ctx, opts, limits.Keep)
type Value[T any] struct {
	path    string
	opts    ValueOptions[T]
	data    *Watcher[DataChange] // used by Keep
	current atomic.Pointer[version[T]]
}

// A version holds one Setting. Its channel `replaced` is closed when the next version takes its
// place.
type version[T any] struct {
	setting  Setting[T]
	known    bool // a read has succeeded
	replaced chan struct{}
}

// A Setting is the last good value. If the last good value is not the stored value, the Setting
// also has the reason.
type Setting[T any] struct {
	Value T             // the last good value, or the default
	Stat  *session.Stat // of the znode when Value was read; nil for the default

	// Err is nil if Value is the stored value. Otherwise it is ErrMissing, or
	// an error that wraps ErrValue and the reason.
	Err error
}

// NewValue returns the Value stored at path. It sends no request. If path is
// invalid, Keep, Changes and Update return an error that wraps
// session.ErrInvalid.
func NewValue[T any](path string, o ValueOptions[T]) *Value[T] {
	if o.Decode == nil {
		o.Decode = func(data []byte) (v T, err error) { return v, json.Unmarshal(data, &v) }
	}
	if o.Encode == nil {
		o.Encode = func(v T) ([]byte, error) { return json.Marshal(v) }
	}
	if o.Validate == nil {
		o.Validate = func(T) error { return nil }
	}
	v := &Value[T]{path: path, opts: o, data: NewData(path)}
	v.current.Store(&version[T]{setting: Setting[T]{Value: o.Default}, replaced: make(chan struct{})})
	return v
}

// Load returns the last good value, or the default if there was none yet. It
// acquires no lock and sends no request.
func (v *Value[T]) Load() T { return v.current.Load().setting.Value }

// Current returns the current setting. It returns false if nothing was read
// yet.
func (v *Value[T]) Current() (Setting[T], bool) {
	now := v.current.Load()
	return now.setting, now.known
}

// Changes yields the current setting once there is one, and then each change. If there were several
// changes since the last pair, Changes yields only the newest setting. The stream ends when ctx
// ends, with a last pair that has the cause. A lost session does not end the stream. Changes sends
// no request, so any number of goroutines can wait.
func (v *Value[T]) Changes(ctx context.Context) iter.Seq2[Setting[T], error] {
	return func(yield func(Setting[T], error) bool) {
		if err := v.data.invalid; err != nil {
			yield(Setting[T]{}, fmt.Errorf("watch: value of %s: %w", v.path, err))
			return
		}
		for {
			now := v.current.Load()
			if now.known && ctx.Err() == nil && !yield(now.setting, nil) {
				return
			}
			select {
			case <-now.replaced:
			case <-ctx.Done():
				yield(Setting[T]{}, fmt.Errorf("watch: value of %s: %w", v.path, context.Cause(ctx)))
				return
			}
		}
	}
}

// Keep keeps the value up to date until ctx or the session ends, or until a server refuses a
// request for good (W7). It returns the cause. Use Keep with session.Run, which calls it again with
// the next session. Between two sessions the last good value stays. Only one Keep may run at a
// time.
func (v *Value[T]) Keep(ctx context.Context, s *session.Session) (err error) {
	var change DataChange
	for change, err = range v.data.Changes(ctx, s) {
		if err == nil {
			v.take(change)
		}
	}
	return err
}

// The method `take` makes a version from the change c and stores it as the current one.
func (v *Value[T]) take(c DataChange) {
	old := v.current.Load()
	next := &version[T]{setting: v.next(old.setting, c), known: true, replaced: make(chan struct{})}
	v.current.Store(next)
	close(old.replaced)
}

func (v *Value[T]) next(now Setting[T], c DataChange) Setting[T] {
	if now.Err = ErrMissing; c.Stat == nil {
		return now
	}
	value, err := v.decode(c.Data)
	if now.Err = err; err != nil {
		return now
	}
	return Setting[T]{Value: value, Stat: c.Stat}
}

func (v *Value[T]) decode(data []byte) (T, error) {
	value, err := v.opts.Decode(data)
	if err == nil {
		err = v.opts.Validate(value)
	}
	if err != nil {
		return value, fmt.Errorf("%w: %w", ErrValue, err)
	}
	return value, nil
}

// Update calls f with the stored value, stores the result and returns it. If another client stores
// a value meanwhile, Update calls f again with that value.
//
// If there is no znode, f receives a copy of the default, or the default itself if it cannot be
// encoded and decoded again. Update then creates a persistent znode with the result of f, and
// missing parents as containers.
//
// If the znode is deleted and created again between the read and the write, Update may mistake the
// new znode for the one that it read: ZooKeeper compares versions, and a new znode starts with
// version 0.
//
// Update fails with the error of f, with ErrValue if the stored value or the
// result of f is not valid, or with an error of the session. The new value may
// have been stored only if session.OutcomeOf of the error is Indeterminate.
// Load returns the new value once Keep has received it.
func (v *Value[T]) Update(ctx context.Context, s *session.Session, f func(T) (T, error)) (T, error) {
	for {
		value, stat, err := v.stored(ctx, s)
		if err == nil {
			value, err = f(value)
		}
		var data []byte
		if err == nil {
			data, err = v.encode(value)
		}
		if err != nil {
			return value, fmt.Errorf("watch: update %s: %w", v.path, v.unsent(err))
		}
		// If another client has stored a value meanwhile, the servers refuse this write. The
		// refusal has passed through the quorum like a write. So the next read sees the value of
		// that client.
		switch err := v.store(ctx, s, data, stat); {
		case err == nil:
			return value, nil
		case errors.Is(err, session.ErrBadVersion), errors.Is(err, session.ErrNodeExists), stat != nil && isNoNode(err):
		default:
			return value, fmt.Errorf("watch: update %s: %w", v.path, err)
		}
	}
}

// The method `stored` reads the value. If there is no znode, it returns the default and a nil stat.
func (v *Value[T]) stored(ctx context.Context, s *session.Session) (T, *session.Stat, error) {
	stored, err := s.Get(ctx, v.path)
	switch {
	case isNoNode(err):
		return v.ownDefault(), nil, nil
	case err != nil:
		return v.opts.Default, nil, err
	}
	value, err := v.decode(stored.Data)
	return value, stored.Stat, err
}

// ownDefault returns a copy of the default. The function passed to Update may modify this copy,
// while Load returns the default itself to other callers. If the default cannot be encoded and
// decoded again, ownDefault returns the default itself.
func (v *Value[T]) ownDefault() T {
	if data, err := v.opts.Encode(v.opts.Default); err == nil {
		if own, err := v.opts.Decode(data); err == nil {
			return own
		}
	}
	return v.opts.Default
}

// The method `unsent` returns the error of an Update that has certainly not stored its value.
func (v *Value[T]) unsent(err error) error {
	return &session.RequestError{Op: "update", Path: v.path, Outcome: session.Failed, Err: err}
}

// The method `store` writes data if the znode still has the version in stat, which is the stat of
// the last read. If stat is nil, `store` creates the znode.
func (v *Value[T]) store(ctx context.Context, s *session.Session, data []byte, stat *session.Stat) error {
	if stat != nil {
		_, err := s.Set(ctx, v.path, data, stat.Version)
		return err
	}
	for {
		_, err := s.Create(ctx, v.path, data, session.Persistent)
		if !isNoNode(err) {
			return err
		}
		if err := recipe.CreateParents(ctx, s, v.path); err != nil {
			return v.unsent(err)
		}
	}
}

func (v *Value[T]) encode(value T) ([]byte, error) {
	if err := v.opts.Validate(value); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrValue, err)
	}
	return v.opts.Encode(value)
}
