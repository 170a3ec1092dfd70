package leases

import (
	"sort"
	"time"

	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// The type `lease` applies the rule of decision 1 to the packets of one session, and computes the
// latest deadline that the rule allows. Unlike the session's own code, it keeps every packet of a
// connection. The names a, j, k, K, s and r are those of the decision.
type lease struct {
	timeout, tick time.Duration

	deadline, kept  time.Duration
	opened          time.Duration // s of the handshake
	activity, proof packets
	epoch           int64
	lastWrite       time.Duration

	carriedEpoch             int64 // of the previous connection
	carriedKept, carriedLast time.Duration

	since, proven time.Duration // r(k0) and kept' of a probation, which the decision defines
}

func newLease() lease {
	return lease{deadline: Never, kept: Never, since: Never, proven: Never}
}

func (l *lease) margin() time.Duration { return l.timeout / 20 }
func (l *lease) period() time.Duration {
	return l.tick/2 + max(l.timeout/40, 20*time.Millisecond)
}
func (l *lease) keptBy(a time.Duration) time.Duration {
	if a == Never {
		return Never
	}
	return a + l.timeout - l.margin()
}

// The type `packets` has packets of one connection in the order in which their replies were read.
type packets struct {
	read []time.Duration
	sent []time.Duration // for each packet, the latest send time of this packet and those before it
}

func (p *packets) add(sent, read time.Duration) {
	if n := len(p.sent); n > 0 {
		sent = max(sent, p.sent[n-1])
	}
	p.read, p.sent = append(p.read, read), append(p.sent, sent)
}

// The method `before` considers the packets whose replies were read at or before t. It returns the
// latest time at which one of them was sent, or Never if there is none.
func (p *packets) before(t time.Duration) time.Duration {
	i := sort.Search(len(p.read), func(i int) bool { return p.read[i] > t })
	if i == 0 {
		return Never
	}
	return p.sent[i-1]
}

// The method `open` begins a connection.
func (l *lease) open(e *Event) {
	if l.epoch != 0 {
		l.carriedEpoch, l.carriedKept, l.carriedLast = l.epoch, l.kept, l.lastWrite
	}
	l.kept = l.deadline
	switch {
	case e.Fresh:
		l.timeout = e.Timeout
		l.kept = l.keptBy(e.Sent)
		l.deadline = l.kept
	case e.Timeout != l.timeout:
		l.timeout = min(l.timeout, e.Timeout)
		l.deadline, l.kept, l.carriedEpoch = Never, Never, 0
	}
	l.tick, l.opened, l.epoch = e.Tick, e.Sent, 0
	l.since, l.proven = Never, Never
	l.activity, l.proof = packets{}, packets{}
}

// The method `latest` is for a packet that was sent at the time k and is evidence (a proof of the
// kind Leader or Majority). It returns the latest time to which the reply to this packet can raise
// l.kept, or l.proven during a probation. Decision 1 calls the result K(k).
func (l *lease) latest(k time.Duration) time.Duration {
	a := l.opened
	if j := l.proof.before(k); j != Never {
		a = max(a, l.activity.before(j-l.period()))
	}
	return l.keptBy(a)
}

// The method `answer` applies the rule to a reply that is a proof of kind p.
func (l *lease) answer(p leasetrace.Proof, sent, read time.Duration, epoch int64) {
	l.activity.add(sent, read)
	if p == leasetrace.Activity {
		return
	}
	if p == leasetrace.Majority {
		l.meet(read, epoch)
		l.lastWrite = sent
	}
	k := l.latest(sent)
	switch {
	case read < l.kept:
		l.kept = max(l.kept, k)
	case read < l.proven:
		l.proven = max(l.proven, k)
	}
	l.proof.add(sent, read)
	switch {
	case p != leasetrace.Majority:
	case read < l.kept:
		l.deadline, l.since, l.proven = l.kept, Never, Never
	case read >= l.proven:
		l.since, l.proven = read, k
	case sent >= l.since+l.timeout:
		l.kept, l.deadline, l.since, l.proven = l.proven, l.proven, Never, Never
	}
}

// The method `meet` applies the rule of decision 1 for a new connection, when its first quorum
// write is answered. The field l.kept is the time before which the leader does not expire the
// session. A new connection begins with a cautious value, because its leader may be another one.
// The answer shows which leader it is, and so gives a bound before which this leader does not
// expire the session:
//   - If the previous connection had the same leader, the bound is the value that l.kept had at the
//     end of the previous connection, because this leader still knows when it received the packets
//     of that connection.
//   - If the previous connection had another leader, the bound is l.keptBy(t). Here t is the time
//     at which the last quorum write of the previous connection was sent. The new leader began to
//     count the timeouts of all sessions only after that write was acknowledged.
//
// If the answer was read before the bound, l.kept rises to the bound. If l.kept is larger than the
// bound already, it does not change.
func (l *lease) meet(read time.Duration, epoch int64) {
	if l.carriedEpoch != 0 {
		by := l.carriedKept
		if epoch != l.carriedEpoch {
			by = l.keptBy(l.carriedLast)
		}
		if read < by {
			l.kept = max(l.kept, by)
		}
	}
	l.carriedEpoch, l.epoch = 0, epoch
}

// The function `proves` returns the strongest kind of proof that a reply to the operation can give.
func proves(op wire.Op, code, part wire.Code) leasetrace.Proof {
	switch {
	case code != 0, op == wire.OpAuth, op == wire.OpSASL:
		return 0
	case op == wire.OpSync:
		return leasetrace.Leader
	case op.IsCreate(), op == wire.OpDelete, op == wire.OpSetData, op == wire.OpSetACL:
		return leasetrace.Majority
	case op == wire.OpMulti:
		switch part {
		case 0, wire.NoNode, wire.NoAuth, wire.BadVersion, wire.NodeExists, wire.NotEmpty:
			return leasetrace.Majority
		}
	}
	return leasetrace.Activity
}
