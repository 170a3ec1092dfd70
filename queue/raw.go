package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// The type `raw` is a Queue without the codec: its items are bytes. The items of one priority form
// a level.
type raw struct {
	s    *session.Session
	path string

	open  context.Context // ends with ErrClosed on Close; has ended if the queue is invalid
	close context.CancelCauseFunc

	puts   *batch.Batcher[*putJob]
	fetchs *batch.Batcher[*fetchJob]
	txns   *batch.Batcher[*txnJob]

	putLedger, takeLedger, txnLedger *recipe.Ledger // used by puts, fetchs and txns, in this order

	claimed atomic.Int64 // number of claims that are not over

	limit int     // 0 means no limit
	room  int     // number of items that may be put before the next count; used by `puts` only
	tails []*tail // one for each level; used by `puts` only

	// Only the batcher `fetchs` uses the remaining fields.
	takes    []*view   // one for each level
	claims   []*view   // one for each level
	promoted time.Time // time of the last check for delayed items
	nextDue  time.Time // when the next delayed items are due; zero if there were none
	rand     *rand.Rand
}

// A putJob contains items to put at one level. The field `also` has further ops for the same
// transaction.
type putJob struct {
	level  int
	items  [][]byte
	origin string // where in a trace the items were put
	also   []session.Op
}

// A fetchJob is a request to take or claim items: as many as there are, up to max.
type fetchJob struct {
	max   int
	claim bool
	due   time.Time // when delayed items are due, if known; may be zero
	sure  bool      // a majority of the servers must confirm an empty result
	got   []item

	// If this function is not nil, the batcher calls the function and fetches nothing for this job.
	// If the function returns errOvertaken, the batcher carries out other jobs and then calls the
	// function again.
	alone func(ctx context.Context) error
}

// A txnJob contains ops to apply in one transaction. If `build` is not nil, the batcher calls this
// function to get the ops. Before that, it creates its ledger znode, unless it already has one. The
// transaction also sets the ledger znode, and fails if the ledger znode is gone. If another client
// deletes the queue after the ledger znode was created, the ledger znode is deleted too. So the
// transaction fails, even if a new queue exists by then.
type txnJob struct {
	ops   []session.Op
	build func(ctx context.Context) ([]session.Op, error)
}

// The type `item` describes an item of the queue that was taken or claimed.
type item struct {
	level    int
	segment  segment
	born     int64 // czxid of the level's directory
	run      run   // contains this item only
	data     []byte
	shared   bool   // before it was taken or claimed, it shared its znode with other items
	attempts int    // number of claims so far, including this one
	token    int64  // czxid of the claim
	version  int32  // version of the item's znode; it differs for each claim on the item
	ledger   string // path of the claimer's ledger znode, which exists while the claim does
}

func newRaw(s *session.Session, path string, levels, limit int, relaxed bool) *raw {
	q := &raw{s: s, path: path, limit: limit}
	q.open, q.close = context.WithCancelCause(context.Background())
	q.rand = rand.New(rand.NewChaCha8([32]byte([]byte(recipe.NewID(s)))))
	q.putLedger = recipe.NewLedger(s, q.ledgersDir(), "put")
	q.takeLedger = recipe.NewLedger(s, q.ledgersDir(), "take")
	q.txnLedger = recipe.NewLedger(s, q.ledgersDir(), "txn")
	for level := range levels {
		q.tails = append(q.tails, &tail{s: s, dir: q.levelDir(level), ring: q.ring()})
		q.takes = append(q.takes, &view{s: s, dir: q.levelDir(level), relaxed: relaxed, rand: q.rand})
		q.claims = append(q.claims, &view{s: s, dir: q.levelDir(level), relaxed: true, rand: q.rand})
	}
	q.puts = &batch.Batcher[*putJob]{Session: s, Commit: q.commitPuts, Tidy: q.putLedger.Remove}
	q.fetchs = &batch.Batcher[*fetchJob]{Session: s, Commit: q.commitFetches, Tidy: q.tidyFetches}
	q.txns = &batch.Batcher[*txnJob]{Session: s, Commit: q.commitTxns, Tidy: q.txnLedger.Remove}
	return q
}

