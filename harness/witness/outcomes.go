package witness

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// The type `outcomes` compares what clients reported about operations with what the servers
// committed.
type outcomes struct {
	*judging
	log  *Log
	next map[int32]*history.Event // by the index of an invocation, the next invocation of the same session and object
	free map[int32]bool           // invocations of operations that overlap no other operation of the same session and object

	// Numbers of operations whose clients did not learn the outcome: those that were applied, and
	// those that were not.
	applied, refused int
	examples         []string
}

// newOutcomes prepares the comparison. It returns the comparison and all operations. If the logs do
// not show the outcome of each operation, newOutcomes returns nil, and the property is not
// exercised.
func (l *Log) newOutcomes(j *judging) (*outcomes, []history.Operation) {
	ops, err := j.Operations()
	switch {
	case err != nil, j.timeless():
		return nil, nil
	case l.Gaps > 0:
		j.NotExercised("the logs have gaps, and a transaction may be there")
		return nil, nil
	}
	o := &outcomes{judging: j, log: l, next: make(map[int32]*history.Event), free: make(map[int32]bool)}
	type user struct {
		session int64
		object  string
	}
	last := make(map[user]history.Operation)
	until := make(map[user]int32) // the largest end of the operations of a user so far
	for _, op := range ops {
		u := user{op.Invoke.Session, op.Invoke.Object}
		before, any := last[u]
		free := !any || until[u] < op.Invoke.Index
		if any {
			o.next[before.Invoke.Index] = op.Invoke
			if before.Complete == nil || before.Complete.Index > op.Invoke.Index {
				o.free[before.Invoke.Index] = false
			}
		}
		o.free[op.Invoke.Index] = free
		last[u], until[u] = op, max(until[u], op.End())
	}
	return o, ops
}

// The method `slack` returns the largest accepted difference between the times of one event in the
// log and in the history.
func (o *outcomes) slack() time.Duration {
	if o.real {
		return resolution + handOver
	}
	return resolution
}

// The method `within` reports whether t is between the start and the end of an operation. An
// operation without a known end lasts until the end of the run.
func (o *outcomes) within(op history.Operation, t time.Time) bool {
	return o.at(t) >= op.Invoke.Time-o.slack() && o.notAfter(op, t)
}

func (o *outcomes) notAfter(op history.Operation, t time.Time) bool {
	return op.Complete == nil || op.Complete.Kind == history.Info || o.at(t) <= op.Complete.Time+o.slack()
}

// The method `did` reports whether a transaction at t can be the effect of an operation:
//   - If the operation succeeded, t must be between its start and its end.
//   - If its outcome is unknown, t must be after its start and before the session's next operation
//     on the object.
//   - If it failed, t must be after its start, before its end, and before the session's next
//     operation on the object.
//
// The times in the log and in the history can differ by o.slack(), so most limits allow this
// difference. But for a failed operation, the limit at its start does not allow it, and t must be
// before the next operation by at least o.slack(). Otherwise a transaction of the session's
// previous or next operation could count as the effect of the failed one, which would be a false
// violation.
func (o *outcomes) did(op history.Operation, t time.Time) bool {
	next := o.next[op.Invoke.Index]
	switch op.Outcome() {
	case session.OK:
		return o.within(op, t)
	case session.Failed:
		return o.at(t) >= op.Invoke.Time && o.notAfter(op, t) && (next == nil || o.at(t)+o.slack() <= next.Time)
	}
	return o.within(op, t) && (next == nil || o.at(t) < next.Time)
}

// The function `by` reports whether an operation and a transaction may be of the same session. It
// returns true if the session of the operation is not known.
func by(op history.Operation, session int64) bool {
	return op.Invoke.Session == 0 || op.Invoke.Session == session
}

