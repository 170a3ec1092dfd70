package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Items that are not due yet are stored in slots: one directory for each second and priority. When
// a slot is due, consumers move its items to the end of the queue. The first of the waiting
// consumers does so at once. A busy consumer checks once a second for slots that are due.

// A slot is a directory of delayed items.
type slot struct {
	due   int64 // seconds since 1970, rounded up
	level int
}

func (s slot) name() string { return fmt.Sprintf("%011d-%d", s.due, s.level) }

func parseSlot(name string) (slot, bool) {
	due, level, _ := strings.Cut(name, "-")
	d, err1 := strconv.ParseInt(due, 10, 64)
	l, err2 := strconv.ParseInt(level, 10, 32)
	s := slot{d, int(l)}
	return s, err1 == nil && err2 == nil && s.name() == name
}

func (q *raw) delayedDir() string { return znode.Join(q.path, "delayed") }

// PutAt is like Put, but the items join the end of the queue later: not before the given time by
// the clock of the consumer that moves them. If the queue has consumers at that time, the items
// join within about two seconds. If the time has already passed, they join at once.
//
// Delayed items join regardless of the Limit, so they can make the queue larger than the Limit.
// PutAt fails with session.ErrInvalid if the time is after the year 5000.
func (q *Queue[T]) PutAt(ctx context.Context, at time.Time, items ...T) error {
	return q.put(ctx, func(ctx context.Context, job *putJob) error {
		if !at.After(time.Now()) {
			return q.raw.putWaiting(ctx, job)
		}
		if at.Year() > maxYear {
			return invalid.New("put at %v, after the year %d", at, maxYear)
		}
		return q.raw.putLater(ctx, slot{at.Add(time.Second - 1).Unix(), job.level}, lot{job.origin, job.items})
	}, 0, items)
}

// maxYear is the last year that PutAt accepts. The times of that year, in seconds since 1970, fit
// into the 11 digits of a slot's name.
const maxYear = 5000

// putLater puts items in a slot. The names of the znodes need a tag, because other clients may have
// deleted the slot and created it again: see the type run.
func (q *raw) putLater(ctx context.Context, s slot, l lot) error {
	dir := znode.Join(q.delayedDir(), s.name())
	var puts []session.Op
	tag := withOrigin(newTag(q.s), l.origin)
	for _, part := range pack(l.items) {
		puts = append(puts, session.CreateOp{
			Path: dir + "/" + run{last: len(part) - 1, tag: tag}.prefix(), Data: encodeItems(part), Mode: session.PersistentSequential,
		})
	}
	for {
		err := q.txn(ctx, puts...)
		if session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrNoNode) {
			return err
		}
		if err := recipe.Ensure(ctx, q.s, dir, nil, session.Persistent); err != nil {
			return refused("put", q.path, err)
		}
	}
}

// promoteInterval is the time between two checks of a busy consumer for items that are due.
const promoteInterval = time.Second

// promoteSometimes lists the slots and calls promote for those that are due. It does nothing if it
// listed the slots less than promoteInterval ago and the next known slot is not due. Only the
// goroutine that runs a batch of fetches may call it.
func (q *raw) promoteSometimes(ctx context.Context) error {
	now := time.Now()
	if now.Sub(q.promoted) < promoteInterval && (q.nextDue.IsZero() || now.Before(q.nextDue)) {
		return nil
	}
	slots, err := q.slots(ctx)
	if err != nil {
		return err
	}
	q.promoted, q.nextDue = now, time.Time{}
	for _, s := range slots {
		if due := time.Unix(s.due, 0); now.Before(due) {
			q.nextDue = due
			return nil
		}
		if err := q.promote(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// The method `slots` returns the slots, the earliest first.
func (q *raw) slots(ctx context.Context) ([]slot, error) {
	listing, err := q.s.Children(ctx, q.delayedDir())
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return nil, err
	}
	return sortedSlots(listing.Names), nil
}

func sortedSlots(names []string) []slot {
	slices.Sort(names)
	slots := make([]slot, 0, len(names))
	for _, name := range names {
		if s, ok := parseSlot(name); ok {
			slots = append(slots, s)
		}
	}
	return slots
}

// promote moves the items of a slot to the end of the queue. Several consumers may promote the same
// slot at the same time, but each znode is moved by only one of them.
func (q *raw) promote(ctx context.Context, s slot) error {
	dir := znode.Join(q.delayedDir(), s.name())
	listing, err := q.s.Children(ctx, dir)
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return err
	}
	runs := make([]run, 0, len(listing.Names))
	for _, name := range listing.Names {
		if r, ok := parseRun(name); ok {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, compareRuns)
	for _, r := range runs {
		path := dir + "/" + r.name()
		value, err := q.s.Get(ctx, path)
		if err == nil {
			var items [][]byte
			if items, err = decodeItems(value.Data, r.len()); err == nil {
				also := []session.Op{session.DeleteOp{Path: path, Version: session.AnyVersion}}
				err = q.put(ctx, &putJob{level: s.level % len(q.tails), items: items, origin: r.origin(), also: also})
			}
		}
		if err != nil && !errors.Is(err, session.ErrNoNode) && !errors.Is(err, errCorrupt) {
			return err
		}
	}
	// The deletion fails if an item was put in the slot meanwhile. In this case a later call
	// deletes the slot.
	_ = q.s.Delete(ctx, dir, session.AnyVersion)
	return nil
}
