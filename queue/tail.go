package queue

import (
	"context"
	"errors"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A tail is the end of one level of a queue, where producers put items. The version of the level's
// directory is the number of its open segment. Every put checks that version, and a put that opens
// the next segment increases it. Therefore the order of puts is the order of segments and, within a
// segment, the order of the sequence numbers.
//
// Each put in the open segment increases the version of the segment's directory. So a consumer that
// found no item can check that no item was put afterwards: see view.unchanged.
//
// A tail is not safe for concurrent use.
type tail struct {
	s    *session.Session
	dir  string
	ring session.Op // wakes the first waiter

	known bool    // open and full are valid
	open  segment // the open segment when this tail last checked or put
	full  bool    // at least segmentNodes znodes are known to have been created in the open segment
	next  bool    // the next segment exists, although no producer has opened it
}

func segmentPath(dir string, s segment) string { return znode.Join(dir, s.name()) }

func runPath(dir string, s segment, r run) string { return segmentPath(dir, s) + "/" + r.name() }

// The method `append` puts the items of the lots at the end of the level, at most once. The
// parameter `also` has further ops for the same transaction. If one of these ops fails, the error
// is a *session.MultiError.
func (t *tail) append(ctx context.Context, m *recipe.Ledger, lots []lot, also ...session.Op) error {
	for {
		if err := t.refresh(ctx); err != nil {
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

// movedOn reports whether a put failed because the tail has moved to another segment.
func movedOn(err error) bool {
	return errors.Is(err, session.ErrBadVersion) || errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrNodeExists)
}

// The method `ops` returns the ops that put items in the open segment, or in the next segment if
// the open segment is full.
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
		if t.next { // the level gets no new child, so t.ring must wake the first waiter
			ops[1] = session.SetOp{Path: segmentPath(t.dir, at), Version: session.AnyVersion}
			ops = append(ops, t.ring)
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

// The method `put` updates the tail after a transaction has put items. Its argument has the results
// of the ops that t.ops has returned.
func (t *tail) put(results []session.OpResult) {
	if t.full {
		t.open++
		t.full, t.next = false, false
	}
	// After a lost reply the path is unknown. The result of the next put then shows whether the
	// segment is full.
	if _, seq, ok := znode.ParseSeq(results[len(results)-1].Path); ok {
		t.full = seq >= segmentNodes-1
	}
}

// refresh finds out which segment is open. It creates the level and the open segment if they do not
// exist. A server that lags may return an older segment. Then the put fails. But to answer the put,
// the server must have caught up, so the next refresh finds the open segment.
func (t *tail) refresh(ctx context.Context) error {
	for !t.known {
		stat, err := t.s.Exists(ctx, t.dir)
		if err != nil {
			return err
		}
		if stat == nil {
			if err := recipe.Ensure(ctx, t.s, t.dir, nil, session.Persistent); err != nil {
				return err
			}
			continue
		}
		t.open = segment(stat.Version)
		stat, err = t.s.Exists(ctx, segmentPath(t.dir, t.open))
		if err != nil {
			return err
		}
		if stat == nil { // the level is new, or another client has deleted the segment
			if err := createOpen(ctx, t.s, t.dir, t.open); err != nil {
				return err
			}
			continue
		}
		t.full, t.known = stat.Cversion >= 2*segmentNodes-stat.NumChildren, true
	}
	return nil
}

// createOpen creates the open segment of a level. It does nothing if another segment is open now.
// Without this check, a level that was deleted and created again could get a segment that it has
// not reached yet. createOpen does not report whether it created the segment, so the caller must
// check again which segment is open and whether it exists.
func createOpen(ctx context.Context, s *session.Session, dir string, open segment) error {
	_, err := s.Multi(ctx,
		session.CheckOp{Path: dir, Version: int32(open)},
		session.CreateOp{Path: segmentPath(dir, open)})
	if movedOn(err) || session.ConnectionLost(err) {
		return nil
	}
	return err
}