func (q *raw) ledgersDir() string { return znode.Join(q.path, "marks") }
func (q *raw) itemsDir() string   { return znode.Join(q.path, "items") }
func (q *raw) waitersDir() string { return znode.Join(q.path, "waiters") }
func (q *raw) levelDir(level int) string {
	return znode.Join(q.itemsDir(), strconv.Itoa(level))
}

func (q *raw) itemPath(it item) string { return runPath(q.levelDir(it.level), it.segment, it.run) }

// claimName is the name of a claim's znode, which is a child of the item's znode. A znode with a
// child cannot be deleted, so a claimed item cannot be taken.
const claimName = "c"

func (q *raw) claimPath(it item) string { return znode.Join(q.itemPath(it), claimName) }

// groupBytes limits the total size in bytes of the items that several calls put in one transaction.
// The items of a single call may be larger, up to the limit of the servers.
const groupBytes = 256 << 10

// commitPuts carries out one or more calls in one transaction: the first call, and the calls
// directly after it that have the same level (priority), as far as they fit. A call with further
// ops (the field `also`) is carried out alone.
func (q *raw) commitPuts(ctx context.Context, calls []*batch.Call[*putJob]) {
	first := calls[0].Job
	n, size := 0, 0
	for _, c := range calls {
		for _, item := range c.Job.items {
			size += len(item)
		}
		if n > 0 && (c.Job.level != first.level || size > groupBytes || first.also != nil || c.Job.also != nil) {
			break
		}
		n++
	}
	err := q.putTogether(ctx, calls[:n])
	if n > 1 && errors.Is(err, ErrFull) { // try the first call alone; the others are in the next batch
		n = 1
		err = q.putTogether(ctx, calls[:n])
	}
	for n > 1 && errors.Is(err, session.ErrTooLarge) {
		n /= 2
		err = q.putTogether(ctx, calls[:n])
	}
	for _, c := range calls[:n] {
		c.Finish(err)
	}
}

// putTogether puts the items of all the calls in one transaction. The calls must have the same
// level.
func (q *raw) putTogether(ctx context.Context, calls []*batch.Call[*putJob]) error {
	level, also := calls[0].Job.level, calls[0].Job.also
	var lots []lot
	items := 0
	for _, c := range calls {
		if last := len(lots) - 1; last >= 0 && lots[last].origin == c.Job.origin {
			lots[last].items = append(lots[last].items, c.Job.items...)
		} else {
			lots = append(lots, lot{c.Job.origin, slices.Clone(c.Job.items)})
		}
		items += len(c.Job.items)
	}
	if also == nil { // a put with further ops only moves items, so the limit does not apply
		if err := q.admit(ctx, items); err != nil {
			return refused("put", q.path, err)
		}
	}
	err := q.tails[level].append(ctx, q.putLedger, lots, also...)
	if also == nil && session.OutcomeOf(err) == session.Failed {
		q.room += items
	}
	return err
}

// fetchItems limits the number of items that are fetched for several callers in one transaction. It
// also limits the number of calls whose ops commitTxns applies in one transaction.
const fetchItems = 512

// commitFetches carries out the first call together with the following calls of the same kind. It
// serves the calls in order. If there are items, but not enough for all calls, the calls that get
// none are part of the next batch.
func (q *raw) commitFetches(ctx context.Context, calls []*batch.Call[*fetchJob]) {
	if f := calls[0].Job.alone; f != nil {
		if err := f(ctx); !errors.Is(err, errOvertaken) {
			calls[0].Finish(err)
		} else if len(calls) > 1 { // the other calls go first, and f is tried again in the next batch
			q.commitFetches(ctx, calls[1:])
		}
		return
	}
	claim := calls[0].Job.claim
	n, total, sure := 0, 0, false
	var due time.Time
	for _, c := range calls {
		if n > 0 && (c.Job.alone != nil || c.Job.claim != claim || total > fetchItems-c.Job.max) {
			break
		}
		total += c.Job.max
		sure = sure || c.Job.sure
		due = earlier(due, c.Job.due)
		n++
	}
	q.nextDue = earlier(q.nextDue, due)
	items, err := q.fetch(ctx, total, claim, sure)
	for i, c := range calls[:n] {
		if i > 0 && len(items) == 0 && len(calls[0].Job.got) > 0 {
			return
		}
		k := min(len(items), c.Job.max)
		c.Job.got, items = items[:k:k], items[k:]
		c.Finish(err)
	}
}

