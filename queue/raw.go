package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// raw is a queue of bytes: all of a Queue but the codec.
type raw struct {
	s    *session.Session
	path string

	open  context.Context // ends with ErrClosed, or is over with the reason if the queue is invalid
	close context.CancelCauseFunc

	puts   *batcher[*putJob]
	fetchs *batcher[*fetchJob]
	txns   *batcher[*txnJob]

	putLedger, takeLedger, txnLedger *recipe.Ledger // of the groups above

	claimed atomic.Int64 // claims that are not over

	limit int     // 0 is none
	room  int     // items that may be put before they are counted; used by puts only
	tails []*tail // by level; used by puts only

	// Used by fetchs only.
	takes    []*view   // by level
	claims   []*view   // likewise
	promoted time.Time // when delayed items were looked for
	nextDue  time.Time // when the next of them is due; zero if there was none
	rand     *rand.Rand
}

// A putJob is items to be put at one level, in one transaction with also.
type putJob struct {
	level  int
	items  [][]byte
	origin string // where in a trace they were put
	also   []session.Op
}

// A fetchJob is items to be taken or claimed: as many as there are up to max.
type fetchJob struct {
	max   int
	claim bool
	due   time.Time // when delayed items are known to be due; may be zero
	sure  bool      // none is an answer only if there was none at a majority of the servers
	got   []item

	alone func(ctx context.Context) error // if not nil, what to do instead of all that
}

// A txnJob is ops to be applied in one transaction. If build is not nil, it makes
// them, of what it reads while the mark is there: they are not applied to a queue
// that was made again since.
type txnJob struct {
	ops   []session.Op
	build func(ctx context.Context) ([]session.Op, error)
}

// An item is one that was taken or claimed.
type item struct {
	level    int
	segment  segment
	born     int64 // czxid of the level's directory
	run      run   // of this item alone
	data     []byte
	shared   bool   // it shared its node with others before
	attempts int    // claims of it so far, the present one included
	token    int64  // czxid of the claim
	version  int32  // of its node, which no other claim on it has
	ledger   string // with which it was claimed: it stays while the claim does
}

func newRaw(s *session.Session, path string, levels, limit int, relaxed bool) *raw {
	q := &raw{s: s, path: path, limit: limit}
	q.open, q.close = context.WithCancelCause(context.Background())
	q.rand = rand.New(rand.NewChaCha8([32]byte([]byte(recipe.NewID(s)))))
	q.putLedger = recipe.NewLedger(s, q.ledgersDir(), "put")
	q.takeLedger = recipe.NewLedger(s, q.ledgersDir(), "take")
	q.txnLedger = recipe.NewLedger(s, q.ledgersDir(), "txn")
	for level := range levels {
		q.tails = append(q.tails, &tail{s: s, dir: q.levelDir(level)})
		q.takes = append(q.takes, &view{s: s, dir: q.levelDir(level), relaxed: relaxed, rand: q.rand})
		q.claims = append(q.claims, &view{s: s, dir: q.levelDir(level), relaxed: true, rand: q.rand})
	}
	q.puts = &batcher[*putJob]{s: s, commit: q.commitPuts, tidy: q.putLedger.Remove}
	q.fetchs = &batcher[*fetchJob]{s: s, commit: q.commitFetches, tidy: q.tidyFetches}
	q.txns = &batcher[*txnJob]{s: s, commit: q.commitTxns, tidy: q.txnLedger.Remove}
	return q
}

func (q *raw) ledgersDir() string { return znode.Join(q.path, "marks") }
func (q *raw) itemsDir() string   { return znode.Join(q.path, "items") }
func (q *raw) waitersDir() string { return znode.Join(q.path, "waiters") }
func (q *raw) levelDir(level int) string {
	return znode.Join(q.itemsDir(), strconv.Itoa(level))
}

func (q *raw) itemPath(it item) string { return runPath(q.levelDir(it.level), it.segment, it.run) }

// claimName is the node below an item's by which it is claimed. The node of a
// claimed item cannot be deleted, and so cannot be taken.
const claimName = "c"

func (q *raw) claimPath(it item) string { return znode.Join(q.itemPath(it), claimName) }

// groupBytes bounds what the calls of several callers put in one transaction.
// One call may be larger, up to what the server accepts.
const groupBytes = 256 << 10

