package queue

import (
	"context"
	"errors"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A tail is the end of one level of a queue, where items are put. The version
// of the level's directory is the number of its open segment. Every put checks
// it, and who opens the next segment sets it, so puts are in one order: that
// of their transactions, which is the order of segments and in them of names.
// The version of a segment's directory counts the puts in it, so that who found
// nothing can have it checked that this is still so: see view.unchanged.
//
// It is not safe for concurrent use.
type tail struct {
	s   *session.Session
	dir string

	known bool    // open and full are
	open  segment // the open segment, as far as known
	full  bool    // it has all the nodes that it should
	next  bool    // the next one is there, though nobody has opened it
}

func segmentPath(dir string, s segment) string { return znode.Join(dir, s.name()) }

func runPath(dir string, s segment, r run) string { return segmentPath(dir, s) + "/" + r.name() }

// append puts items at the end, once, in one transaction with also. An error
// in also is returned as a *session.MultiError.
func (t *tail) append(ctx context.Context, m *recipe.Ledger, lots []lot, also ...session.Op) error {
	for {
		if err := t.look(ctx); err != nil {
			return err
		}
		ops := append(also[:len(also):len(also)], t.ops(lots)...)
		results, err := m.Do(ctx, ops...)
		part := (*session.MultiError)(nil)
		switch {
		case err == nil:
			t.put(results[len(also):])
			return nil
		case !errors.As(err, &part) || part.Index < len(also) || !movedOn(part):
			return err
		}
		t.known, t.next = false, errors.Is(part, session.ErrNodeExists)
	}
}

// movedOn reports whether a put failed because the tail is elsewhere by now.
func movedOn(err error) bool {
	return errors.Is(err, session.ErrBadVersion) || errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrNodeExists)
}

// ops put items in the open segment, or in the next one if that is full.
func (t *tail) ops(lots []lot) []session.Op {
	at := t.open
	ops := []session.Op{
		session.CheckOp{Path: t.dir, Version: int32(t.open)},
		session.SetOp{Path: segmentPath(t.dir, at), Version: session.AnyVersion},
	}
	if t.full {
		at++
		ops = []session.Op{
			session.SetOp{Path: t.dir, Version: int32(t.open)},
			session.CreateOp{Path: segmentPath(t.dir, at)},
		}
		if t.next {
			ops[1] = session.SetOp{Path: segmentPath(t.dir, at), Version: session.AnyVersion}
		}
	}
	for _, lot := range lots {
		for _, part := range pack(lot.items) {
			r := run{last: len(part) - 1, tag: withOrigin("", lot.origin)}
			ops = append(ops, session.CreateOp{
				Path: segmentPath(t.dir, at) + "/" + r.prefix(),
				Data: encodeItems(part), Mode: session.PersistentSequential,
			})
		}
	}
	return ops
}

// put takes the results of ops.
func (t *tail) put(results []session.OpResult) {
	if t.full {
		t.open++
		t.full, t.next = false, false
	}
	// After a lost reply the path is not known; the next put tells.
	if _, seq, ok := znode.ParseSeq(results[len(results)-1].Path); ok {
		t.full = seq >= segmentNodes-1
	}
}

// look finds out which segment is open, and makes the level if there is none.
// It may be told of an old one: then the put fails, and behind that transaction
// the server is up to date.
func (t *tail) look(ctx context.Context) error {
	for !t.known {
		stat, err := t.s.Exists(ctx, t.dir)
		if err != nil {
			return err
		}
		if stat == nil {
			if err := create(ctx, t.s, t.dir); err != nil {
				return err
			}
			continue
		}
		t.open = segment(stat.Version)
		stat, err = t.s.Exists(ctx, segmentPath(t.dir, t.open))
		if err != nil {
			return err
		}
		if stat == nil { // a new level, or somebody deleted it
			if err := createOpen(ctx, t.s, t.dir, t.open); err != nil {
				return err
			}
			continue
		}
		t.full, t.known = stat.Cversion >= 2*segmentNodes-stat.NumChildren, true
	}
	return nil
}

// createOpen makes the open segment of a level, unless another one is open by now:
// it may be a level that was made anew, and come to that segment later. Whether it
// was made is to be looked at again.
func createOpen(ctx context.Context, s *session.Session, dir string, open segment) error {
	_, err := s.Multi(ctx,
		session.CheckOp{Path: dir, Version: int32(open)},
		session.CreateOp{Path: segmentPath(dir, open)})
	if movedOn(err) || session.ConnectionLost(err) {
		return nil
	}
	return err
}

// create makes a directory, with its parents, unless it exists.
func create(ctx context.Context, s *session.Session, path string) error {
	for {
		_, err := s.Create(ctx, path, nil, session.Persistent)
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists):
			return nil
		case errors.Is(err, session.ErrNoNode):
			if err := recipe.CreateParents(ctx, s, path); err != nil {
				return err
			}
		case !session.ConnectionLost(err):
			return err
		}
	}
}
