package group

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A Group is a set of members that comes and goes.
type Group struct {
	session *session.Session
	path    string
	invalid error // of the path
}

// New returns the group at path. No request is made. An invalid path is an error of
// each call, session.ErrInvalid.
func New(s *session.Session, path string) *Group {
	return &Group{session: s, path: path, invalid: session.CheckPath(path)}
}

// Members lists those that are there, by id, as far as the server asked knows.
func (g *Group) Members(ctx context.Context) ([]Member, error) {
	f := &follower{group: g, known: make(known)}
	defer f.stop()
	members, err := f.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("group: members of %s: %w", g.path, err)
	}
	return sorted(members), nil
}

// Changes gives who is there, and then each change. It ends with ctx or with
// the session, and then gives the cause as the error.
func (g *Group) Changes(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		f := &follower{group: g, known: make(known), following: true}
		defer f.stop()
		var before map[string]Member
		for first := true; ; first = false {
			members, err := f.look(ctx)
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

// A follower knows the nodes that it has read. Their data never changes, so
// only new ones are read.
type follower struct {
	group     *Group
	known     known
	following bool
	watch     *session.Watch
}

// look brings what is known up to date.
func (f *follower) look(ctx context.Context) (map[string]Member, error) {
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
		// A node that went after it was listed may have been replaced by one
		// that was not: then its member is still there.
		if complete {
			return f.known.members(), nil
		}
	}
}

func (f *follower) list(ctx context.Context) (names []string, err error) {
	s, path := f.group.session, f.group.path
	for {
		var listing session.Listing
		if f.following {
			listing, f.watch, err = s.ChildrenWatch(ctx, path)
		} else {
			listing, err = s.Children(ctx, path)
		}
		if !errors.Is(err, session.ErrNoNode) {
			return listing.Names, err
		}
		if !f.following {
			return nil, nil
		}
		stat, w, err := s.ExistsWatch(ctx, path)
		if err != nil {
			return nil, err
		}
		if stat == nil {
			f.watch = w
			return nil, nil
		}
		w.Stop() // it tells nothing of children
	}
}

// read reads the nodes that are not known yet and forgets those that are gone.
// It is not complete if one of them went meanwhile.
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
			value, err := f.group.session.Get(ctx, znode.Join(f.group.path, name))
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

func (f *follower) await(ctx context.Context) error {
	select {
	case event := <-f.watch.C:
		return event.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *follower) stop() {
	if f.watch != nil {
		f.watch.Stop()
	}
}