// commitPuts carries out the first of calls and those behind it on the same
// level, as far as they fit. One with ops of its own is carried out alone.
func (q *raw) commitPuts(ctx context.Context, calls []*call[*putJob]) {
	first := calls[0].job
	n, size := 0, 0
	for _, c := range calls {
		for _, item := range c.job.items {
			size += len(item)
		}
		if n > 0 && (c.job.level != first.level || size > groupBytes || first.also != nil || c.job.also != nil) {
			break
		}
		n++
	}
	err := q.putTogether(ctx, calls[:n])
	if n > 1 && errors.Is(err, ErrFull) { // one now, and the others come next
		n = 1
		err = q.putTogether(ctx, calls[:n])
	}
	for n > 1 && errors.Is(err, session.ErrTooLarge) {
		n /= 2
		err = q.putTogether(ctx, calls[:n])
	}
	for _, c := range calls[:n] {
		c.finish(err)
	}
}

// putTogether puts the items of calls, which are on one level.
func (q *raw) putTogether(ctx context.Context, calls []*call[*putJob]) error {
	level, also := calls[0].job.level, calls[0].job.also
	var lots []lot
	items := 0
	for _, c := range calls {
		if last := len(lots) - 1; last >= 0 && lots[last].origin == c.job.origin {
			lots[last].items = append(lots[last].items, c.job.items...)
		} else {
			lots = append(lots, lot{c.job.origin, slices.Clone(c.job.items)})
		}
		items += len(c.job.items)
	}
	if also == nil { // what only moves here is not held up
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

// fetchItems bounds what is fetched for several callers in one transaction.
const fetchItems = 512

// commitFetches carries out the first of calls and those of the same kind
// behind it. Who comes first is served first; those for whom nothing is left
// come again.
func (q *raw) commitFetches(ctx context.Context, calls []*call[*fetchJob]) {
	if f := calls[0].job.alone; f != nil {
		calls[0].finish(f(ctx))
		return
	}
	claim := calls[0].job.claim
	n, total, sure := 0, 0, false
	var due time.Time
	for _, c := range calls {
		if n > 0 && (c.job.alone != nil || c.job.claim != claim || total > fetchItems-c.job.max) {
			break
		}
		total += c.job.max
		sure = sure || c.job.sure
		due = earlier(due, c.job.due)
		n++
	}
	q.nextDue = earlier(q.nextDue, due)
	items, err := q.fetch(ctx, total, claim, sure)
	for i, c := range calls[:n] {
		if i > 0 && len(items) == 0 && len(calls[0].job.got) > 0 {
			return
		}
		k := min(len(items), c.job.max)
		c.job.got, items = items[:k:k], items[k:]
		c.finish(err)
	}
}

// fetch takes or claims up to n items of the first level that has any. That the
// levels before it have none is checked by the same transaction; that there are
// none at all by one of its own, if the caller wants to be sure.
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

// earlier returns the earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// errOvertaken says that all is to be looked at again, as something was put that
// comes first.
var errOvertaken = errors.New("queue: overtaken by a put")

// fetchFirst fetches from the first level that has any item free, and returns
// what proves that those before it have none.
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
			items, err = q.complete(ctx, p)
		}
		if errors.Is(err, recipe.ErrGone) {
			return nil, q.renew(ctx)
		}
		if err == nil {
			return items, nil
		}
		if errors.Is(err, session.ErrTooLarge) && len(p.items) > 1 {
			n = len(p.items) / 2 // what is claimed of a node is written again
			continue
		}
		if part := (*session.MultiError)(nil); errors.As(err, &part) && part.Index >= len(p.ops) {
			return nil, errOvertaken
		}
		if again, err := v.conflict(ctx, err); !again {
			return nil, err
		}
		q.pause(ctx, time.Since(began), conflicts)
	}
}

// renew makes the mark, and has all looked at again: what was read before may be
// of a queue that somebody deleted, marks and all, and that was made anew with
// other items under the same names. What is read from now on is not, while the
// ledger stands.
func (q *raw) renew(ctx context.Context) error {
	if err := q.takeLedger.Make(ctx); err != nil {
		return err
	}
	for _, v := range slices.Concat(q.takes, q.claims) {
		v.entries, v.passing = nil, false
	}
	return errOvertaken
}

