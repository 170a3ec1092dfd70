package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A view is a consumer's knowledge of the head of one level. It lists a segment once, and not for
// every item.
//
// A view keeps the order by this invariant: each listed item that is still in the queue is in an
// entry of the view. When another consumer takes an item, it deletes the znode of that item's
// entry. A transaction on the entry then fails, and the view removes the entry. If the znode had
// several items, some of them may now be in a znode with another name. So the view lists the
// segment again. Items that were given back may be missing from the view. The next pass over the
// segments finds them.
//
// A relaxed view does not keep the order, but has fewer conflicts. After a conflict it continues at
// a random place in the segment. If another consumer took only some items of a znode, the relaxed
// view finds the others in its next pass. It begins this pass before it continues with the next
// segment, so it still serves every free item of a segment first.
//
// A view is not safe for concurrent use.
type view struct {
	s       *session.Session
	dir     string
	relaxed bool
	rand    *rand.Rand

	pass    []segment // segments that this pass has not listed yet
	passing bool
	born    int64   // czxid of dir when the pass began
	open    segment // the open segment when the pass began
	puts    int32   // number of puts in the open segment when it was listed
	worked  bool    // this or another consumer got an item of the current segment
	segment segment
	entries []*entry // of the current segment, in order
	start   int      // index in entries at which a relaxed view begins
	ahead   int      // number of items to read at once
}

// An entry is a znode with items that the view has listed.
type entry struct {
	run     run
	items   [][]byte // nil until the znode is read
	claimed bool     // the znode had a claim; not checked again in this pass
}

// The method `next` returns the first unclaimed entries of one segment. Together they have at least
// n items, or fewer if the segment has fewer. An empty result means that no segment has a free
// item.
func (v *view) next(ctx context.Context, n int) ([]*entry, error) {
	for {
		head, loaded := v.head(n)
		switch {
		case len(head) > 0 && loaded:
			v.worked = true
			return head, nil
		case len(head) > 0:
			if ahead, _ := v.head(v.readAhead()); len(ahead) > len(head) {
				head = ahead
			}
			if err := v.load(ctx, head); err != nil {
				return nil, err
			}
		default:
			if more, err := v.advance(ctx); err != nil || !more {
				return nil, err
			}
		}
	}
}

// readAhead returns how many items to read at once. The number grows with each call. So a consumer
// that takes one item reads one item, and a consumer that takes many items seldom waits for a read.
// Data that was read stays valid, because the items of a znode never change.
func (v *view) readAhead() int {
	const most = 32
	v.ahead = min(2*v.ahead+1, most)
	return v.ahead
}

// The method `head` returns the first free entries that together have at least n items. If there
// are fewer items, it returns all free entries. The result `loaded` is true if all of these entries
// were read. Entries before the index v.start come last.
func (v *view) head(n int) (head []*entry, loaded bool) {
	loaded = true
	for i := range v.entries {
		e := v.entries[(v.start+i)%len(v.entries)]
		if n <= 0 {
			break
		}
		if !e.claimed {
			head = append(head, e)
			loaded = loaded && e.items != nil
			n -= e.run.len()
		}
	}
	return head, loaded
}

// advance lists the next segments of the pass, up to the first segment that is not empty. A segment
// is not empty if it has a znode with items, free or claimed. advance returns false if the pass has
// no such segment left.
//
// If an item was found in the current segment, advance first begins a new pass at the first
// segment. The new pass also finds the items that were given back meanwhile.
func (v *view) advance(ctx context.Context) (bool, error) {
	if !v.passing || v.worked {
		if err := v.restart(ctx); err != nil {
			return false, err
		}
	}
	for len(v.pass) > 0 {
		v.segment, v.pass = v.pass[0], v.pass[1:]
		v.entries = nil
		if err := v.list(ctx); err != nil {
			return false, err
		}
		if len(v.entries) > 0 {
			return true, nil
		}
		if v.segment < v.open {
			// Delete this segment, because no item is put in it any more. An error does not matter.
			// The check protects a queue that was deleted and created again: its segment of this
			// number may be open for puts.
			_, _ = v.s.Multi(ctx,
				session.CheckOp{Path: v.dir, Version: int32(v.open)},
				session.DeleteOp{Path: segmentPath(v.dir, v.segment), Version: session.AnyVersion})
		}
	}
	v.passing = false
	return false, nil
}

// restart begins a pass. It creates the level and its open segment if they do not exist.
func (v *view) restart(ctx context.Context) error {
	for {
		listing, err := v.s.Children(ctx, v.dir)
		if errors.Is(err, session.ErrNoNode) {
			err = recipe.Ensure(ctx, v.s, v.dir, nil, session.Persistent)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		v.born, v.open = listing.Stat.Czxid, segment(listing.Stat.Version)
		v.pass = sortedSegments(listing.Names)
		if slices.Contains(v.pass, v.open) {
			v.entries, v.passing, v.worked = nil, true, false
			return nil
		}
		if err := createOpen(ctx, v.s, v.dir, v.open); err != nil {
			return err
		}
	}
}

// The method `unchanged` is for a pass that has found no free item in this level. It returns checks
// that fail if an item was put in the level after the pass. A put that opens the next segment
// changes the version of the level. Every other put changes the version of the open segment. An
// item that is given back changes neither version, so the checks may miss it: see Q4 and Q5.
func (v *view) unchanged() []session.Op {
	return []session.Op{
		session.CheckOp{Path: v.dir, Version: int32(v.open)},
		session.CheckOp{Path: segmentPath(v.dir, v.open), Version: v.puts},
	}
}

func sortedSegments(names []string) []segment {
	segments := make([]segment, 0, len(names))
	for _, name := range names {
		if s, ok := parseSegment(name); ok {
			segments = append(segments, s)
		}
	}
	slices.Sort(segments)
	return segments
}

// The method `list` lists the current segment. It keeps those entries of the view that are still in
// the list.
func (v *view) list(ctx context.Context) error {
	listing, err := v.s.Children(ctx, segmentPath(v.dir, v.segment))
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return err
	}
	known := make(map[run]*entry, len(v.entries))
	for _, e := range v.entries {
		known[e.run] = e
	}
	entries := make([]*entry, 0, len(listing.Names))
	for _, name := range listing.Names {
		r, ok := parseRun(name)
		if !ok {
			continue
		}
		if e := known[r]; e != nil {
			entries = append(entries, e)
			continue
		}
		entries = append(entries, &entry{run: r})
	}
	slices.SortFunc(entries, func(a, b *entry) int { return compareRuns(a.run, b.run) })
	v.entries, v.start = entries, 0
	if err == nil && v.segment == v.open {
		v.puts = listing.Stat.Version
	}
	return nil
}

