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

// A Watcher is one thing to watch, and what of it was told last. It goes on
// from there each time that its Changes are ranged over, on the same session
// or on a later one: the first change is then the difference to the last one
// told, if there is any. It is for one goroutine at a time.
//
// A later session is one that was opened after the last one was done with. No
// sync is needed to see there all that was seen before: opening a session is a
// write, which the server that answers has applied, with all before it.
//
// No constructor fails. An invalid path is the error with which the first stream
// ends, and each one after that: session.ErrInvalid.
type Watcher[C any] struct {
	what    string // for errors: "children of /a"
	invalid error  // of the constructor's arguments
	thing[C]
}

// newWatcher returns the Watcher of what is at path, which may be the root.
func newWatcher[C any](what, path string, thing thing[C]) *Watcher[C] {
	return &Watcher[C]{what: what + " " + path, invalid: znode.Check(path), thing: thing}
}

// A thing is what a Watcher watches.
type thing[C any] interface {
	// look reads anew what the watches that fired were on, or everything if
	// fired is nil, sets the watches again, and returns the difference to what
	// it returned last, and whether there is any.
	look(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (C, bool, error)
}

// Changes is the stream of changes on one session. It ends as W7 says.
func (w *Watcher[C]) Changes(ctx context.Context, s *session.Session) iter.Seq2[C, error] {
	return func(yield func(C, error) bool) {
		if err := w.run(ctx, s, func(c C) bool { return yield(c, nil) }); err != nil {
			var none C
			yield(none, err)
		}
	}
}

// run returns nil when yield said that it is enough.
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
		change, changed, err := w.look(ctx, s, watches, fired)
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

// Run is the stream of changes over any number of sessions, a new one each
// time that one is lost, as session.Run opens them. It ends with ctx, or with
// an error that is not the loss of a session.
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
					cancel() // also if the session is lost at this moment, no other is opened
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

// keep follows w on s only for what that does to it.
func (w *Watcher[C]) keep(ctx context.Context, s *session.Session) error {
	return w.run(ctx, s, func(C) bool { return true })
}

// eventOf is the event that made a look necessary, none for a first look.
func eventOf(fired []recipe.Fired) session.EventType {
	if len(fired) == 0 {
		return 0
	}
	return fired[0].Type
}

func isNoNode(err error) bool { return errors.Is(err, session.ErrNoNode) }
