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
	// ErrMissing means that there is no such znode (any more).
	ErrMissing = errors.New("watch: no such znode")
	// ErrInvalid means that what is stored cannot be decoded or is not valid.
	// Somebody has to store something better, or this program is too old.
	ErrInvalid = errors.New("watch: invalid value")
)

// ValueOptions say how a Value is stored. The zero value is JSON, all valid.
type ValueOptions[T any] struct {
	Decode func(data []byte) (T, error) // nil is JSON
	Encode func(T) ([]byte, error)      // nil is JSON

	// Validate refuses what is decoded, and what Update is to store.
	Validate func(T) error

	// Default is what Load returns before a good value was seen, and what
	// Update begins with where nothing is stored.
	Default T
}

// A Value is configuration in one znode, decoded and validated, that is at hand
// at any time. What is stored and is not valid does not replace the last good
// one. It is safe for concurrent use; something has to Keep it:
//
//	limits := watch.NewValue("/config/limits", watch.ValueOptions[Limits]{})
//	go session.Run(ctx, opts, limits.Keep)
type Value[T any] struct {
	path    string
	opts    ValueOptions[T]
	data    *Watcher[DataChange] // Keep's
	current atomic.Pointer[version[T]]
}

// A version is one Setting after another. The last one's replaced is open.
type version[T any] struct {
	setting  Setting[T]
	known    bool // something was read
	replaced chan struct{}
}

// A Setting is what is known of a Value.
type Setting[T any] struct {
	Value T             // the last good one, or the default
	Stat  *session.Stat // of the znode when that was stored; nil if it is the default

	// Err is nil if Value is what is stored, else why it is not: ErrMissing or
	// ErrInvalid, and then with the reason.
	Err error
}

// NewValue returns the Value stored at path. No request is made. An invalid path is an
// error of Keep, Changes and Update, session.ErrInvalid.
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

// Load returns the last good value, or the default before there was one. It
// takes no lock and makes no request.
func (v *Value[T]) Load() T { return v.current.Load().setting.Value }

// Current returns what is known, and false if nothing was read yet.
func (v *Value[T]) Current() (Setting[T], bool) {
	now := v.current.Load()
	return now.setting, now.known
}

// Changes is what is known, as soon as something is, and then each change of
// it: the newest, if there were several. It ends when ctx does, with a last
// pair that has the cause; a lost session does not end it. It makes no
// request, so any number of goroutines can wait.
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

// Keep keeps the value up to date until ctx or the session ends, and returns
// why. It is made for session.Run, which calls it again with the next session.
// Between two sessions the last good value stays. Only one Keep may run.
func (v *Value[T]) Keep(ctx context.Context, s *session.Session) (err error) {
	var change DataChange
	for change, err = range v.data.Changes(ctx, s) {
		if err == nil {
			v.take(change)
		}
	}
	return err
}

// take goes on from one version to the next.
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
		return value, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return value, nil
}

// Update stores what f makes of the value that is stored now, and returns it.
// If somebody else stores another one meanwhile, f is called again, with that.
// Where nothing is stored f gets the default, a copy if it can be encoded, and the
// znode is made, persistent, and its parents as containers. A znode that was deleted and created anew
// between the read and the write may pass for the one that was read, as
// ZooKeeper compares versions, which start anew.
//
// It fails with f's own error; with ErrInvalid if what is stored is not valid,
// or what f returned; and with what the session gives. Only if session.OutcomeOf
// of the error is Indeterminate may the new value have been stored. Load shows
// it once Keep was told of it.
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
		// If another one was first, the refusal has passed through the quorum
		// like a write, so that the next read sees what that one stored.
		switch err := v.store(ctx, s, data, stat); {
		case err == nil:
			return value, nil
		case errors.Is(err, session.ErrBadVersion), errors.Is(err, session.ErrNodeExists), stat != nil && isNoNode(err):
		default:
			return value, fmt.Errorf("watch: update %s: %w", v.path, err)
		}
	}
}

// stored reads the value; without a znode it is the default and has no stat.
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

// ownDefault is a copy of the default, which Load shows to others; or the default
// itself, if it cannot be encoded.
func (v *Value[T]) ownDefault() T {
	if data, err := v.opts.Encode(v.opts.Default); err == nil {
		if own, err := v.opts.Decode(data); err == nil {
			return own
		}
	}
	return v.opts.Default
}

// unsent is the error of an Update that was not about to store anything.
func (v *Value[T]) unsent(err error) error {
	return &session.RequestError{Op: "update", Path: v.path, Outcome: session.Failed, Err: err}
}

// store replaces what has the given stat, or makes the znode if there was none.
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
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return v.opts.Encode(value)
}
