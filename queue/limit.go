package queue

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// putWaiting puts the items of the job. While the queue is full, putWaiting waits. Waiting
// producers form a queue of waiters, like consumers. Only the first waiting producer watches the
// items.
func (q *raw) putWaiting(ctx context.Context, job *putJob) error {
	err := q.put(ctx, job)
	if !errors.Is(err, ErrFull) || len(job.items) > q.limit {
		return err
	}
	ctx, done := q.whileOpen(ctx)
	defer done()
	w, err := q.awaitFirst(ctx, "room")
	if err != nil {
		return refused("put", q.path, err)
	}
	defer w.leave()
	for {
		watches, err := q.listenForRoom(ctx)
		if err != nil {
			return refused("put", q.path, err)
		}
		if err := q.put(ctx, job); !errors.Is(err, ErrFull) {
			stop(watches)
			return err
		}
		if err := waitAny(ctx, time.Time{}, watches...); err != nil {
			return refused("put", q.path, err)
		}
	}
}

// admit reserves room for n items on behalf of commitPuts. It fails with ErrFull if there is no
// room. It counts the items and divides the free room by the number of producers: this handle gets
// one share. It counts again only when less than n is left of that share.
func (q *raw) admit(ctx context.Context, n int) error {
	if q.limit == 0 {
		return nil
	}
	if q.room < n {
		if err := recipe.ReadBarrier(ctx, q.s, q.path); err != nil {
			return err
		}
		held, err := q.count(ctx)
		if err != nil {
			return err
		}
		if held+n > q.limit {
			return ErrFull
		}
		producers, err := q.producers(ctx)
		if err != nil {
			return err
		}
		q.room = max(n, (q.limit-held)/producers)
	}
	q.room -= n
	return nil
}

// The method `producers` returns the number of handles that put items, including this one.
func (q *raw) producers(ctx context.Context) (int, error) {
	listing, err := q.s.Children(ctx, q.ledgersDir())
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return 0, err
	}
	n := 0
	for _, name := range listing.Names {
		if strings.Contains(name, "-put-") {
			n++
		}
	}
	if !q.putLedger.Made() {
		n++
	}
	return max(n, 1), nil
}

// listenForRoom watches every directory with items, because taking an item changes one of them. It
// watches a level before the segments in it, so it notices a segment that is created meanwhile.
func (q *raw) listenForRoom(ctx context.Context) (watches []*session.Watch, err error) {
	defer func() {
		if err != nil {
			stop(watches)
			watches = nil
		}
	}()
	for level := range q.tails {
		dir := q.levelDir(level)
		listing, err := q.listenChildren(ctx, &watches, dir)
		if err != nil {
			return watches, err
		}
		for _, s := range sortedSegments(listing.Names) {
			if _, err := q.listenChildren(ctx, &watches, segmentPath(dir, s)); err != nil {
				return watches, err
			}
		}
	}
	return watches, nil
}