// load reads the znodes of the entries that were not read yet, all at once.
func (v *view) load(ctx context.Context, entries []*entry) error {
	var work sync.WaitGroup
	errs := make([]error, len(entries))
	for i, e := range entries {
		if e.items == nil {
			work.Go(func() { errs[i] = v.read(ctx, e) })
		}
	}
	work.Wait()
	var gone []*entry
	for i, err := range errs {
		e := entries[i]
		switch {
		case errors.Is(err, session.ErrNoNode):
			gone = append(gone, e)
		case errors.Is(err, errCorrupt):
			e.claimed = true // the znode is not one of this package; do not touch it
		case err != nil:
			return err
		case len(e.items[0]) > runBytes:
			v.ahead = 0 // do not read several large items at once
		}
	}
	return v.lost(ctx, gone...)
}

func (v *view) read(ctx context.Context, e *entry) error {
	value, err := v.s.Get(ctx, runPath(v.dir, v.segment, e.run))
	if err != nil {
		return err
	}
	e.items, err = decodeItems(value.Data, e.run.len())
	e.claimed = value.Stat.NumChildren > 0
	return err
}

// claimsOf returns how many times the item of a znode was claimed. Each claim creates a child of
// the znode. Cversion is creations plus deletions of children, and NumChildren is creations minus
// deletions. So their sum is twice the number of claims.
func claimsOf(stat *session.Stat) int { return int(stat.Cversion+stat.NumChildren) / 2 }

// The method `lost` removes entries whose znodes are gone. If several znodes are gone, others are
// probably gone too, so the method lists the segment again. If one of the znodes had several items,
// some of its items may exist in a znode with another name. If v is relaxed, its next pass finds
// them. Otherwise the method lists the segment again to find them.
func (v *view) lost(ctx context.Context, gone ...*entry) error {
	shared := false
	for _, e := range gone {
		v.remove(e)
		shared = shared || e.run.len() > 1
	}
	if shared && v.relaxed {
		v.worked = true // another consumer took an item, so this is not the last pass
	}
	if len(gone) > 1 || shared && !v.relaxed {
		return v.list(ctx)
	}
	return nil
}

func (v *view) remove(e *entry) {
	if i := slices.Index(v.entries, e); i >= 0 {
		v.entries = slices.Delete(v.entries, i, i+1)
		if i < v.start {
			v.start--
		}
	}
}

func (v *view) replace(e, rest *entry) {
	if i := slices.Index(v.entries, e); i >= 0 {
		v.entries[i] = rest
	}
}

// The method `conflict` updates the view after a transaction has failed. If another consumer caused
// the failure, `again` is true, and the caller must read again. The parameter `conflicts` is the
// number of conflicts directly before this one. If this number is not zero, the view also lists the
// segment again. Without this list, a slow consumer would notice only one taken item for each
// failed transaction, although other consumers may have taken many items.
func (v *view) conflict(ctx context.Context, conflicts int, err error) (again bool, _ error) {
	again, err = v.blame(ctx, err)
	v.ahead = 0 // do not read ahead, because other consumers get those items
	if again && conflicts > 0 {
		err = v.list(ctx)
	}
	if v.relaxed && len(v.entries) > 0 {
		v.start = v.rand.IntN(len(v.entries))
	}
	return again, err
}

// blame updates the entry that made a transaction fail. It reports whether another consumer
// caused the failure.
func (v *view) blame(ctx context.Context, err error) (bool, error) {
	part := (*session.MultiError)(nil)
	if !errors.As(err, &part) {
		return false, err
	}
	e := v.entryOf(part.Path)
	switch {
	case e == nil:
		return false, err
	case errors.Is(part, session.ErrNoNode):
		return true, v.lost(ctx, e)
	case errors.Is(part, session.ErrNotEmpty), errors.Is(part, session.ErrNodeExists):
		e.claimed = true
		return true, nil
	}
	return false, err
}

// entryOf returns the view's entry for a path, or nil if there is none. The path is that of an
// item's znode or of the claim below it.
func (v *view) entryOf(path string) *entry {
	dir, name := znode.Split(path)
	if name == claimName {
		dir, name = znode.Split(dir)
	}
	r, ok := parseRun(name)
	if !ok || dir != segmentPath(v.dir, v.segment) {
		return nil
	}
	i := slices.IndexFunc(v.entries, func(e *entry) bool { return e.run == r })
	if i < 0 {
		return nil
	}
	return v.entries[i]
}
