package queue

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/session"
)

func (q *raw) put(ctx context.Context, job *putJob) error {
	return q.puts.Do(ctx, "put", q.path, &batch.Call[*putJob]{Job: job})
}

// getFree takes or claims up to n free items. The result is empty if the session's server shows no
// free item. If ctx ends before getFree returns the items, they are given back. The parameter `due`
// is the time at which the next delayed items are due, or zero if that is not known.
func (q *raw) getFree(ctx context.Context, n int, claim bool, due time.Time) ([]item, error) {
	return q.fetched(ctx, &fetchJob{max: n, claim: claim, due: due})
}

// tryGet is like getFree, but a majority of the servers confirms an empty result: there was no free
// item at one moment during the call.
func (q *raw) tryGet(ctx context.Context, n int, claim bool) ([]item, error) {
	return q.fetched(ctx, &fetchJob{max: n, claim: claim, sure: true})
}

func (q *raw) fetched(ctx context.Context, job *fetchJob) ([]item, error) {
	err := q.fetchs.Do(ctx, "take", q.path, &batch.Call[*fetchJob]{Job: job, Undo: func(ctx context.Context) {
		if len(job.got) == 0 {
			return
		}
		if job.claim {
			q.abandon(job.got)
		} else {
			_ = q.giveBack(ctx, job.got)
		}
	}})
	if err != nil {
		return nil, err
	}
	return job.got, nil
}

// get is like getFree, but waits until there is a free item.
func (q *raw) get(ctx context.Context, n int, claim bool) ([]item, error) {
	if n < 1 {
		return nil, invalid.New("%d items, want at least 1", n)
	}
	items, err := q.getFree(ctx, n, claim, time.Time{})
	if err != nil || len(items) > 0 {
		return items, err
	}
	ctx, done := q.whileOpen(ctx)
	defer done()
	w, err := q.awaitFirst(ctx, "take")
	if err != nil {
		return nil, refused("take", q.path, err)
	}
	defer w.leave()
	for {
		watches, due, err := q.listen(ctx)
		if err != nil {
			return nil, refused("take", q.path, err)
		}
		items, err := q.getFree(ctx, n, claim, due)
		if err != nil || len(items) > 0 {
			stop(watches)
			return items, err
		}
		// A slot that is due may give no item: perhaps another consumer has moved the items, or the
		// znodes in the slot contain no items. So wait for the time promoteInterval before the next
		// attempt, unless a watch fires first.
		if now := time.Now(); !due.IsZero() && !due.After(now) {
			due = now.Add(promoteInterval)
		}
		if err := waitAny(ctx, due, watches...); err != nil {
			return nil, refused("take", q.path, err)
		}
	}
}

// The function `refused` returns the error of a call that ended without any change.
func refused(op, path string, err error) error {
	return &session.RequestError{Op: op, Path: path, Outcome: session.Failed, Err: err}
}