// fetch takes or claims up to n items from the first level (priority) that has free items. The same
// transaction checks that no item was put in an earlier level meanwhile. If `sure` is true, a
// separate transaction confirms an empty result.
func (q *raw) fetch(ctx context.Context, n int, claim, sure bool) ([]item, error) {
	for {
		if err := q.promoteSometimes(ctx); err != nil {
			return nil, err
		}
		views := q.takes
		if claim {
			views = q.claims
		}
		items, before, err := q.fetchFirst(ctx, views, n, claim)
		if err == nil && len(items) == 0 && sure {
			err = q.confirm(ctx, before)
		}
		if !errors.Is(err, errOvertaken) {
			return items, err
		}
	}
}

// The function `earlier` returns the earlier of two times. A zero time counts as no time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// errOvertaken means that everything must be read again: another client has put an item that must
// be served first, or the ledger znode did not exist when the queue was read.
var errOvertaken = errors.New("queue: overtaken by a put")

// fetchFirst fetches from the first level (priority) that has a free item. It also returns checks
// that fail if an item was put in an earlier level meanwhile.
func (q *raw) fetchFirst(ctx context.Context, views []*view, n int, claim bool) (items []item, before []session.Op, err error) {
	for level, v := range views {
		items, err := q.fetchFrom(ctx, v, level, n, claim, before)
		if err != nil || len(items) > 0 {
			return items, before, err
		}
		before = append(before, v.unchanged()...)
	}
	return nil, before, nil
}

func (q *raw) fetchFrom(ctx context.Context, v *view, level, n int, claim bool, before []session.Op) ([]item, error) {
	for conflicts := 0; ; conflicts++ {
		entries, err := v.next(ctx, n)
		if err != nil || len(entries) == 0 {
			return nil, err
		}
		if !q.takeLedger.Made() {
			return nil, q.renew(ctx)
		}
		p := v.plan(level, entries, n, claim)
		began := time.Now()
		var items []item
		_, err = q.takeLedger.Try(ctx, append(p.ops, before...)...)
		if err == nil {
			p.done(v)
			if items, err = q.complete(ctx, p); !errors.Is(err, recipe.ErrGone) {
				return items, err
			}
		}
		if errors.Is(err, recipe.ErrGone) {
			return nil, q.renew(ctx)
		}
		if errors.Is(err, session.ErrTooLarge) && len(p.items) > 1 {
			n = len(p.items) / 2 // claimed items that share a znode are written again, which needs room
			continue
		}
		if part := (*session.MultiError)(nil); errors.As(err, &part) && part.Index >= len(p.ops) {
			return nil, errOvertaken
		}
		if again, err := v.conflict(ctx, conflicts, err); !again || err != nil {
			return nil, err
		}
		q.pause(ctx, time.Since(began), conflicts)
	}
}

// renew creates the ledger znode and makes the caller read everything again. Data that was read
// without a ledger znode may be from an old queue: another client may have deleted the queue, and
// created it again with other items under the same names. A deletion of the queue includes the
// ledger znode. So while the new ledger znode exists, all data that is read from now on belongs to
// one queue.
func (q *raw) renew(ctx context.Context) error {
	if err := q.takeLedger.Make(ctx); err != nil {
		return err
	}
	for _, v := range slices.Concat(q.takes, q.claims) {
		v.entries, v.passing = nil, false
	}
	return errOvertaken
}

