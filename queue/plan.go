package queue

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/internal/batch"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A plan is a transaction that takes or claims some free items of a segment: all of them or none.
type plan struct {
	claim bool
	ops   []session.Op
	items []item

	served []*entry
	rest   *entry // what the plan leaves of the last served entry; nil if nothing
}

// plan returns the plan for the first n items of entries.
func (v *view) plan(level int, entries []*entry, n int, claim bool) *plan {
	p := &plan{claim: claim}
	for _, e := range entries {
		if n <= 0 {
			break
		}
		head, rest := e.run.split(min(n, e.run.len()))
		n -= head.len()
		p.served = append(p.served, e)
		for i := range head.len() {
			p.items = append(p.items, item{
				level: level, segment: v.segment, born: v.born, run: head.item(i), data: e.items[i], shared: e.run.len() > 1,
			})
		}
		p.ops = append(p.ops, v.opsFor(e, head, claim)...)
		if rest.len() > 0 {
			p.rest = &entry{run: rest, items: e.items[head.len():]}
			p.ops = append(p.ops, session.CreateOp{
				Path: runPath(v.dir, v.segment, rest), Data: encodeItems(p.rest.items),
			})
		}
	}
	return p
}

// opsFor returns the ops that take or claim the items of head, which are the first items of e. A
// claim is on a single item. Therefore each claimed item gets a znode of its own unless it already
// has one.
func (v *view) opsFor(e *entry, head run, claim bool) []session.Op {
	path := runPath(v.dir, v.segment, e.run)
	if claim && e.run.len() == 1 {
		return []session.Op{session.CreateOp{Path: path + "/" + claimName, Mode: session.Ephemeral}}
	}
	ops := []session.Op{session.DeleteOp{Path: path, Version: session.AnyVersion}}
	if !claim {
		return ops
	}
	for i := range head.len() {
		path := runPath(v.dir, v.segment, head.item(i))
		ops = append(ops,
			session.CreateOp{Path: path, Data: encodeItems(e.items[i : i+1])},
			session.CreateOp{Path: path + "/" + claimName, Mode: session.Ephemeral})
	}
	return ops
}

// The method `done` updates the view after the plan was applied.
func (p *plan) done(v *view) {
	for i, e := range p.served {
		if i == len(p.served)-1 && p.rest != nil {
			v.replace(e, p.rest)
		} else {
			v.remove(e)
		}
	}
}

// complete returns the items of an applied plan. For claims, it also gets two values from the
// servers: the token, and how many times each item was claimed. It omits an item if another client
// has deleted the item's claim meanwhile.
func (q *raw) complete(ctx context.Context, p *plan) ([]item, error) {
	if !p.claim {
		return p.items, nil
	}
	q.claimed.Add(int64(len(p.items)))
	token, err := q.takeLedger.Zxid(ctx)
	if err != nil {
		q.abandon(p.items)
		return nil, err
	}
	var work sync.WaitGroup
	errs := make([]error, len(p.items))
	for i := range p.items {
		it := &p.items[i]
		it.token, it.ledger = token, q.takeLedger.Path()
		if it.shared {
			it.attempts = 1
			continue
		}
		work.Go(func() { errs[i] = q.register(ctx, it) })
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		q.abandon(p.items)
		return nil, err
	}
	items := slices.DeleteFunc(slices.Clone(p.items), func(it item) bool { return it.attempts == 0 })
	q.unclaimed(len(p.items) - len(items))
	return items, nil
}

