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

// A view is what a consumer knows of one level's head. It lists a segment
// once, not for every item, and keeps the order all the same, by this
// invariant: each item of the listed segment that has stayed in the queue is
// in an entry of the view, or was in one of which only a part is left. Others
// who take an item delete the node of that entry, so a transaction on it
// fails, and the view lists anew. (Items that were given back may be missing:
// they are seen in the next pass.)
//
// A relaxed view gives the order up for fewer conflicts: where others got in
// its way it goes on from a random place in the segment, and does not list
// anew. Every item of a segment is still served before the next segment.
//
// It is not safe for concurrent use.
type view struct {
	s       *session.Session
	dir     string
	relaxed bool
	rand    *rand.Rand

	pass    []segment // to be listed still in this pass over the segments
	passing bool
	born    int64   // czxid of dir when the pass began
	open    segment // the open segment then
	puts    int32   // in the open segment when it was listed
	worked  bool    // something of the current segment was handed out
	segment segment
	entries []*entry // of the current segment, in order
	start   int      // where in entries a relaxed view takes from
	ahead   int      // items to read at once where one is missing
}

// An entry is a node that the view has seen.
type entry struct {
	run     run
	items   [][]byte // nil before the node was read
	claimed bool     // seen so; not looked at again in this pass
}

// next returns the first entries that nobody has claimed, of one segment, with
// n items if the segment has as many. None means that no segment has any.
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

// readAhead is how many items to read at once: more each time, so that who takes
// one item after the other waits for reads seldom and who takes one reads one.
// What was read stays true, as the items of a node never change.
func (v *view) readAhead() int {
	const most = 32
	v.ahead = min(2*v.ahead+1, most)
	return v.ahead
}

// head returns the first free entries that make up n items, and whether all of
// them were read. Those before start come last.
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

// advance goes on to the next segment of the pass that has any node. A new
// pass begins when the last one is through, and after each segment in which
// there was work, so that what was given back meanwhile is not left behind.
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
			// Nothing is put in this one any more. Whether it could be deleted,
			// or another consumer was faster, does not matter; but the level must
			// not be one that was made anew, where it may be the open one.
			_, _ = v.s.Multi(ctx,
				session.CheckOp{Path: v.dir, Version: int32(v.open)},
				session.DeleteOp{Path: segmentPath(v.dir, v.segment), Version: session.AnyVersion})
		}
	}
	v.passing = false
	return false, nil
}

// restart begins a pass. It makes the level if there is none.
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

// unchanged returns the checks that hold while nothing was put in this level
// since a pass found nothing free in it. Segments before the open one only
// shrink, but for what is given back.
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

// list lists the current segment. What is known of its nodes is kept.
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

// load reads the nodes of entries that were not read yet, all at once.
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
			e.claimed = true // none of ours: leave it alone
		case err != nil:
			return err
		case len(e.items[0]) > runBytes:
			v.ahead = 0 // not several of those at once
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

// claimsOf is how often the node of an item was claimed: a claim is a child,
// and cversion is twice the number of children ever made less those there are.
func claimsOf(stat *session.Stat) int { return int(stat.Cversion+stat.NumChildren) / 2 }

// lost takes note that the nodes of entries are gone. Of those that held several
// items some may be left under another name.
func (v *view) lost(ctx context.Context, gone ...*entry) error {
	shared := false
	for _, e := range gone {
		v.remove(e)
		shared = shared || e.run.len() > 1
	}
	switch {
	case !shared:
		return nil
	case v.relaxed:
		v.worked = true // by somebody else: this is not the last pass
		return nil
	}
	return v.list(ctx)
}

func (v *view) remove(e *entry) {
	if i := slices.Index(v.entries, e); i >= 0 {
		v.entries = slices.Delete(v.entries, i, i+1)
		if i < v.start {
			v.start--
		}
	}
}

// replace puts what is left of e in its place.
func (v *view) replace(e, rest *entry) {
	if i := slices.Index(v.entries, e); i >= 0 {
		v.entries[i] = rest
	}
}

// conflict takes note of why a transaction failed, and reports whether others
// got in its way, so that it should look again.
func (v *view) conflict(ctx context.Context, err error) (bool, error) {
	part := (*session.MultiError)(nil)
	if !errors.As(err, &part) {
		return false, err
	}
	e := v.entryOf(part.Path)
	if v.relaxed && len(v.entries) > 0 {
		v.start = v.rand.IntN(len(v.entries))
	}
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

// entryOf finds the entry that the path of a run, or of its claim, speaks of.
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
