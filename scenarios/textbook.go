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

// A textbook is the recipe for locks of ZooKeeper's documentation as it is
// written again and again, with one of the mistakes that are made with it.
// Without any it withstands every scenario: see TestTextbookInVirtualTime.
type textbook struct {
	s      *session.Session
	path   string
	places int // of a semaphore; 0 is a lock
	does   mistakes
}

// mistakes are what is wrong with a textbook.
type mistakes struct {
	names       bool // orders by names, not by the numbers in them
	later       bool // readers wait for writers that came after them too
	unprotected bool // creates anew when the reply is lost
	cancelled   bool // cleans up with the caller's context
	late        bool // deletes its node, and ends its context then
}

func openTextbook(opts session.Options, does mistakes) opener {
	return inSession(opts, func(s *session.Session, path string) locker {
		return &textbook{s: s, path: path, does: does}
	})
}

func (t *textbook) lost() error { return t.s.Err() }
func (t *textbook) close()      { t.s.Close() }

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

// enter makes the own node.
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

// leave deletes the own node.
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

// await waits until nobody is left that the own node has to wait for.
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
			// On children, so that it fires on deletion only.
			if _, w, err = t.s.ChildrenWatch(ctx, znode.Join(t.path, next)); errors.Is(err, zk.ErrNoNode) {
				continue
			}
		}
		if err == nil && !served {
			err = either(ctx, w)
		}
		if w != nil {
			w.Stop()
		}
		if err != nil || served {
			return err
		}
	}
}

// list lists the contenders, for a semaphore with a watch: whoever of them goes
// makes a place.
func (t *textbook) list(ctx context.Context) (session.Listing, *session.Watch, error) {
	if t.places > 0 {
		return t.s.ChildrenWatch(ctx, t.path)
	}
	listing, err := t.s.Children(ctx, t.path)
	return listing, nil, err
}

// before reports whether it is the turn of me, and else the nearest one that it
// has to wait for.
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

// wanted is what the contender of that name asked for.
func wanted(name string) string {
	if part := strings.Split(name, "-"); len(part) == 3 {
		return part[1]
	}
	return ""
}

// number is how many places that takes.
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