// register completes a new claim, the claim on the item `it`. It reads how many times the item was
// claimed. It also ensures that the item's znode has a different version during each claim. If the
// new claim is gone, the item's field `attempts` stays zero.
//
// The version distinguishes claims, because all claims on an item have the same name. Suppose that
// a client deletes an earlier claim, and the new claim is made before the earlier claimer has
// noticed the deletion. When the earlier claimer ends its claim, it must not end the new claim. So
// each transaction that ends a claim checks the version.
//
// To change the version, register writes the data of the item's znode again before the new claim is
// granted. The first claim on a znode does not need this.
//
// Before register writes, a later claim may have replaced the new claim, and may have been granted.
// Then register must not write, because the Ack of the later claim would fail if the version
// changed. So register reads the version, and then checks that the new claim exists. It writes only
// if the version is still the same.
//
// Until register has changed the version, an earlier claimer can still end the new claim. So the
// transaction that writes the item's znode also writes the claim's znode, and fails if the claim's
// znode is gone. If a later claim has replaced the new claim, the transaction may succeed, but its
// result has the czxid of the later claim. This czxid differs from the token of `it`, so the field
// `attempts` stays zero.
func (q *raw) register(ctx context.Context, it *item) error {
	for {
		stat, err := q.s.Exists(ctx, q.itemPath(*it))
		if err != nil || stat == nil {
			return err
		}
		attempts := claimsOf(stat)
		if attempts > 1 {
			claim, err := q.s.Exists(ctx, q.claimPath(*it))
			if err != nil || claim == nil || claim.Czxid != it.token {
				return err
			}
			set, err := q.s.Multi(ctx,
				session.SetOp{Path: q.claimPath(*it), Version: session.AnyVersion},
				session.SetOp{Path: q.itemPath(*it), Data: encodeItems([][]byte{it.data}), Version: stat.Version})
			if errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrBadVersion) || session.ConnectionLost(err) {
				continue
			}
			if err != nil || set[0].Stat.Czxid != it.token {
				return err
			}
			stat = set[1].Stat
		}
		it.attempts, it.version = attempts, stat.Version
		return nil
	}
}

// The method `stands` returns an op that fails if the queue was deleted after the item was claimed.
// A queue that was created again may have another item and another claim under the same names.
func (it item) stands() session.Op {
	return session.CheckOp{Path: it.ledger, Version: session.AnyVersion}
}

// ackOps returns the ops that remove a claimed item from the queue.
func (q *raw) ackOps(it item) []session.Op {
	return []session.Op{
		it.stands(),
		session.DeleteOp{Path: q.claimPath(it), Version: session.AnyVersion},
		session.DeleteOp{Path: q.itemPath(it), Version: it.version},
	}
}

// releaseOps returns the ops that free a claimed item and wake a waiter.
func (q *raw) releaseOps(it item) []session.Op {
	return []session.Op{
		session.DeleteOp{Path: q.claimPath(it), Version: session.AnyVersion},
		session.CheckOp{Path: q.itemPath(it), Version: it.version},
		q.ring(),
	}
}

// abandon frees claimed items that no caller gets. It does not wait for the result.
func (q *raw) abandon(items []item) {
	items = slices.Clone(items)
	recipe.Detach(q.s, func(ctx context.Context) error {
		var work sync.WaitGroup
		for _, it := range items {
			work.Go(func() {
				defer q.unclaimed(1)
				_ = q.unclaim(ctx, it)
			})
		}
		work.Wait()
		return nil
	})
}

// unclaim frees an item if this session's claim on it still exists. It retries until the outcome is
// known, because otherwise the item would stay claimed while the session lives.
func (q *raw) unclaim(ctx context.Context, it item) error {
	return q.s.Retry(ctx, func(ctx context.Context) error {
		for {
			node, err := q.s.Exists(ctx, q.itemPath(it))
			if err != nil || node == nil {
				return err
			}
			claim, err := q.s.Exists(ctx, q.claimPath(it))
			if err != nil || claim == nil || claim.EphemeralOwner != q.s.ID() || it.token != 0 && claim.Czxid != it.token {
				return err
			}
			it.token, it.version = claim.Czxid, node.Version
			err = q.txn(ctx, q.releaseOps(it)...)
			// If the item, the claim or the ledger znode has changed, read again.
			changed := errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrBadVersion)
			if !changed || ctx.Err() != nil {
				return err
			}
		}
	})
}