// The method `judge` compares the outcome of an operation with the log. The argument `zxid` is the
// zxid of the transaction that applied the operation, or zero if there was none. The argument
// `what` describes the change that the transaction should have made.
func (o *outcomes) judge(op history.Operation, zxid int64, what string) {
	o.Checked(1)
	does := fmt.Sprintf("%s of %s at %s", op.Invoke.Op, cmp.Or(op.Invoke.Arg, "an item"), op.Invoke.Object)
	switch outcome := op.Outcome(); {
	case outcome == session.OK && zxid == 0:
		o.Violation(op.Events(), "%s reported success of %s, and no transaction of its session in that time %s", op.Invoke.Who(), does, what)
	case outcome == session.Failed && zxid != 0:
		o.Violation(op.Events(), "%s reported that %s had no effect, and transaction 0x%x %s", op.Invoke.Who(), does, zxid, what)
	case outcome == session.Indeterminate && zxid != 0:
		o.applied++
		o.example("%s of %s was applied by transaction 0x%x", does, op.Invoke.Who(), zxid)
	case outcome == session.Indeterminate:
		o.refused++
		o.example("%s of %s was not applied", does, op.Invoke.Who())
	}
}

// The method `example` keeps the first few examples.
func (o *outcomes) example(format string, args ...any) {
	if len(o.examples) < 3 {
		o.examples = append(o.examples, fmt.Sprintf(format, args...))
	}
}

// The method `tell` adds a note to the result: how many operations with an unknown outcome were
// applied.
func (o *outcomes) tell() {
	if n := o.applied + o.refused; n > 0 {
		o.Note("%d operations whose clients did not learn the outcome: %d were applied, %d were not (%s)", n, o.applied, o.refused, strings.Join(o.examples, "; "))
	}
}

// A logItem has the znodes in the log that contained one value of a queue, in order.
type logItem []*Life

// The function `words` cuts data into words. So a value is found even if other text surrounds it.
func words(data []byte) []string {
	var all []string
	for _, word := range bytes.FieldsFunc(data, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' && r != '.'
	}) {
		all = append(all, string(word))
	}
	return all
}

// The method `gone` returns the znodes whose deletion removed the value: right after the deletion,
// no znode had the value.
func (it logItem) gone() []*Life {
	var all []*Life
	for i, life := range it {
		last := life.Deleted != 0
		for k, other := range it {
			alive := other.Created <= life.Deleted && (other.Deleted == 0 || other.Deleted > life.Deleted)
			last = last && !alive && (k <= i || other.Deleted != life.Deleted)
		}
		if last {
			all = append(all, life)
		}
	}
	return all
}

// queueItems returns the znodes that contained the items of queues, by queue and value. It
// considers only values that an operation on the queue names, and only znodes below the queue.
func (l *Log) queueItems(ops []history.Operation) map[[2]string]logItem {
	found := make(map[[2]string]logItem)
	var queues []string
	for _, op := range ops {
		value := ""
		switch op.Invoke.Op {
		case checker.OpPut, checker.OpAck, checker.OpReturn, opReject:
			value = op.Invoke.Arg
		case checker.OpTake, checker.OpClaim:
			if op.Complete != nil {
				value = op.Complete.Result
			}
		default:
			continue
		}
		found[[2]string{op.Invoke.Object, value}] = nil
		if !slices.Contains(queues, op.Invoke.Object) {
			queues = append(queues, op.Invoke.Object)
		}
	}
	for _, t := range l.Txns {
		for _, life := range l.created[t.Zxid] {
			for _, queue := range queues {
				if !strings.HasPrefix(life.Path, queue+"/") {
					continue
				}
				for _, word := range words(life.data) {
					if lives, named := found[[2]string{queue, word}]; named && (len(lives) == 0 || lives[len(lives)-1] != life) {
						found[[2]string{queue, word}] = append(lives, life)
					}
				}
			}
		}
	}
	return found
}

// opReject is the operation that makes an item a dead letter.
const opReject = "reject"

