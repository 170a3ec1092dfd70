package queue

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A plan is a transaction that takes or claims the first items of a segment:
// all or none of them.
type plan struct {
	claim bool
	ops   []session.Op
	items []item

	served []*entry
	rest   *entry // what is left of the last of served; nil if nothing is
}

// plan makes the plan for the first n items of entries.
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

// opsFor takes or claims the first items of e, those of head. A claim is on one
// item, so each gets a node of its own unless it has one.
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

// done takes note in the view that the plan was carried out.
func (p *plan) done(v *view) {
	for i, e := range p.served {
		if i == len(p.served)-1 && p.rest != nil {
			v.replace(e, p.rest)
		} else {
			v.remove(e)
		}
	}
}

// complete adds to claimed items what is known only after the claim: its
// token, and how often the item was claimed, counted by the servers where its
// node was not made with this claim. Items whose claim somebody deleted meanwhile
// are left out.
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

// register counts the claims of an item, and sees to it that none but this one
// has its version of the item's node. It leaves attempts at zero if the claim is
// gone.
//
// All claims on an item have one name, and a transaction cannot check which of
// them it meets there. If somebody deletes a claim, another session can claim the
// item before the first one has noticed, and the end of the first must not be that
// of the second. So every claim but the first on the item's node sets that node
// before it is granted, and whatever ends a claim checks the version. A claim that
// is gone does not set it, which would end the one in its place.
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
			stat, err = q.s.Set(ctx, q.itemPath(*it), encodeItems([][]byte{it.data}), stat.Version)
			if errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrBadVersion) || session.ConnectionLost(err) {
				continue
			}
			if err != nil {
				return err
			}
		}
		it.attempts, it.version = attempts, stat.Version
		return nil
	}
}

// stands checks that the queue is the one in which an item was claimed: not one
// made anew, with another item and another claim under the same names.
func (it item) stands() session.Op {
	return session.CheckOp{Path: it.ledger, Version: session.AnyVersion}
}

// ackOps take a claimed item out of the queue.
func (q *raw) ackOps(it item) []session.Op {
	return []session.Op{
		it.stands(),
		session.DeleteOp{Path: q.claimPath(it), Version: session.AnyVersion},
		session.DeleteOp{Path: q.itemPath(it), Version: it.version},
	}
}

// releaseOps make a claimed item free, and wake a waiter.
func (q *raw) releaseOps(it item) []session.Op {
	return []session.Op{
		session.DeleteOp{Path: q.claimPath(it), Version: session.AnyVersion},
		session.CheckOp{Path: q.itemPath(it), Version: it.version},
		q.ring(),
	}
}

// abandon makes claimed items free that nobody gets. It does not wait for that.
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

// unclaim makes an item free if its claim is still there. It goes on until it
// knows, since the item would stay claimed for as long as the session lives.
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
			changed := errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrBadVersion) // or the mark was deleted
			if !changed || ctx.Err() != nil {
				return err
			}
		}
	})
}

// asFit calls f with all items, or with fewer at a time where that is too much
// for one transaction, or one of them makes it fail.
func asFit(items []item, f func([]item) error) error {
	err := f(items)
	part := (*session.MultiError)(nil)
	if n := len(items); n > 1 && (errors.Is(err, session.ErrTooLarge) || errors.As(err, &part)) {
		return errors.Join(asFit(items[:n/2], f), asFit(items[n/2:], f))
	}
	return err
}

// giveBack puts items that were taken, in one transaction, where they were,
// unless somebody has deleted the queue. They may be taken by others in the
// meantime's order: see Q4. To take them needed less room in a transaction, and
// one that failed would lose them.
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
		return nil // they may be there, and others may have taken them
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
			return nil, refused("give back", q.path, session.ErrNoNode) // somebody has deleted the queue
		}
		var drained []session.Op
		if remake {
			drained, err = q.remakeOps(ctx, items)
		}
		return slices.Concat(drained, creates, []session.Op{q.ring()}), err
	}
	for {
		err := q.txns.do(ctx, "txn", q.path, &call[*txnJob]{job: &txnJob{build: build}})
		// A segment was drained and deleted, or made again by others meanwhile.
		part := (*session.MultiError)(nil)
		if !errors.As(err, &part) || !errors.Is(part, session.ErrNoNode) && !errors.Is(part, session.ErrBadVersion) && !errors.Is(part, session.ErrNodeExists) {
			return err
		}
		remake = true
	}
}

// remakeOps make the segments of items again where they were drained. If somebody
// has deleted the queue, also where one made anew has no such segment yet, that
// fails: the items are gone with it.
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
