package scenarios

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A textbook is an implementation of the lock recipe of ZooKeeper's documentation, like those of
// many programs. In a mutant it makes one of the usual mistakes. Without a mistake it passes the
// scenarios lock, rwlock and semaphore: see TestTextbookInVirtualTime.
type textbook struct {
	s      *session.Session
	path   string
	places int // number of permits of a semaphore; 0 means a lock
	does   mistakes
}

// The type `mistakes` selects the mistakes that a textbook makes.
type mistakes struct {
	names       bool // orders by names, not by their sequence numbers
	later       bool // readers also wait for writers that arrived after them
	unprotected bool // creates a second znode when the reply to the create is lost
	cancelled   bool // cleans up with the caller's context
	late        bool // ends the grant's context only after the contender's znode is deleted
}

func openTextbook(opts session.Options, does mistakes) opener {
	return inSession(opts, func(s *session.Session, path string) lockFunc {
		return (&textbook{s: s, path: path, does: does}).lock
	})
}

func (t *textbook) lock(ctx context.Context, want string) (held, error) {
	node, err := t.enter(ctx, cmp.Or(want, checker.ModeWrite))
	if err != nil {
		return held{}, err
	}
	hold := recipe.NewHold(t.s, node)
	if err = t.await(ctx, node.Name()); err == nil {
		err = hold.Grant(ctx)
	}
	if err != nil {
		hold.End(err)
		return held{}, errors.Join(err, t.leave(ctx, node))
	}
	return held{Context: hold.Context(), token: node.Czxid, path: node.Path, ends: true, unlock: func(ctx context.Context) error {
		if t.does.late {
			defer hold.End(lock.ErrReleased)
			return t.leave(ctx, node)
		}
		if !hold.End(lock.ErrReleased) {
			return errors.Join(context.Cause(hold.Context()), t.leave(ctx, node))
		}
		return t.leave(ctx, node)
	}}, nil
}

// The method `enter` creates the contender's znode.
func (t *textbook) enter(ctx context.Context, mode string) (recipe.Node, error) {
	if !t.does.unprotected {
		return recipe.CreateProtected(ctx, t.s, t.path, mode, nil, session.EphemeralSequential)
	}
	prefix := znode.Join(t.path, recipe.NewID(t.s)+"-"+mode+"-")
	for {
		path, err := t.s.Create(ctx, prefix, nil, session.EphemeralSequential)
		if err == nil {
			stat, err := t.s.Exists(ctx, path)
			if err != nil || stat == nil {
				return recipe.Node{}, errors.Join(err, session.ErrRevoked)
			}
			return recipe.Node{Path: path, Czxid: stat.Czxid}, nil
		}
		if ctx.Err() != nil || t.s.Err() != nil {
			return recipe.Node{}, err
		}
		if session.OutcomeOf(err) == session.Failed {
			if err := recipe.CreateParents(ctx, t.s, prefix); err != nil {
				return recipe.Node{}, err
			}
		}
	}
}

// The method `leave` deletes the contender's znode.
func (t *textbook) leave(ctx context.Context, node recipe.Node) error {
	if t.does.cancelled {
		return recipe.Remove(ctx, t.s, node)
	}
	removed := recipe.Detach(t.s, func(ctx context.Context) error { return recipe.Remove(ctx, t.s, node) })
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// The method `await` waits until the contender holds the lock or its permits.
func (t *textbook) await(ctx context.Context, me string) error {
	for {
		listing, w, err := t.list(ctx)
		if err != nil {
			return err
		}
		next, served := t.before(me, listing.Names)
		switch {
		case !slices.Contains(listing.Names, me):
			err = session.ErrRevoked
		case served:
		case w == nil:
			// The znode of `next` has no children, so a watch on its children fires only when that
			// znode is deleted.
			if _, w, err = t.s.ChildrenWatch(ctx, znode.Join(t.path, next)); errors.Is(err, zk.ErrNoNode) {
				continue
			}
		}
		if err == nil && !served {
			_, err = w.Wait(ctx)
		}
		if w != nil {
			w.Stop()
		}
		if err != nil || served {
			return err
		}
	}
}

// The method `list` lists the contenders. For a semaphore it also sets a watch, because any
// contender that leaves frees permits.
func (t *textbook) list(ctx context.Context) (session.Listing, *session.Watch, error) {
	if t.places > 0 {
		return t.s.ChildrenWatch(ctx, t.path)
	}
	listing, err := t.s.Children(ctx, t.path)
	return listing, nil, err
}

// The method `before` reports whether the contender `me` holds the lock or its permits. If not, the
// result `next` is the last of the contenders for which `me` has to wait.
func (t *textbook) before(me string, all []string) (next string, served bool) {
	wants := wanted(me)
	taken := number(wants)
	for _, name := range all {
		earlier := t.compare(name, me) < 0
		if name == me || !earlier && !(t.does.later && wants == checker.ModeRead) {
			continue
		}
		if wants == checker.ModeRead && wanted(name) == checker.ModeRead {
			continue
		}
		taken += number(wanted(name))
		if next == "" || t.compare(name, next) > 0 {
			next = name
		}
	}
	return next, taken <= max(t.places, 1)
}

// The function `wanted` returns what the contender with the given name requested.
func wanted(name string) string {
	if part := strings.Split(name, "-"); len(part) == 3 {
		return part[1]
	}
	return ""
}

// The function `number` converts the result of `wanted` to a number of permits. A request for a
// lock counts as one permit.
func number(wants string) int {
	if n, err := strconv.Atoi(wants); err == nil {
		return n
	}
	return 1
}

func (t *textbook) compare(a, b string) int {
	if t.does.names {
		return cmp.Compare(a, b)
	}
	_, first, _ := znode.ParseSeq(a)
	_, second, _ := znode.ParseSeq(b)
	return cmp.Compare(first, second)
}