// itemsInLog judges puts, takes, claims, acks, releases and rejects.
func (l *Log) itemsInLog(j *judging) {
	o, ops := l.newOutcomes(j)
	if o == nil {
		return
	}
	items := l.queueItems(ops)
	delivered := make(map[[2]string]bool)
	claims := make(map[int64]bool) // tokens
	type claimed struct {
		queue, value string
		token        int64
	}
	acks := make(map[claimed][]history.Operation) // the acks that may have taken effect
	for _, op := range ops {
		if op.Invoke.Op == checker.OpAck && op.Outcome() != session.Failed {
			key := claimed{op.Invoke.Object, op.Invoke.Arg, op.Invoke.Token}
			acks[key] = append(acks[key], op)
		}
		if op.Outcome() != session.OK {
			continue
		}
		switch op.Invoke.Op {
		case checker.OpTake:
			delivered[[2]string{op.Invoke.Object, op.Complete.Result}] = true
		case checker.OpAck:
			delivered[[2]string{op.Invoke.Object, op.Invoke.Arg}] = true
		case checker.OpClaim:
			claims[op.Complete.Token] = true
		}
	}
	type user struct {
		session int64
		queue   string
	}
	// For each session and queue: the items that the session removed and that no operation
	// delivered. Each of these items is represented by its last znode.
	silently := make(map[user][]*Life)
	for key, it := range items {
		if gone := it.gone(); len(gone) > 0 && !delivered[key] && gone[len(gone)-1] == it[len(it)-1] {
			u := user{gone[len(gone)-1].DeletedBy, key[0]}
			silently[u] = append(silently[u], gone[len(gone)-1])
		}
	}
	ours := make(map[string]bool) // queues whose claims have the layout of package queue
	for _, op := range ops {
		key := [2]string{op.Invoke.Object, op.Invoke.Arg}
		if _, known := ours[op.Invoke.Object]; !known {
			ours[op.Invoke.Object] = l.hasEphemeral(func(at string) bool { return strings.HasPrefix(at, op.Invoke.Object+"/items/") })
		}
		switch op.Invoke.Op {
		case checker.OpPut:
			o.put(op, items[key])
		case checker.OpTake:
			o.take(op, items, silently[user{op.Invoke.Session, op.Invoke.Object}])
		}
		if !ours[op.Invoke.Object] {
			continue
		}
		switch op.Invoke.Op {
		case checker.OpClaim:
			o.claim(op, items, claims)
		case checker.OpAck:
			rivals := acks[claimed{op.Invoke.Object, op.Invoke.Arg, op.Invoke.Token}]
			o.judge(op, o.acknowledged(op, items[key], rivals), "removed it with its claim")
		case checker.OpReturn:
			// A return that failed is not judged. Its claim may have ended all the same, because
			// the time of the claim was up.
			if op.Outcome() != session.Failed {
				o.judge(op, o.unclaimed(op, items[key], false), "ended the claim and left the item")
			}
		case opReject:
			o.judge(op, o.unclaimed(op, items[key], true), "ended the claim and moved the item")
		}
	}
	o.tell()
}

// hasEphemeral reports whether the log has an ephemeral znode with a path for which the function
// `fits` returns true.
func (l *Log) hasEphemeral(fits func(path string) bool) bool {
	for _, lives := range l.created {
		if slices.ContainsFunc(lives, func(life *Life) bool { return life.ephemeral && fits(life.Path) }) {
			return true
		}
	}
	return false
}

// The method `put` judges a put by the first znode that contained the value.
func (o *outcomes) put(op history.Operation, it logItem) {
	zxid := int64(0)
	if len(it) > 0 && by(op, it[0].Session) && (op.Outcome() != session.OK || o.within(op, it[0].CreatedAt)) {
		zxid = it[0].Created
	}
	o.judge(op, zxid, "created the item")
}

// The method `acknowledged` searches for the transaction of an ack. This transaction deleted the
// claim together with the claimed item, and so removed the value. The method returns the zxid of
// the transaction, or 0 if no transaction fits. If one session had several claims on an item, their
// tokens distinguish the claims. The argument `rivals` has the acks of the same claim that may have
// taken effect. If a rival explains a transaction better than op, the transaction does not count as
// the effect of op.
func (o *outcomes) acknowledged(op history.Operation, it logItem, rivals []history.Operation) int64 {
	for _, item := range it.gone() {
		if !by(op, item.DeletedBy) || op.Outcome() == session.OK && !o.within(op, item.DeletedAt) {
			continue
		}
		if slices.ContainsFunc(rivals, func(rival history.Operation) bool {
			return explainsRather(rival, op) && by(rival, item.DeletedBy) && o.within(rival, item.DeletedAt)
		}) {
			continue
		}
		for _, claim := range o.log.created[op.Invoke.Token] {
			if claim.Deleted == item.Deleted && path.Dir(claim.Path) == item.Path {
				return claim.Deleted
			}
		}
		if op.Invoke.Token == 0 && o.did(op, item.DeletedAt) {
			return item.Deleted
		}
	}
	return 0
}