// confirm returns nil if the checks hold at a majority of the servers. It returns errOvertaken if
// everything must be read again.
//
// The versions in the checks are not enough, because a queue that was deleted and created again may
// have the same versions. But a client that deletes the queue also deletes the ledger znode. So the
// data must have been read while the ledger znode existed, and the transaction proves that this
// znode still exists.
func (q *raw) confirm(ctx context.Context, checks []session.Op) error {
	if !q.takeLedger.Made() {
		return q.renew(ctx)
	}
	_, err := q.takeLedger.Try(ctx, checks...)
	switch {
	case errors.Is(err, recipe.ErrGone):
		return q.renew(ctx)
	case errors.As(err, new(*session.MultiError)):
		return errOvertaken
	}
	return err
}

// The method `pause` waits for a random time, so that colliding consumers do not retry at the same
// moment. At first it waits at most one round trip, and at most 50 ms. This limit doubles with each
// of the next four conflicts, so it is never above 0.8 s. Without pauses, the requests that fail in
// a collision slow down the request that succeeds.
func (q *raw) pause(ctx context.Context, roundTrip time.Duration, conflicts int) {
	most := min(roundTrip, 50*time.Millisecond) << min(conflicts, 4)
	times.Sleep(ctx, time.Duration(q.rand.Int64N(int64(most)+1)))
}

// commitTxns applies the ops of several calls in one transaction. If an op of one call fails,
// commitTxns applies only the ops of the other calls.
//
// A call may be refused because of an earlier call, for example if both create the same znode. If
// the earlier call is not applied in the end, the refused call is sent again.
func (q *raw) commitTxns(ctx context.Context, calls []*batch.Call[*txnJob]) {
	if build := calls[0].Job.build; build != nil {
		calls[0].Finish(q.applyBuilt(ctx, build))
		return
	}
	calls = calls[:min(len(calls), fetchItems)]
	if i := slices.IndexFunc(calls, func(c *batch.Call[*txnJob]) bool { return c.Job.build != nil }); i >= 0 {
		calls = calls[:i]
	}
	refusals := make(map[*batch.Call[*txnJob]]error)
	for {
		rest := slices.DeleteFunc(slices.Clone(calls), func(c *batch.Call[*txnJob]) bool { return refusals[c] != nil })
		err := q.applyTogether(ctx, rest)
		part := (*session.MultiError)(nil)
		switch {
		case errors.As(err, &part):
			i, index := owner(rest, part.Index)
			refusals[rest[i]] = &session.RequestError{Op: "txn", Path: q.path, Outcome: session.Failed,
				Err: &session.MultiError{Index: index, Path: part.Path, Err: part.Err}}
			for _, later := range calls[slices.Index(calls, rest[i])+1:] {
				delete(refusals, later)
			}
			continue
		case errors.Is(err, session.ErrTooLarge) && len(rest) > 1:
			calls = calls[:slices.Index(calls, rest[len(rest)/2])] // the others are in the next batch
			continue
		}
		for _, c := range calls {
			switch refusal := refusals[c]; {
			case refusal == nil:
				c.Finish(err)
			case session.OutcomeOf(err) != session.Failed:
				c.Finish(refusal)
			default: // an earlier call may have failed, so c is in the next batch
			}
		}
		return
	}
}

// applyTogether applies the ops of all the calls in one transaction.
func (q *raw) applyTogether(ctx context.Context, calls []*batch.Call[*txnJob]) error {
	if len(calls) == 0 {
		return nil
	}
	var ops []session.Op
	for _, c := range calls {
		ops = append(ops, c.Job.ops...)
	}
	_, err := q.txnLedger.Do(ctx, ops...)
	return err
}

// The function `owner` finds the op with the given index among the ops of all calls. It returns the
// index of the call that has the op, and the index of the op in that call.
func owner(calls []*batch.Call[*txnJob], index int) (i, rest int) {
	for i, c := range calls {
		if index < len(c.Job.ops) {
			return i, index
		}
		index -= len(c.Job.ops)
	}
	return len(calls) - 1, index
}

