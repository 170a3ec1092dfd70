package watch

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// members are the children of a znode at one time.
type members struct {
	stat  *session.Stat // of the znode; nil if there is none
	names []string      // sorted
}

// A difference is what became of the children of a znode between two looks. A
// name in both was deleted and created anew.
type difference struct {
	added, removed []string // sorted
}

func (d difference) none() bool { return len(d.added) == 0 && len(d.removed) == 0 }

// until compares two looks by name. The znode's stat counts how often a child
// was created or deleted; hidden is how many of those the names do not show: a
// child created and deleted, or deleted and created anew. If the pzxid went back,
// the servers have lost what was told before, and no child need be what it was.
func (m members) until(now members) (d difference, hidden int) {
	if m.stat == nil || now.stat == nil || !sameNode(m.stat, now.stat) || now.stat.Pzxid < m.stat.Pzxid {
		return difference{added: now.names, removed: m.names}, 0
	}
	d = compare(m.names, now.names)
	times := now.stat.Cversion - m.stat.Cversion // right across the wrap of 32 bits
	return d, int(times) - len(d.added) - len(d.removed)
}

// compare merges two sorted lists.
func compare(old, now []string) (d difference) {
	for len(old) > 0 && len(now) > 0 {
		switch {
		case old[0] == now[0]:
			old, now = old[1:], now[1:]
		case old[0] < now[0]:
			d.removed = append(d.removed, old[0])
			old = old[1:]
		default:
			d.added = append(d.added, now[0])
			now = now[1:]
		}
	}
	d.removed = append(d.removed, old...)
	d.added = append(d.added, now...)
	return d
}

// stayed are the names that are in both of two looks.
func (m members) stayed(now members) []string {
	var names []string
	for _, name := range now.names {
		if _, both := slices.BinarySearch(m.names, name); both {
			names = append(names, name)
		}
	}
	return names
}

// recreated reports whether a child that is in both of two looks, and was
// created at czxid, was created between them. The pzxid is that of the last
// creation or deletion of a child that a look shows. One created after the
// second look belongs to the next difference, which will look hidden too.
func (m members) recreated(now members, czxid int64) bool {
	return czxid > m.stat.Pzxid && czxid <= now.stat.Pzxid
}

// merge adds names to a sorted list.
func merge(list, names []string) []string {
	if len(names) == 0 {
		return list
	}
	list = append(slices.Clone(list), names...)
	slices.Sort(list)
	return list
}

// readMembers lists the children of a znode and leaves a watch. Without such a
// znode the watch waits for it.
func readMembers(ctx context.Context, w *recipe.Watches, path string) (members, error) {
	for {
		listing, err := w.Children(ctx, path)
		if err == nil {
			slices.Sort(listing.Names)
			return members{listing.Stat, listing.Names}, nil
		}
		if !isNoNode(err) {
			return members{}, err
		}
		stat, err := w.Exists(ctx, path)
		if err != nil || stat == nil {
			return members{}, err
		}
		w.Drop(path, false) // it was created meanwhile, and its data does not matter
	}
}

// differ compares two looks at the children of path, the second just made.
//
// A child that was deleted and created anew has the same name, and a listing
// has no czxids. Only where the count says that something is hidden are those
// of the children that stayed asked for, which costs a request for each.
func differ(ctx context.Context, s *session.Session, path string, old, now members) (difference, error) {
	d, hidden := old.until(now)
	if hidden <= 0 {
		return d, nil
	}
	var mu sync.Mutex
	var again []string
	stayed := old.stayed(now)
	err := each(ctx, len(stayed), func(ctx context.Context, i int) error {
		stat, err := s.Exists(ctx, znode.Join(path, stayed[i]))
		if err != nil || stat == nil || !old.recreated(now, stat.Czxid) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		again = append(again, stayed[i])
		return nil
	})
	if err != nil {
		return difference{}, err
	}
	return difference{added: merge(d.added, again), removed: merge(d.removed, again)}, nil
}

// inFlight is how many requests one look has under way. They share a
// connection, so that more would only wait longer.
const inFlight = 64

// each calls f for 0 to n-1, some at a time, and returns the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var work sync.WaitGroup
	free := make(chan struct{}, inFlight)
	for i := range n {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			if err := f(ctx, i); err != nil {
				stop(err)
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}