// explainsRather compares two acks of the same claim, `rival` and `op`. One transaction may be the
// effect of either ack, but counts as the effect of only one. explainsRather reports whether this
// is `rival`. The transaction counts as the effect of an ack that succeeded. If no ack succeeded,
// it counts as the effect of the earliest ack with an unknown outcome. Otherwise it counts as the
// effect of an ack that failed.
func explainsRather(rival, op history.Operation) bool {
	switch op.Outcome() {
	case session.OK:
		return false
	case session.Failed:
		return rival.Outcome() != session.Failed
	}
	return rival.Outcome() == session.OK || rival.Invoke.Index < op.Invoke.Index
}

// The method `take` judges a take. If the take succeeded, its session must have removed the item.
// The removal may be earlier than the take, because a client may remove several items at once and
// deliver them one by one. A take that did not succeed may have removed an item all the same. It
// counts as applied if the session removed an item during the take, and no operation delivered this
// item.
func (o *outcomes) take(op history.Operation, items map[[2]string]logItem, silently []*Life) {
	zxid := int64(0)
	if op.Outcome() == session.OK {
		if op.Complete.Result == "" {
			return
		}
		for _, life := range items[[2]string{op.Invoke.Object, op.Complete.Result}].gone() {
			if by(op, life.DeletedBy) && o.notAfter(op, life.DeletedAt) {
				zxid = life.Deleted
			}
		}
		o.judge(op, zxid, "removed "+op.Complete.Result)
		return
	}
	if op.Invoke.Session == 0 || op.Outcome() == session.Failed && !o.free[op.Invoke.Index] {
		return
	}
	for _, life := range silently {
		if o.did(op, life.DeletedAt) {
			zxid = life.Deleted
		}
	}
	o.judge(op, zxid, "removed an item that no operation delivered")
}

// The method `claim` judges a claim by its token. The transaction with the token as its zxid must
// have created an ephemeral znode below a znode with the item's value.
func (o *outcomes) claim(op history.Operation, items map[[2]string]logItem, known map[int64]bool) {
	if op.Outcome() == session.OK {
		if op.Complete.Token == 0 || op.Complete.Result == "" {
			return
		}
		zxid := int64(0)
		for _, claim := range o.log.created[op.Complete.Token] {
			for _, item := range items[[2]string{op.Invoke.Object, op.Complete.Result}] {
				if claim.ephemeral && path.Dir(claim.Path) == item.Path && by(op, claim.Session) && item.Created <= claim.Created {
					zxid = claim.Created
				}
			}
		}
		o.judge(op, zxid, fmt.Sprintf("claimed %s with token 0x%x", op.Complete.Result, op.Complete.Token))
		return
	}
	if op.Invoke.Session == 0 || op.Outcome() == session.Failed { // a claim that failed may have been undone
		return
	}
	zxid := int64(0)
	for _, life := range o.log.owned[op.Invoke.Session] {
		if life.ephemeral && strings.HasPrefix(life.Path, op.Invoke.Object+"/items/") && !known[life.Created] && o.did(op, life.CreatedAt) {
			zxid = life.Created
		}
	}
	o.judge(op, zxid, "claimed an item")
}

// The method `unclaimed` returns the transaction by which an operation ended a claim on an item.
// The transaction must be of the operation's session, and its time must fit the operation: see the
// method `did`. After the transaction, a znode must still contain the item. If `moved` is set, this
// transaction must have created that znode. If no transaction fits, the result is 0.
func (o *outcomes) unclaimed(op history.Operation, it logItem, moved bool) int64 {
	for _, life := range o.log.owned[op.Invoke.Session] {
		if !life.ephemeral || life.Deleted == 0 || life.DeletedBy != life.Session || life.Closed || !o.did(op, life.DeletedAt) {
			continue
		}
		of := slices.ContainsFunc(it, func(item *Life) bool { return path.Dir(life.Path) == item.Path && item.Created <= life.Created })
		stays := slices.ContainsFunc(it, func(item *Life) bool {
			if moved {
				return item.Created == life.Deleted
			}
			return item.Created <= life.Deleted && (item.Deleted == 0 || item.Deleted > life.Deleted)
		})
		if of && stays {
			return life.Deleted
		}
	}
	return 0
}