// asFit calls f with all items. If the transaction is too large or one of its ops fails, asFit
// calls f with one half of the items and then with the other half.
func asFit(items []item, f func([]item) error) error {
	err := f(items)
	part := (*session.MultiError)(nil)
	if n := len(items); n > 1 && (errors.Is(err, session.ErrTooLarge) || errors.As(err, &part)) {
		return errors.Join(asFit(items[:n/2], f), asFit(items[n/2:], f))
	}
	return err
}

// giveBack puts taken items back in their places, unless a client has deleted the queue. It may
// need several transactions, because a transaction that puts items back is larger than the
// transaction that took them. Other consumers may have taken later items meanwhile: see Q4.
func (q *raw) giveBack(ctx context.Context, items []item) error {
	return asFit(items, func(part []item) error { return q.putBack(ctx, part) })
}

func (q *raw) putBack(ctx context.Context, items []item) (err error) {
	if len(items) == 0 {
		return nil
	}
	tag := newTag(q.s)
	_ = q.s.Retry(ctx, func(ctx context.Context) error {
		if err = q.tryPutBack(ctx, items, tag); session.OutcomeOf(err) == session.Failed {
			return err
		}
		return nil // do not retry: the items may be there, and others may have taken them
	})
	return err
}

func (q *raw) tryPutBack(ctx context.Context, items []item, tag string) error {
	var creates []session.Op
	for _, it := range items {
		it.run.tag = withOrigin(tag, it.run.origin())
		creates = append(creates, session.CreateOp{Path: q.itemPath(it), Data: encodeItems([][]byte{it.data})})
	}
	remake := false
	build := func(ctx context.Context) ([]session.Op, error) {
		level, err := q.s.Exists(ctx, q.levelDir(items[0].level))
		if err != nil {
			return nil, refused("give back", q.path, err)
		}
		if level == nil || level.Czxid != items[0].born {
			// Another client has deleted the queue.
			return nil, refused("give back", q.path, session.ErrNoNode)
		}
		var drained []session.Op
		if remake {
			drained, err = q.remakeOps(ctx, items)
		}
		return slices.Concat(drained, creates, []session.Op{q.ring()}), err
	}
	for {
		err := q.txns.Do(ctx, "txn", q.path, &batch.Call[*txnJob]{Job: &txnJob{build: build}})
		// Other clients may have deleted the item's segment after it was drained. While this call
		// recreates the segment, other clients may have recreated it too, or opened another
		// segment. In these cases try again.
		part := (*session.MultiError)(nil)
		if !errors.As(err, &part) || !errors.Is(part, session.ErrNoNode) && !errors.Is(part, session.ErrBadVersion) && !errors.Is(part, session.ErrNodeExists) {
			return err
		}
		remake = true
	}
}

// remakeOps finds out which segments of the items were drained and deleted, and returns ops that
// recreate these segments. It fails if a client has deleted the queue. It also fails if the queue
// was created again and has not opened the segment of one of the items yet. In both cases the items
// are gone with the old queue.
func (q *raw) remakeOps(ctx context.Context, items []item) ([]session.Op, error) {
	var ops []session.Op
	seen := map[string]bool{}
	for _, it := range items {
		level := q.levelDir(it.level)
		dir := segmentPath(level, it.segment)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		open, err := q.s.Exists(ctx, level)
		if err == nil && (open == nil || segment(open.Version) < it.segment) {
			err = refused("give back", dir, session.ErrNoNode)
		}
		var stat *session.Stat
		if err == nil {
			stat, err = q.s.Exists(ctx, dir)
		}
		if err != nil {
			return nil, refused("give back", dir, err)
		}
		if stat == nil {
			ops = append(ops, session.CheckOp{Path: level, Version: open.Version}, session.CreateOp{Path: dir})
		}
	}
	return ops, nil
}
