package queue

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/session"
)

// put has a putJob carried out.
func (q *raw) put(ctx context.Context, job *putJob) error {
	return q.puts.Do(ctx, "put", q.path, &batch.Call[*putJob]{Job: job})
}

// look takes or claims up to n items, if there are any in the view of the
// server that the session is connected to. What is got for a caller that has
// gone is given back. Delayed items are looked for at the time due, if that is
// not zero.
func (q *raw) look(ctx context.Context, n int, claim bool, due time.Time) ([]item, error) {
	return q.fetched(ctx, &fetchJob{max: n, claim: claim, due: due})
}

// tryGet is look, but none means that there was none at a majority of the
// servers at one time during the call.
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

// get is look, but waits until there is an item.
func (q *raw) get(ctx context.Context, n int, claim bool) ([]item, error) {
	if n < 1 {
		return nil, invalid.New("up to %d items", n)
	}
	items, err := q.look(ctx, n, claim, time.Time{})
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
		items, err := q.look(ctx, n, claim, due)
		if err != nil || len(items) > 0 {
			stop(watches)
			return items, err
		}
		if now := time.Now(); !due.IsZero() && !due.After(now) { // others have it, or it is none of ours
			due = now.Add(promoteInterval)
		}
		if err := waitAny(ctx, due, watches...); err != nil {
			return nil, refused("take", q.path, err)
		}
	}
}

// refused is the error of a call that was given up while it had changed
// nothing.
func refused(op, path string, err error) error {
	return &session.RequestError{Op: op, Path: path, Outcome: session.Failed, Err: err}
}