// txn applies ops at most once, and reports truthfully whether they were applied.
func (q *raw) txn(ctx context.Context, ops ...session.Op) error {
	return q.txns.Do(ctx, "txn", q.path, &batch.Call[*txnJob]{Job: &txnJob{ops: ops}})
}

// applyBuilt applies the ops that the function `build` returns, at most once. It calls `build`
// again if the ledger znode is gone and nothing was applied.
func (q *raw) applyBuilt(ctx context.Context, build func(context.Context) ([]session.Op, error)) error {
	for {
		if err := q.txnLedger.Make(ctx); err != nil {
			return refused("txn", q.path, err)
		}
		ops, err := build(ctx)
		if err == nil {
			_, err = q.txnLedger.Try(ctx, ops...)
		}
		if !errors.Is(err, recipe.ErrGone) {
			return err
		}
	}
}

// carryOut runs f. If ctx ends meanwhile, f continues, and the error is Indeterminate. If the
// session ended before f began, the error is Failed.
func (q *raw) carryOut(ctx context.Context, f func(context.Context) error) error {
	ran := false
	done := recipe.Detach(q.s, func(ctx context.Context) error {
		ran = true
		return f(ctx)
	})
	select {
	case err := <-done:
		if !ran {
			return refused("txn", q.path, err)
		}
		return err
	case <-ctx.Done():
		return &session.RequestError{Op: "txn", Path: q.path, Outcome: session.Indeterminate, Err: context.Cause(ctx)}
	}
}

// The method `ring` returns the op that wakes the first waiter. Transactions that fire no other
// watch of the waiter need this op: see listen.
func (q *raw) ring() session.Op {
	return session.SetOp{Path: q.itemsDir(), Version: session.AnyVersion}
}

// The method `end` ends the calls that wait for items or room, waits for the calls in progress, and
// removes the handle's ledger znodes. Calls that end claims or give items back are still carried
// out after that.
func (q *raw) end(ctx context.Context) error {
	q.close(ErrClosed)
	// A fetch in progress also puts delayed items that are due, through the batcher `puts`. So
	// `puts` must not refuse calls before the last fetch has ended. The method `closed` refuses the
	// calls of Put in any case.
	err, refusal := q.fetchs.Close(ctx, ErrClosed), ErrClosed
	if err != nil {
		refusal = nil
	}
	return errors.Join(err, q.puts.Close(ctx, refusal), q.txns.Close(ctx, nil))
}

// refuse makes all calls fail with the error `reason`. It must run before the first call.
func (q *raw) refuse(reason error) {
	q.close(reason)
	q.puts.Refuse(reason)
	q.fetchs.Refuse(reason)
	q.txns.Refuse(reason)
}

// The method `closed` returns an error if the queue was closed or is invalid. It is for calls that
// use no batcher, and for calls of Put, whose batcher may still accept them after Close.
func (q *raw) closed(op string) error {
	if err := context.Cause(q.open); err != nil {
		return refused(op, q.path, err)
	}
	return nil
}

// The method `ended` returns the reason why a loop is over: ctx ended, or the queue was closed. It
// returns nil if the loop continues.
func (q *raw) ended(ctx context.Context, op string) error {
	if ctx.Err() != nil {
		return refused(op, q.path, context.Cause(ctx))
	}
	return q.closed(op)
}

// The method `unclaimed` records that n claims are over.
func (q *raw) unclaimed(n int) {
	if q.claimed.Add(-int64(n)) == 0 {
		q.fetchs.Again()
	}
}

// tidyFetches removes the ledger znode of takes and claims if all claims are over. While a claim
// exists, the znode must stay: if the session ends, the deletion of the znode wakes consumers that
// wait for items.
func (q *raw) tidyFetches(ctx context.Context) error {
	if q.claimed.Load() > 0 {
		return nil
	}
	return q.takeLedger.Remove(ctx)
}

// whileOpen returns a context that ends with ctx, and when the queue is closed.
func (q *raw) whileOpen(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(q.open, func() { cancel(context.Cause(q.open)) })
	return ctx, func() { stop(); cancel(nil) }
}