// membersInLog judges joins, leaves and lists of members.
func (l *Log) membersInLog(j *judging) {
	o, ops := l.newOutcomes(j)
	if o == nil {
		return
	}
	ours := make(map[string]bool) // groups whose members have the layout of package group: they are sequential
	for _, op := range ops {
		if _, known := ours[op.Invoke.Object]; !known {
			ours[op.Invoke.Object] = l.hasEphemeral(func(at string) bool {
				dir, name := znode.Split(at)
				_, _, sequential := znode.ParseSeq(name)
				return dir == op.Invoke.Object && sequential
			})
		}
		if !ours[op.Invoke.Object] {
			continue
		}
		switch op.Invoke.Op {
		case checker.OpJoin:
			o.join(op)
		case checker.OpMembers:
			o.members(op)
		case checker.OpLeave:
			o.leave(op)
		}
	}
	o.tell()
	j.NotExercised("no group has members in the layout of package group")
}

// The method `named` returns the ephemerals of a session in a directory. If id is not empty, it
// returns only those with the id in their names.
func (o *outcomes) named(session int64, dir, id string) []*Life {
	var all []*Life
	for _, life := range o.log.owned[session] {
		if name := path.Base(life.Path); life.ephemeral && path.Dir(life.Path) == dir && (id == "" || strings.Contains(name, "-"+id+"-")) {
			all = append(all, life)
		}
	}
	return all
}

// The method `join` judges a join. A join that was not reported as OK may have been undone. If the
// znode of such a join was deleted before the session ended, the join counts as not applied.
func (o *outcomes) join(op history.Operation) {
	if op.Invoke.Session == 0 {
		return
	}
	zxid := int64(0)
	for _, life := range o.named(op.Invoke.Session, op.Invoke.Object, op.Invoke.Arg) {
		undone := op.Outcome() != session.OK && life.Deleted != 0 && !life.Closed
		if o.did(op, life.CreatedAt) && !undone {
			zxid = life.Created
		}
	}
	o.judge(op, zxid, "created a member")
}

// The method `leave` judges the end of a membership: all znodes that the member had before the call
// must be deleted when the call returns. A leave that reported a failure is not judged.
func (o *outcomes) leave(op history.Operation) {
	if op.Invoke.Session == 0 {
		return
	}
	members := slices.DeleteFunc(o.named(op.Invoke.Session, op.Invoke.Object, op.Invoke.Arg), func(life *Life) bool {
		return o.at(life.CreatedAt) >= op.Invoke.Time-o.slack() // maybe of a later membership
	})
	if len(members) == 0 {
		return
	}
	zxid := int64(0)
	for _, life := range members {
		if life.Deleted == 0 || !o.notAfter(op, life.DeletedAt) {
			zxid = 0
			break
		}
		zxid = max(zxid, life.Deleted)
	}
	if op.Outcome() != session.Failed {
		o.judge(op, zxid, "removed the last znode of the member")
	}
}

// The method `members` judges a list of members. An entry such as m1@10000000c has the id and the
// incarnation of a member. The incarnation must be the czxid of a znode of this member. If the call
// began with a read barrier, this znode must not have been deleted before the call.
func (o *outcomes) members(op history.Operation) {
	if op.Outcome() != session.OK {
		return
	}
	for _, member := range strings.Fields(op.Complete.Result) {
		id, mark, marked := strings.Cut(member, "@")
		zxid, err := strconv.ParseInt(mark, 16, 64)
		if !marked || err != nil {
			continue
		}
		o.Checked(1)
		i := slices.IndexFunc(o.log.created[zxid], func(life *Life) bool {
			return path.Dir(life.Path) == op.Invoke.Object && strings.Contains(path.Base(life.Path), "-"+id+"-")
		})
		if i < 0 {
			o.Violation(op.Events(), "%s listed %s at %s with incarnation 0x%x, and that transaction created no such member", op.Invoke.Who(), id, op.Invoke.Object, zxid)
			continue
		}
		life := o.log.created[zxid][i]
		if gone := life.Deleted != 0 && o.at(life.DeletedAt) < op.Invoke.Time-o.slack(); gone && op.Invoke.Arg == checker.Present {
			o.Violation(op.Events(), "%s listed %s at %s after a read barrier, and its znode had been deleted at %v (transaction 0x%x)",
				op.Invoke.Who(), id, op.Invoke.Object, o.at(life.DeletedAt), life.Deleted)
		}
	}
}

