package group

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Group is a set of members that changes over time.
type Group struct {
	session *session.Session
	path    string
	invalid error // set if the path is invalid
}

// New returns the group at path. It sends no request. If path is invalid, each
// call returns an error that wraps session.ErrInvalid.
func New(s *session.Session, path string) *Group {
	return &Group{session: s, path: path, invalid: session.CheckPath(path)}
}

// Members returns the current members, sorted by id. They are read from the session's server, which
// may be behind the other servers.
func (g *Group) Members(ctx context.Context) ([]Member, error) {
	f := &follower{group: g, known: make(known)}
	defer f.stop()
	members, err := f.refresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("group: members of %s: %w", g.path, err)
	}
	return sorted(members), nil
}

// Changes returns an iterator over the changes of the group. The iterator first yields the current
// members, and then each change. It ends when ctx or the session ends, or when a server refuses a
// request for good. The last pair that it yields has the cause as the error. A refusal that is
// session.Transient, for example by a server that is too busy, does not end the iterator.
func (g *Group) Changes(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		f := &follower{group: g, known: make(known), following: true}
		defer f.stop()
		var before map[string]Member
		for first := true; ; first = false {
			members, err := f.refresh(ctx)
			if err == nil {
				change, any := compare(before, members)
				if (first || any) && !yield(change, nil) {
					return
				}
				before, err = members, f.await(ctx)
			}
			if err != nil {
				yield(Change{}, fmt.Errorf("group: follow %s: %w", g.path, err))
				return
			}
		}
	}
}

// A follower remembers the znodes that it has read. The data of a znode never changes, because
// Update creates another znode. So a follower reads only new znodes.
type follower struct {
	group     *Group
	known     known
	following bool
	watch     *session.Watch
}

// refresh updates the known znodes and returns the members.
func (f *follower) refresh(ctx context.Context) (map[string]Member, error) {
	if f.group.invalid != nil {
		return nil, f.group.invalid
	}
	for {
		f.stop()
		names, err := f.list(ctx)
		if err != nil {
			return nil, err
		}
		complete, err := f.read(ctx, names)
		if err != nil {
			return nil, err
		}
		// If a listed znode is gone, its member may have replaced it by a znode that is not in the
		// list. Such a member is still in the group, so read the list again.
		if complete {
			return f.known.members(), nil
		}
	}
}

func (f *follower) list(ctx context.Context) (names []string, err error) {
	var listing session.Listing
	s, path := f.group.session, f.group.path
	if f.following {
		err = s.Retry(ctx, func(ctx context.Context) (err error) {
			listing, f.watch, err = recipe.WatchChildren(ctx, s, path)
			return err
		})
	} else if listing, err = s.Children(ctx, path); errors.Is(err, session.ErrNoNode) {
		err = nil
	}
	return listing.Names, err
}

// The method `read` reads the listed znodes that are not known yet, and forgets known znodes that
// are not listed. The result `complete` is false if a listed znode was deleted before it was read.
func (f *follower) read(ctx context.Context, names []string) (complete bool, err error) {
	listed := make(known, len(names))
	complete = true
	for _, name := range names {
		id, ok := parseName(name)
		if !ok {
			continue
		}
		m, read := f.known[name]
		if !read {
			value, err := f.get(ctx, znode.Join(f.group.path, name))
			if errors.Is(err, session.ErrNoNode) {
				complete = false
				continue
			}
			if err != nil {
				return false, err
			}
			m = Member{ID: id, Data: value.Data, Incarnation: Incarnation(value.Stat.Czxid)}
		}
		listed[name] = m
	}
	f.known = listed
	return complete, nil
}

func (f *follower) get(ctx context.Context, path string) (value session.Value, err error) {
	s := f.group.session
	if !f.following {
		return s.Get(ctx, path)
	}
	err = s.Retry(ctx, func(ctx context.Context) (err error) {
		value, err = s.Get(ctx, path)
		return err
	})
	return value, err
}

func (f *follower) await(ctx context.Context) error {
	_, err := f.watch.Wait(ctx)
	return err
}

func (f *follower) stop() {
	if f.watch != nil {
		f.watch.Stop()
	}
}
