package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Watcher is a thing to watch, together with the state that was reported last. Each stream of the
// Watcher continues from that state, on the same session or on another one. The first change of the
// stream is the difference to that state. If there is no difference, the stream yields nothing
// until the next change. A Watcher must be used by one goroutine at a time.
//
// If a stream uses another session than the previous stream, open the new session only after the
// previous one is no longer used. Otherwise, the stream may go back to an earlier state. The new
// session needs no sync to see everything that the previous session saw: opening a session is a
// write, and the server that answers has applied this write and all writes before it.
//
// No constructor fails. With an invalid path, each stream ends at once with an error that wraps
// session.ErrInvalid.
type Watcher[C any] struct {
	what    string // for errors: "children of /a"
	invalid error  // set if the constructor's arguments are invalid
	thing[C]
}

// newWatcher returns the Watcher of the thing at path, which may be the root.
func newWatcher[C any](what, path string, thing thing[C]) *Watcher[C] {
	return &Watcher[C]{what: what + " " + path, invalid: znode.Check(path), thing: thing}
}

// A thing is the subject of a Watcher, for example a tree.
type thing[C any] interface {
	// refresh reads again the parts whose watches fired, or everything if `fired` is nil, and sets
	// the watches again. It returns the difference to the state that it returned last, and whether
	// there is a difference.
	refresh(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (C, bool, error)
}

// Changes returns the stream of changes on one session. It ends as guarantee W7
// says.
func (w *Watcher[C]) Changes(ctx context.Context, s *session.Session) iter.Seq2[C, error] {
	return func(yield func(C, error) bool) {
		if err := w.run(ctx, s, func(c C) bool { return yield(c, nil) }); err != nil {
			var none C
			yield(none, err)
		}
	}
}

// The method `run` passes each change to yield. It returns nil if yield returned false, and
// otherwise the error that ended the stream.
func (w *Watcher[C]) run(ctx context.Context, s *session.Session, yield func(C) bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("watch: %s: %w", w.what, err)
		}
	}()
	if w.invalid != nil {
		return w.invalid
	}
	watches := recipe.NewWatches(s)
	defer watches.Stop()
	var fired []recipe.Fired
	for {
		change, changed, err := w.refresh(ctx, s, watches, fired)
		if err != nil {
			return err
		}
		if changed && !yield(change) {
			return nil
		}
		if fired, err = watches.Wait(ctx); err != nil {
			return err
		}
	}
}

// Run returns the stream of changes over any number of sessions. Each time the current session is
// lost, the stream opens a new one, like session.Run. The stream ends when ctx ends, or with an
// error that is not the loss of a session.
func (w *Watcher[C]) Run(ctx context.Context, opts session.Options) iter.Seq2[C, error] {
	return func(yield func(C, error) bool) {
		left := false
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
			for change, err := range w.Changes(ctx, s) {
				if err != nil {
					return err
				}
				if !yield(change, nil) {
					left = true
					cancel() // so that no other session is opened, even if this one is lost now
					return nil
				}
			}
			return nil
		})
		if !left {
			var none C
			yield(none, err)
		}
	}
}

// The method `keep` runs w on s without a consumer. The caller needs only the state that w keeps.
func (w *Watcher[C]) keep(ctx context.Context, s *session.Session) error {
	return w.run(ctx, s, func(C) bool { return true })
}

// eventOf returns the event of the first watch that fired, or 0 if none has fired.
func eventOf(fired []recipe.Fired) session.EventType {
	if len(fired) == 0 {
		return 0
	}
	return fired[0].Type
}

func isNoNode(err error) bool { return errors.Is(err, session.ErrNoNode) }