// An amount is a value of a counter from one transaction to the next.
type amount struct {
	zxid, session int64
	at            time.Time
	value         int64
	known         bool // the data are a number
	made          bool // the znode was created with the value 0
}

// countsInLog judges adds, sets, compare-and-sets and gets of counters.
func (l *Log) countsInLog(j *judging) {
	o, ops := l.newOutcomes(j)
	if o == nil {
		return
	}
	amounts := make(map[string][]amount)
	for _, op := range ops {
		if slices.Contains(checker.CounterModel.Ops, op.Invoke.Op) {
			amounts[op.Invoke.Object] = nil
		}
	}
	for _, t := range l.Txns {
		for _, c := range t.Changes {
			if all, counts := amounts[c.Path]; counts && (c.Op == wire.OpCreate || c.Op == wire.OpSetData) {
				value, known := number(c.Data)
				amounts[c.Path] = append(all, amount{t.Zxid, t.Session, time.UnixMilli(t.Time), value, known, c.Op == wire.OpCreate && value == 0})
			}
		}
	}
	for _, op := range ops {
		all, counts := amounts[op.Invoke.Object]
		switch {
		case !counts:
		case op.Invoke.Op == checker.OpGet:
			o.get(op, all)
		case slices.Contains(checker.CounterModel.Ops, op.Invoke.Op):
			o.count(op, all)
		}
	}
	o.tell()
}

// The function `number` decodes the data of a counter: decimal digits, or 8 bytes. Empty data mean
// 0.
func number(data []byte) (value int64, known bool) {
	if len(data) == 0 {
		return 0, true
	}
	if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		return n, true
	}
	if len(data) == 8 {
		return int64(binary.BigEndian.Uint64(data)), true
	}
	return 0, false
}

// The method `get` judges a read of a counter: the counter had the value at some time of the call.
func (o *outcomes) get(op history.Operation, all []amount) {
	if op.Outcome() != session.OK {
		return
	}
	result, err := strconv.ParseInt(op.Complete.Result, 10, 64)
	if err != nil {
		return
	}
	o.Checked(1)
	for i := -1; i < len(all); i++ {
		now := amount{known: true, at: time.UnixMilli(math.MinInt32)}
		if i >= 0 {
			now = all[i]
		}
		over := i+1 < len(all) && o.at(all[i+1].at) < op.Invoke.Time-o.slack()
		if (now.value == result || !now.known) && !over && (i < 0 || o.notAfter(op, now.at)) {
			return
		}
	}
	o.Violation(op.Events(), "%s read %d from %s, which had no such value at any time of the call", op.Invoke.Who(), result, op.Invoke.Object)
}

// The method `count` judges a change of a counter. It searches for a transaction that changed the
// counter during the operation. It does not compare values, because one transaction can have the
// sum of the adds of several threads.
func (o *outcomes) count(op history.Operation, all []amount) {
	if op.Invoke.Session == 0 || op.Invoke.Op == checker.OpCompareAndSet && op.Outcome() == session.OK && op.Complete.Result != checker.Swapped {
		return
	}
	if op.Invoke.Op == checker.OpAdd && op.Invoke.Arg == "0" || op.Outcome() != session.OK && !o.free[op.Invoke.Index] {
		return
	}
	zxid := int64(0)
	for _, a := range all {
		if a.session == op.Invoke.Session && !a.made && o.did(op, a.at) {
			zxid = a.zxid
			break
		}
	}
	o.judge(op, zxid, "changed the counter")
}