// confirm returns nil if checks hold at a majority of the servers, and
// errOvertaken if all is to be looked at again. What was read has to be of the
// queue that is checked, whose versions may be those of one that was deleted: so
// the mark was there before.
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

// pause lets consumers that get in each other's way spread in time: for some
// round trips, the more conflicts the more. What all of them ask in vain slows
// down the one that succeeds.
func (q *raw) pause(ctx context.Context, roundTrip time.Duration, conflicts int) {
	most := min(roundTrip, 50*time.Millisecond) << min(conflicts, 4)
	timer := time.NewTimer(time.Duration(q.rand.Int64N(int64(most) + 1)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// commitTxns applies the transactions of calls in one. One that fails does not
// take others with it: it is left out, and the rest is applied without it.
func (q *raw) commitTxns(ctx context.Context, calls []*call[*txnJob]) {
	if build := calls[0].job.build; build != nil {
		calls[0].finish(q.applyBuilt(ctx, build))
		return
	}
	calls = slices.Clone(calls[:min(len(calls), fetchItems)])
	if i := slices.IndexFunc(calls, func(c *call[*txnJob]) bool { return c.job.build != nil }); i >= 0 {
		calls = calls[:i]
	}
	for len(calls) > 0 {
		var ops []session.Op
		for _, c := range calls {
			ops = append(ops, c.job.ops...)
		}
		_, err := q.txnLedger.Do(ctx, ops...)
		part := (*session.MultiError)(nil)
		switch {
		case errors.As(err, &part):
			i, index := owner(calls, part.Index)
			calls[i].finish(&session.RequestError{Op: "txn", Path: q.path, Outcome: session.Failed,
				Err: &session.MultiError{Index: index, Path: part.Path, Err: part.Err}})
			calls = slices.Delete(calls, i, i+1)
			continue
		case errors.Is(err, session.ErrTooLarge) && len(calls) > 1:
			calls = calls[:len(calls)/2] // the others come next
			continue
		}
		for _, c := range calls {
			c.finish(err)
		}
		return
	}
}

// owner finds the call that the op of an index belongs to, and the index in it.
func owner(calls []*call[*txnJob], index int) (i, rest int) {
	for i, c := range calls {
		if index < len(c.job.ops) {
			return i, index
		}
		index -= len(c.job.ops)
	}
	return len(calls) - 1, index
}

// txn applies ops once, and tells truly whether they were.
func (q *raw) txn(ctx context.Context, ops ...session.Op) error {
	return q.txns.do(ctx, "txn", q.path, &call[*txnJob]{job: &txnJob{ops: ops}})
}

// applyBuilt applies what build returns, once.
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

// carryOut carries out f, also when ctx ends: then the error is Indeterminate.
// It is Failed where the session ended before f began.
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

// ring is the op that wakes the first waiter, for items that come back where
// it does not look.
func (q *raw) ring() session.Op {
	return session.SetOp{Path: q.itemsDir(), Version: session.AnyVersion}
}

// end ends the calls that wait, waits for those under way and removes the
// handle's marks. What ends claims, and what gives items back, is carried out
// later too.
func (q *raw) end(ctx context.Context) error {
	q.close(ErrClosed)
	return errors.Join(q.puts.close(ctx, false), q.fetchs.close(ctx, false), q.txns.close(ctx, true))
}

// refuse makes all calls fail with reason. It comes before the first of them.
func (q *raw) refuse(reason error) {
	q.close(reason)
	q.puts.refused, q.fetchs.refused, q.txns.refused = reason, reason, reason
}

// closed returns the error of a call made after the queue was closed, for those
// that no group refuses.
func (q *raw) closed(op string) error {
	if err := context.Cause(q.open); err != nil {
		return refused(op, q.path, err)
	}
	return nil
}

// ended returns why a loop is over: ctx ended, or the queue was closed. It is nil if the loop goes on.
func (q *raw) ended(ctx context.Context, op string) error {
	if ctx.Err() != nil {
		return refused(op, q.path, context.Cause(ctx))
	}
	return q.closed(op)
}

// unclaimed notes that n claims are over.
func (q *raw) unclaimed(n int) {
	if q.claimed.Add(-int64(n)) == 0 {
		q.fetchs.again()
	}
}

// tidyFetches removes the mark that claims were made with, unless one is not
// over yet: should the session end, it is the mark whose end wakes the others.
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
