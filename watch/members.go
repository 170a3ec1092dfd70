package watch

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// The type `members` has the children of a znode at one time.
type members struct {
	stat  *session.Stat // of the znode; nil if there is none
	names []string      // sorted
}

// A difference lists the children that were created and deleted between two
// reads of a znode. A name in both lists was deleted and created again.
type difference struct {
	added, removed []string // sorted
}

func (d difference) none() bool { return len(d.added) == 0 && len(d.removed) == 0 }

// The method `until` compares the names of two reads. The receiver is the earlier read, and the
// parameter `now` is the later one. The znode's stat counts how many times a child was created or
// deleted. The names do not show all of these changes: a child may have been created and deleted,
// or deleted and created again. The result `hidden` is the number of changes that the names do not
// show.
//
// If the later pzxid is smaller than the earlier one, the servers have lost the state that was
// reported before. Every child may then be a different one. So `until` returns all earlier children
// as removed, and all later children as added.
func (m members) until(now members) (d difference, hidden int) {
	if m.stat == nil || now.stat == nil || !sameNode(m.stat, now.stat) || now.stat.Pzxid < m.stat.Pzxid {
		return difference{added: now.names, removed: m.names}, 0
	}
	d = compare(m.names, now.names)
	times := now.stat.Cversion - m.stat.Cversion // correct even if the 32 bits overflow
	return d, int(times) - len(d.added) - len(d.removed)
}

// The function `compare` returns the difference of two sorted lists.
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

// The method `stayed` returns the names that are in both reads.
func (m members) stayed(now members) []string {
	var names []string
	for _, name := range now.names {
		if _, both := slices.BinarySearch(m.names, name); both {
			names = append(names, name)
		}
	}
	return names
}

// The method `recreated` reports whether a child that is in both reads was deleted and created
// again between the two reads. The lists of the reads contain no czxids. So the child's czxid, the
// parameter, was requested after both reads. It can be that of a znode that was created after them.
//
// The pzxid of a read is the zxid of the last creation or deletion of any child before that read.
// So there are three cases:
//
//   - The czxid is at most the pzxid of the first read. Then the child was created before the first
//     read, and is still the same. The result is false.
//   - The czxid is larger, but at most the pzxid of the second read. Then the child was created
//     between the reads: it was deleted and created again. The result is true.
//   - The czxid is larger than both. Then the child was created after the second read. The result
//     is false, because the next difference reports that the child was created again.
func (m members) recreated(now members, czxid int64) bool {
	return czxid > m.stat.Pzxid && czxid <= now.stat.Pzxid
}

// The function `merge` adds names to a sorted list and returns the sorted result.
func merge(list, names []string) []string {
	if len(names) == 0 {
		return list
	}
	list = append(slices.Clone(list), names...)
	slices.Sort(list)
	return list
}

// readMembers lists the children of a znode and sets a watch. If there is no such znode, the watch
// fires when the znode is created.
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
		// The znode was created meanwhile. Its data does not matter, so drop its data watch.
		w.Drop(path, false)
	}
}

// The function `differ` compares two reads of the children of path. The second read has just been
// made.
//
// A child that was deleted and created again has the same name, and a listing has no czxids. So if
// `until` finds hidden changes, `differ` requests the czxid of each child that is in both reads.
// This costs one request for each.
func differ(ctx context.Context, s *session.Session, path string, old, now members) (difference, error) {
	d, hidden := old.until(now)
	if hidden <= 0 {
		return d, nil
	}
	var mu sync.Mutex
	var again []string
	stayed := old.stayed(now)
	err := each(ctx, len(stayed), func(ctx context.Context, i int) error {
		var stat *session.Stat
		err := s.Retry(ctx, func(ctx context.Context) (err error) {
			stat, err = s.Exists(ctx, znode.Join(path, stayed[i]))
			return err
		})
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

// inFlight is the maximum number of requests that one refresh has in flight.
// More requests would only wait longer, because they share a connection.
const inFlight = 64

// The function `each` calls f for each i from 0 to n-1, and returns the first error. Up to inFlight
// calls run at the same time.
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
