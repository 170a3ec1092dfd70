package session

import (
	"flag"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// This file searches for a broken lease, which is a lease that stands although the session has been
// closed. The search is exhaustive with the flag -search, and otherwise takes random walks.
//
// The model is written from the servers' sources, as cited in docs/decisions/0001-lease.md. Time is
// counted in units. In each unit, the steps of leader, follower, links and client happen in any
// order that the assumptions allow. The exhaustive search tries all orders. The client may send any
// packet at any time, so the result does not depend on how often a real session sends heartbeats.
// The lease is computed with the type `lease` of this package.
//
// The number of packets, connections, elections and pauses in a run is bounded. The exhaustive
// search has no bound for the time of a run. It compares only differences of times, and treats all
// differences that are too large to matter as equal.

var search = flag.Bool("search", false, "search for broken leases exhaustively instead of by random walks; this takes minutes and gigabytes")

const (
	searchUnit = 20 * time.Millisecond // the epsilon of the lease: how late a PING may be
	searchT    = 6                     // the session timeout in units
	never      = -1 << 15

	searchGrain = 10 * time.Microsecond // resolution of the client's clock
	inUnit      = int32(searchUnit / searchGrain)
)

// The type `bounds` limits how many packets, connections and faults one run may have.
type bounds struct {
	pings, syncs, writes int
	connections          int // beyond the first
	elections, pauses    int
	lostTouches          int // how often a follower forgets a touch (see settle); this violates A3
}

// A variant consists of the assumptions that the servers satisfy, and of the changes to the rule.
type variant struct {
	idle    bool // runs begin with a lease that has lapsed
	proving bool // runs begin with a probation, after a handshake and a write that took no time

	// The assumptions.
	tick    int           // of the servers, in units
	late    int           // how many units late a PING may be
	pace    int           // most units between removing an expired session and closing it
	drift   time.Duration // how much before T the session may expire, by the client's clock
	relayed bool          // a touch reaches the leader only after two PINGs, like behind an observer master
	forgets bool          // a new leader possibly does not have the session
	slow    bool          // answers take time between the follower and the client
	slowUp  bool          // packets take time between the client and the follower

	seed uint64 // of the random walks
	far  bool   // random walks do not find the broken lease

	// The rule.
	leaseTick int                                                       // the tick given to the lease, in units; 0 means `tick`
	trustIdle bool                                                      // Options.UnsafeTrustIdle
	times     func(sent, answered time.Time) (time.Time, time.Time)     // replaces the times of an activity
	syncs     bool                                                      // syncs move the deadline
	keepKept  bool                                                      // a new connection keeps what a sync proved on the previous connection
	changed   func(l *lease, kind packetKind, sent, answered time.Time) // called after each answer
	margin    bool                                                      // the lease ends a margin later
}

type packetKind uint8

const (
	searchPing packetKind = iota
	searchSync
	searchWrite
)

func (k packetKind) String() string { return [...]string{"ping", "sync", "write"}[k] }

// Messages on a link between a leader and a follower, in addition to packets.
const (
	msgPing    = 0xf0 + iota // PING, from the leader
	msgTouched               // the answer to a PING: the session was active
	msgRevalidate
	msgValid
	msgInvalid
)

type sentPacket struct {
	kind       packetKind
	sent       int32 // by the client's clock
	epoch      int8
	done, fail bool
}

// A queue has the messages in progress on a link, in order.
type queue struct {
	n uint8
	m [8]uint8
}

func (q *queue) push(m uint8) bool {
	if int(q.n) == len(q.m) {
		return false
	}
	q.m[q.n] = m
	q.n++
	return true
}

func (q *queue) pop() uint8 {
	m := q.m[0]
	copy(q.m[:], q.m[1:q.n])
	q.n--
	q.m[q.n] = 0
	return m
}

type searchLeader struct {
	expiry  int16
	taken   int16 // when the expirer removed the session from the table, or the constant `never`
	due     int16 // when the next PING to the client's follower is due
	closing bool
	paused  bool
}

// A place is one state of the search.
type place struct {
	now     int16
	sub     int32 // the client's clock within the unit
	sends   bool  // something was sent at sub
	leaders [2]searchLeader
	current int8  // the leader of a majority
	closed  int16 // when that leader closed the session; `never` if it did not

	// The follower that the client is connected to.
	at       int8 // its leader, or -1 if the client has no connection
	touched  bool
	relayed  bool // touched, and one PING was answered since
	held     bool // no more messages of the follower reach its leader until the client reconnects
	out, in  queue
	first    uint8 // the first packet of this connection
	next     uint8 // the next packet to be answered
	sent     uint8 // number of packets sent so far
	arrived  uint8 // number of packets that the follower has received
	shaking  bool  // the handshake is not answered
	shaken   uint8 // the handshake's answer, if it has reached the follower but not the client
	opened   int32
	packets  [9]sentPacket
	lease    leaseRecord
	left     [7]int8 // how many times each thing may still happen: see bounds
	overflow bool
}

// A leaseRecord has those fields of a lease that change in a run. A time is stored as the client's
// clock showed it, in units of searchGrain.
type leaseRecord struct {
	deadline, kept, opened, lastReached, lastWrite   int32
	carriedKept, carriedWrite, provingFrom, provenTo int32
	epoch, carriedEpoch                              int8
	connected                                        bool
	n                                                uint8
	marks                                            [10]markRecord
}

type markRecord struct{ slot, a, aAnswered, e, eAnswered int32 }

var searchStart = time.Unix(1000, 0)

// instant converts a reading of the client's clock to a time.
func instant(grains int32) time.Time {
	if grains == never {
		return time.Time{}
	}
	return searchStart.Add(time.Duration(grains) * searchGrain)
}

func grains(t time.Time) int32 {
	if t.IsZero() {
		return never
	}
	return int32(t.Sub(searchStart) / searchGrain)
}

func units(u int16) time.Time { return searchStart.Add(time.Duration(u) * searchUnit) }

func (r *leaseRecord) load(l *lease) {
	l.deadline, l.kept, l.opened = instant(r.deadline), instant(r.kept), instant(r.opened)
	l.lastReached, l.lastWrite = instant(r.lastReached), instant(r.lastWrite)
	l.carried = carried{int64(r.carriedEpoch), instant(r.carriedKept), instant(r.carriedWrite)}
	l.probation = probation{instant(r.provingFrom), instant(r.provenTo)}
	l.epoch, l.connected = int64(r.epoch), r.connected
	l.marks = l.marks[:0]
	for _, m := range r.marks[:r.n] {
		l.marks = append(l.marks, mark{int64(m.slot), span{instant(m.a), instant(m.aAnswered)}, span{instant(m.e), instant(m.eAnswered)}})
	}
}

func (r *leaseRecord) store(l *lease) {
	*r = leaseRecord{
		deadline: grains(l.deadline), kept: grains(l.kept), opened: grains(l.opened),
		lastReached: grains(l.lastReached), lastWrite: grains(l.lastWrite),
		carriedKept: grains(l.carried.kept), carriedWrite: grains(l.carried.lastWrite),
		provingFrom: grains(l.probation.since), provenTo: grains(l.probation.kept),
		epoch: int8(l.epoch), carriedEpoch: int8(l.carried.epoch), connected: l.connected, n: uint8(len(l.marks)),
	}
	for i, m := range l.marks {
		r.marks[i] = markRecord{int32(m.slot), grains(m.activity.sent), grains(m.activity.answered), grains(m.evidence.sent), grains(m.evidence.answered)}
	}
}

// A step is one thing that happens, for example that the client sends a packet.
type step struct {
	what stepKind
	arg  int8
}

type stepKind uint8

const (
	stepTime stepKind = iota
	stepSend
	stepArrive
	stepOut
	stepIn
	stepAnswer
	stepPing
	stepTake
	stepMark
	stepPause
	stepResume
	stepElect
	stepDrop
	stepConnect
	stepLoseTouch
	stepForget
)

// These are indexes into place.left, which counts how many more pings, syncs and so on may happen
// in the run: see the type `bounds`.
const (
	leftPings = iota
	leftSyncs
	leftWrites
	leftConnections
	leftElections
	leftPauses
	leftTouches
)

// A searcher searches the states that one variant can reach.
type searcher struct {
	variant
	lease lease
	steps []step

	seen    fingerprints
	seed    maphash.Seed
	buf     []byte
	parents []uint32
	how     []step
	walked  int // steps of random walks
	closed  int // states in which the session is closed
	stood   int // writes after which the lease stood
}

func newSearcher(v variant) *searcher {
	if v.leaseTick == 0 {
		v.leaseTick = v.tick
	}
	return &searcher{variant: v, seed: maphash.MakeSeed()}
}

// begin returns the states in which a run can begin, for each phase of the leader's ping loop. In
// most variants, the session was just created.
//
// If s.idle is set, the lease has lapsed after a long idle time. The leader expires the session at
// any time from now to one timeout from now, and `begin` returns a state for each of these times.
// If s.proving is set, a probation has just begun. Then `begin` returns each state twice. In one of
// the two, the expirer has just removed the session from the leader's table.
func (s *searcher) begin(b bounds) []place {
	l := &s.lease
	*l = lease{}
	l.restart(units(0), searchT*searchUnit, time.Duration(s.leaseTick)*searchUnit, true)
	expiries := []int16{searchT}
	if s.idle {
		l.restart(units(-2*searchT), searchT*searchUnit, time.Duration(s.leaseTick)*searchUnit, false)
		l.forget()
		expiries = expiries[:0]
		for e := range int16(searchT + 1) {
			expiries = append(expiries, e)
		}
	}
	if s.proving {
		l.restart(units(0), searchT*searchUnit, time.Duration(s.leaseTick)*searchUnit, false)
		l.forget()
		l.activity(units(0), units(0))
		l.write(units(0), units(0), 1)
	}
	l.trustIdle = s.trustIdle
	p := place{closed: never, left: [7]int8{int8(b.pings), int8(b.syncs), int8(b.writes), int8(b.connections), int8(b.elections), int8(b.pauses), int8(b.lostTouches)}}
	p.lease.store(l)
	p.leaders[0] = searchLeader{expiry: searchT, taken: never}
	p.leaders[1].taken = never
	var all []place
	for due := range s.tick/2 + 1 {
		for _, expiry := range expiries {
			q := p
			q.leaders[0].due, q.leaders[0].expiry = int16(due), expiry
			all = append(all, q)
			if s.proving { // the expirer has just removed the session from the table
				q.leaders[0].taken = 0
				all = append(all, q)
			}
		}
	}
	return all
}

// The method `possible` lists what can happen at p.
func (s *searcher) possible(p *place) []step {
	all := s.steps[:0]
	add := func(what stepKind, arg int) { all = append(all, step{what, int8(arg)}) }
	open := p.closed == never
	if open && s.pingIsOverdue(p) { // no other step may come before the PING
		add(stepPing, 0)
		return s.keep(all)
	}
	if s.mayWait(p) {
		add(stepTime, 0)
	}
	connected := p.at >= 0 && !p.shaking
	if connected && open && !p.held {
		for kind := searchPing; kind <= searchWrite; kind++ {
			if p.left[kind] > 0 {
				add(stepSend, int(kind))
			}
		}
	}
	if p.arrived < p.sent && p.at >= 0 {
		add(stepArrive, 0)
	}
	if p.at >= 0 {
		l := &p.leaders[p.at]
		if open && p.out.n > 0 && !l.paused && !p.held {
			add(stepOut, 0)
		}
		if p.in.n > 0 {
			add(stepIn, 0)
			if p.in.m[0] == msgPing && open && !p.held && p.touched {
				add(stepIn, 1)
			}
		}
		if open && !l.paused && p.now >= l.due {
			add(stepPing, 0)
		}
		if s.slow && (p.shaken != 0 || !p.shaking && p.next < p.sent && p.packets[p.next].done) {
			add(stepAnswer, 0)
		}
		if p.touched && p.left[leftTouches] > 0 {
			add(stepLoseTouch, 0)
		}
	}
	if !open {
		return s.keep(all)
	}
	for i := range int(p.current) + 1 {
		l := &p.leaders[i]
		switch {
		case l.paused:
			add(stepResume, i)
			continue
		case p.left[leftPauses] > 0 && open:
			add(stepPause, i)
		}
		if l.taken == never && p.now >= l.expiry {
			add(stepTake, i)
		}
		if l.taken != never && !l.closing {
			add(stepMark, i)
		}
	}
	if p.left[leftElections] > 0 && int(p.current)+1 < len(p.leaders) {
		add(stepElect, 0)
		if s.forgets {
			add(stepForget, 0)
		}
	}
	if p.at >= 0 && p.left[leftConnections] > 0 {
		add(stepDrop, 0)
	}
	if p.at < 0 {
		for i := range int(p.current) + 1 {
			for phase := range s.tick/2 + 1 {
				add(stepConnect, i*16+phase)
			}
		}
	}
	return s.keep(all)
}

func (s *searcher) keep(all []step) []step { s.steps = all; return all }

// mayWait reports whether a unit of time may pass. It returns false if something has already lasted
// as long as the assumptions allow, or if the session was closed more than a session timeout ago.
func (s *searcher) mayWait(p *place) bool {
	if p.closed != never && p.now > p.closed+searchT {
		return false
	}
	for i := range int(p.current) + 1 {
		l := &p.leaders[i]
		if l.taken != never && !l.closing && int(p.now) >= int(l.taken)+s.pace {
			return false
		}
	}
	return s.slow || !s.answerable(p)
}

// pingIsOverdue reports whether the next PING to the client's follower is as late as it may be.
func (s *searcher) pingIsOverdue(p *place) bool {
	if p.at < 0 {
		return false
	}
	l := &p.leaders[p.at]
	return !l.paused && int(p.now) >= int(l.due)+s.late
}

// The method `answerable` reports whether there is an answer that the client can read now.
func (s *searcher) answerable(p *place) bool {
	return p.at >= 0 && (p.shaken != 0 || !p.shaking && p.next < p.sent && p.packets[p.next].done)
}

// take makes the given step from the state p.
func (s *searcher) take(p *place, a step) {
	switch a.what {
	case stepTime:
		p.now++
		p.sub, p.sends = 0, false
	case stepSend:
		p.left[a.arg]--
		p.sends = true
		p.packets[p.sent] = sentPacket{kind: packetKind(a.arg), sent: p.clock()}
		p.sent++
		if !s.slowUp {
			s.arrive(p)
		}
	case stepArrive:
		s.arrive(p)
	case stepOut:
		s.leader(p, p.out.pop())
	case stepIn:
		p.held = p.held || a.arg == 1
		s.follower(p, p.in.pop())
	case stepAnswer:
		s.answer(p)
	case stepPing:
		l := &p.leaders[p.at]
		s.push(p, &p.in, msgPing)
		l.due = p.now + int16(s.tick/2)
	case stepTake:
		p.leaders[a.arg].taken = p.now
	case stepMark:
		p.leaders[a.arg].closing = true
		if a.arg == p.current {
			p.closed = p.now
		}
	case stepPause:
		p.left[leftPauses]--
		p.leaders[a.arg].paused = true
	case stepResume: // the ping loop runs first, by assumption A2 of decision 0001
		l := &p.leaders[a.arg]
		l.paused = false
		if p.at == a.arg && p.now >= l.due {
			s.push(p, &p.in, msgPing)
			l.due = p.now + int16(s.tick/2)
		}
	case stepElect:
		p.left[leftElections]--
		p.current++
		p.leaders[p.current] = searchLeader{expiry: p.now + searchT, taken: never}
	case stepForget:
		p.closed = p.now
	case stepDrop:
		p.left[leftConnections]--
		s.disconnect(p)
	case stepConnect:
		p.at, p.shaking, p.opened, p.sends = a.arg/16, true, p.clock(), true
		p.leaders[p.at].due = p.now + int16(a.arg%16)
		s.push(p, &p.out, msgRevalidate)
	case stepLoseTouch:
		p.left[leftTouches]--
		p.touched = false
	}
	for s.settle(p) {
	}
}

// The method `settle` makes one step at once if a delay of this step could not make the session end
// sooner. So the search does not try such a delay. The method reports whether it made a step.
//
// A touch is a packet of the client that the follower has received. The follower reports a touch to
// the leader in its answer to the next PING. When the leader receives the report, it gives the
// session a new timeout. So a delay that causes another report, or makes a report arrive later, can
// only postpone the end of the session. So in three cases, a message is handled as soon as it is
// the next one on its link:
//
//   - a PING that finds no touch, because after a delay it could find a touch and cause a report
//   - a PING whose answer would not reach the leader, because the answer never has an effect
//   - a report, unless it never arrives or the leader is paused
//
// If answers take no time (s.slow is false), the client also reads them at once.
func (s *searcher) settle(p *place) bool {
	switch {
	case p.at < 0:
		return false
	case p.in.n > 0 && p.in.m[0] == msgPing && (p.held || !p.touched && !p.relayed):
		p.in.pop()
		p.touched = false
	case p.out.n > 0 && p.out.m[0] == msgTouched && !p.held && !p.leaders[p.at].paused:
		s.leader(p, p.out.pop())
	case !s.slow && s.answerable(p):
		s.answer(p)
	default:
		return false
	}
	return true
}

// The method `hopeless` returns true only if no steps from the state p can break the lease: see the
// method `broken`.
func (s *searcher) hopeless(p *place) bool {
	writes := 0 // that may still move the deadline
	if p.closed == never {
		writes = int(p.left[leftWrites])
		if s.syncs {
			writes += int(p.left[leftSyncs])
		}
	}
	for i := p.next; i < p.sent; i++ {
		k := &p.packets[i]
		if (k.kind == searchWrite || s.syncs && k.kind == searchSync) && !k.fail && (p.closed == never || k.epoch != 0) {
			writes++
		}
	}
	if p.closed != never {
		return writes == 0
	}
	now := units(p.now)
	if writes == 0 {
		return !instant(p.lease.deadline).After(now.Add(-s.drift - searchUnit))
	}
	if s.changed != nil || s.trustIdle || s.times != nil || s.margin {
		return false
	}
	// After a lapse, the lease stands again only after two writes.
	r, old := &p.lease, int32(p.now-searchT)*inUnit
	past := max(r.deadline, r.kept, r.provenTo, r.carriedKept) <= int32(p.now)*inUnit && max(r.lastWrite, r.carriedWrite) <= old
	return past && writes < 2
}

// The method `clock` returns the time on the client's clock: p.now units (see searchUnit), plus
// p.sub steps of searchGrain within the unit. If the client has sent something at the current time,
// p.sub advances before the client reads an answer. So an answer has a later time than everything
// that the client sent before it read the answer.
func (p *place) clock() int32 { return int32(p.now)*inUnit + p.sub }

func (s *searcher) push(p *place, q *queue, m uint8) {
	if !q.push(m) {
		p.overflow = true
	}
}

// arrive makes the follower handle the next packet of the client.
func (s *searcher) arrive(p *place) {
	i := p.arrived
	p.arrived++
	p.touched = true
	if k := &p.packets[i]; k.kind == searchPing {
		k.done = true
	} else {
		s.push(p, &p.out, i)
	}
}

// The method `leader` makes the client's leader handle the next message of the client's follower.
func (s *searcher) leader(p *place, m uint8) {
	l := &p.leaders[p.at]
	touch := func() {
		if !l.closing {
			l.expiry = p.now + searchT
		}
	}
	switch m {
	case msgTouched:
		touch()
	case msgRevalidate:
		touch()
		s.push(p, &p.in, map[bool]uint8{true: msgInvalid, false: msgValid}[l.closing])
	default:
		k := &p.packets[m]
		if k.kind == searchWrite && p.at != p.current {
			return // no majority takes the proposal
		}
		k.fail, k.epoch = l.closing, p.at+1
		s.push(p, &p.in, m)
	}
}

// The method `follower` models the thread of the follower that reads from the leader.
func (s *searcher) follower(p *place, m uint8) {
	switch m {
	case msgPing:
		report := p.touched
		if s.variant.relayed {
			report = p.relayed
			p.relayed = p.touched
		}
		if report {
			s.push(p, &p.out, msgTouched)
		}
		p.touched = false
	case msgValid, msgInvalid:
		p.shaken = m
	default:
		p.packets[m].done = true
	}
}

func (s *searcher) disconnect(p *place) {
	p.at, p.touched, p.relayed, p.held, p.shaking, p.shaken = -1, false, false, false, false, 0
	p.out, p.in = queue{}, queue{}
	p.first, p.next, p.arrived = p.sent, p.sent, p.sent
	p.lease.connected = false
}

// The method `answer` makes the client read the next answer.
func (s *searcher) answer(p *place) {
	if p.sends {
		p.sub, p.sends = p.sub+1, false
	}
	l := &s.lease
	p.lease.load(l)
	defer func() { p.lease.store(l) }()
	if p.shaking {
		valid := p.shaken == msgValid
		p.shaking, p.shaken = false, 0
		if !valid {
			p.at, p.left = -1, [7]int8{} // the session is lost, so the client sends no more
			return
		}
		kept := l.kept
		l.restart(instant(p.opened), l.timeout, l.tick, false)
		if s.keepKept {
			l.kept = kept
		}
		return
	}
	k := p.packets[p.next]
	p.next++
	if k.fail && k.kind != searchPing {
		return
	}
	sent, answered := instant(k.sent), instant(p.clock())
	if s.times != nil {
		sent, answered = s.times(sent, answered)
	}
	l.activity(sent, answered)
	sent, answered = instant(k.sent), instant(p.clock())
	switch k.kind {
	case searchSync:
		l.reached(sent, answered)
	case searchWrite:
		l.write(sent, answered, int64(k.epoch))
		if l.deadline.After(answered) {
			s.stood++
		}
	}
	if s.changed != nil {
		s.changed(l, k.kind, sent, answered)
	}
}

// The method `broken` reports whether the session was closed while its lease stood.
func (s *searcher) broken(p *place) bool {
	if p.closed == never {
		return false
	}
	end := instant(p.lease.deadline)
	if s.margin {
		end = end.Add(s.lease.margin())
	}
	return end.After(units(p.closed).Add(-s.drift))
}

// The method `fingerprint` returns a hash of everything in a state that decides what can happen
// later in the run. The search treats states with the same hash as one state.
func (s *searcher) fingerprint(p *place) uint64 {
	b := s.buf[:0]
	since := func(u int16) { b = append(b, byte(max(u-p.now, -searchT-2))) } // adds a time in units
	now := int32(p.now) * inUnit
	by := func(t, least int32) { // adds a time by the client's clock
		if t == never {
			t = least
		} else {
			t = max(t-now, least)
		}
		b = append(b, byte(t), byte(t>>8), byte(t>>16))
	}
	flag := func(all ...bool) {
		var n byte
		for _, f := range all {
			n <<= 1
			if f {
				n |= 1
			}
		}
		b = append(b, n)
	}
	b = append(b, byte(p.current), byte(p.at))
	for i := range int(p.current) + 1 {
		l := &p.leaders[i]
		flag(l.closing, l.paused, l.taken != never)
		switch {
		case l.taken != never && !l.closing:
			since(l.taken)
		case l.taken == never:
			since(max(l.expiry, p.now))
		}
		if int(p.at) == i {
			since(l.due)
		}
	}
	if p.closed != never {
		b = append(b, 0xff)
		since(p.closed)
	}
	flag(p.touched, p.relayed, p.held, p.shaking)
	b = append(b, p.shaken)
	for _, q := range []*queue{&p.out, &p.in} {
		b = append(b, q.n)
		for _, m := range q.m[:q.n] {
			if m < msgPing {
				m -= p.first
			}
			b = append(b, m)
		}
	}
	b = append(b, byte(p.sub))
	flag(p.sends)
	const past = -(searchT + 1) * inUnit
	if p.shaking {
		by(p.opened, past)
	}
	b = append(b, p.sent-p.next, p.sent-p.arrived)
	for i := p.next; i < p.sent; i++ {
		k := &p.packets[i]
		b = append(b, byte(k.kind), byte(k.epoch))
		flag(k.done, k.fail)
		by(k.sent, past)
	}
	r := &p.lease
	flag(r.connected)
	b = append(b, byte(r.epoch), byte(r.carriedEpoch))
	by(r.deadline, 0)
	by(r.kept, 0)
	by(r.opened, past)
	by(r.lastWrite, past)
	by(r.carriedKept, 0)
	by(r.carriedWrite, past)
	by(r.provingFrom, past)
	by(r.provenTo, 0)
	for _, m := range r.marks[:r.n] {
		if max(m.a, m.e)-now < past {
			continue // no lease depends on it any more
		}
		by(m.a, past)
		by(m.aAnswered, past)
		by(m.e, past)
		by(m.eAnswered, past)
	}
	for _, n := range p.left {
		b = append(b, byte(n))
	}
	s.buf = b
	return maphash.Bytes(s.seed, b)
}

// run searches breadth first. It returns the timeline of a shortest run that breaks the lease, or
// nothing if no run breaks the lease.
func (s *searcher) run(b bounds) (timeline []string) {
	var level, after []place
	var ids, afterIDs []uint32
	add := func(p place, parent uint32, a step) (found bool) {
		if p.overflow || !s.broken(&p) && s.hopeless(&p) || !s.seen.add(s.fingerprint(&p)) {
			return false
		}
		s.parents, s.how = append(s.parents, parent), append(s.how, a)
		after, afterIDs = append(after, p), append(afterIDs, uint32(len(s.parents)-1))
		if p.closed != never {
			s.closed++
		}
		return s.broken(&p)
	}
	starts := s.begin(b)
	for i, p := range starts {
		add(p, 0, step{arg: int8(i)})
	}
	for len(after) > 0 {
		level, after = after, level[:0]
		ids, afterIDs = afterIDs, ids[:0]
		for i := range level {
			for _, a := range s.possible(&level[i]) {
				p := level[i]
				s.take(&p, a)
				if add(p, ids[i], a) {
					return s.timeline(starts, uint32(len(s.parents)-1))
				}
			}
		}
	}
	return nil
}

// walk takes random steps until the lease is broken, or until nothing that matters can happen. It
// returns the timeline of the walk if the lease was broken, and otherwise nothing.
func (s *searcher) walk(r *rand.Rand, b bounds) (timeline []string) {
	starts := s.begin(b)
	start := starts[r.IntN(len(starts))]
	p := start
	var steps []step
	for {
		all := s.possible(&p)
		if len(all) == 0 {
			return nil
		}
		a := all[r.IntN(len(all))]
		s.take(&p, a)
		s.walked++
		steps = append(steps, a)
		if s.broken(&p) {
			return s.replay(start, steps)
		}
		if p.overflow || s.hopeless(&p) || p.now > 10*searchT {
			return nil
		}
	}
}

// The method `timeline` replays the steps that lead to the state with the given number.
func (s *searcher) timeline(starts []place, id uint32) []string {
	var steps []step
	for int(id) >= len(starts) {
		steps = append(steps, s.how[id])
		id = s.parents[id]
	}
	slices.Reverse(steps)
	return s.replay(starts[id], steps)
}

func (s *searcher) replay(p place, steps []step) []string {
	begun := "the session is created"
	switch {
	case s.idle:
		begun = "the session has been idle"
	case s.proving && p.leaders[0].taken == 0:
		begun = "the lease has lapsed, the client connects and writes, and the expirer has just taken the session"
	case s.proving:
		begun = "the lease has lapsed, and the client connects and writes"
	}
	lines := []string{fmt.Sprintf("t=0: %s; T=%d, tick=%d, the leader expires it at %d, the next PING is due at %d",
		begun, searchT, s.tick, p.leaders[0].expiry, p.leaders[0].due)}
	for _, a := range steps {
		before := p
		s.take(&p, a)
		if a.what != stepTime {
			line := fmt.Sprintf("t=%d: %s", p.now, s.describe(&before, a))
			if p.lease.deadline != before.lease.deadline {
				line += fmt.Sprintf(" (the lease stands until %.1f)", float64(p.lease.deadline)/float64(inUnit))
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func (s *searcher) describe(p *place, a step) string {
	message := func(m uint8) string {
		switch m {
		case msgPing:
			return "PING"
		case msgTouched:
			return "touch report"
		case msgRevalidate:
			return "handshake"
		case msgValid:
			return "valid handshake"
		case msgInvalid:
			return "refused handshake"
		}
		return fmt.Sprintf("%s %d", p.packets[m].kind, m)
	}
	switch a.what {
	case stepSend:
		return fmt.Sprintf("the client sends %s %d", packetKind(a.arg), p.sent)
	case stepArrive:
		return fmt.Sprintf("%s arrives at the follower", message(p.arrived))
	case stepOut:
		return fmt.Sprintf("leader %d gets a %s", p.at+1, message(p.out.m[0]))
	case stepIn:
		return fmt.Sprintf("the follower gets a %s from leader %d", message(p.in.m[0]), p.at+1)
	case stepAnswer:
		return "the client reads an answer"
	case stepPing:
		return fmt.Sprintf("leader %d sends a PING", p.at+1)
	case stepTake:
		return fmt.Sprintf("the expirer of leader %d takes the session", a.arg+1)
	case stepMark:
		return fmt.Sprintf("leader %d closes the session", a.arg+1)
	case stepPause:
		return fmt.Sprintf("leader %d is paused", a.arg+1)
	case stepResume:
		return fmt.Sprintf("leader %d goes on", a.arg+1)
	case stepElect:
		return fmt.Sprintf("leader %d is elected", p.current+2)
	case stepDrop:
		return "the client loses its connection"
	case stepConnect:
		return fmt.Sprintf("the client connects to a follower of leader %d", a.arg/16+1)
	case stepLoseTouch:
		return "the follower loses the touch"
	case stepForget:
		return "a new leader does not know the session"
	}
	return "time passes"
}

// fingerprints is a set of numbers.
type fingerprints struct {
	table []uint64
	n     int
}

func (f *fingerprints) add(x uint64) bool {
	if x == 0 {
		x = 1
	}
	if 2*f.n >= len(f.table) {
		old := f.table
		f.table = make([]uint64, max(1<<16, 2*len(old)))
		for _, y := range old {
			if y != 0 {
				f.put(y)
			}
		}
	}
	if !f.put(x) {
		return false
	}
	f.n++
	return true
}

func (f *fingerprints) put(x uint64) bool {
	for i := x & uint64(len(f.table)-1); ; i = (i + 1) & uint64(len(f.table)-1) {
		switch f.table[i] {
		case 0:
			f.table[i] = x
			return true
		case x:
			return false
		}
	}
}

// asAssumed returns a variant in which the servers behave as badly as the assumptions of decision
// 0001 allow, as far as whole units of time can express this.
func asAssumed(tick int) variant {
	return variant{tick: tick, late: 1, pace: searchT - 1, drift: searchT * searchUnit * 4 / 100}
}

// find searches for a broken lease: exhaustively with the flag -search, otherwise by random walks.
// The exhaustive search returns a shortest timeline.
func find(t *testing.T, v variant, b bounds, steps int) (timeline []string) {
	t.Helper()
	s, began := newSearcher(v), time.Now()
	if *search {
		timeline = s.run(b)
	} else {
		for r := rand.New(rand.NewPCG(v.seed, 1)); timeline == nil && s.walked < steps; {
			timeline = s.walk(r, b)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d states, %d with a closed session, %d steps of walks, the lease stood after %d writes, %v, %d MB", s.seen.n, s.closed, s.walked, s.stood,
		time.Since(began).Round(time.Millisecond), m.Sys>>20)
	if s.stood == 0 && len(timeline) == 0 {
		t.Error("no write gave a lease, so this search proves nothing")
	}
	return timeline
}

// If the servers satisfy all assumptions, the search finds no session that is closed while its
// lease stands.
//
// Covers S2.
func TestSearchFindsNoBrokenLease(t *testing.T) {
	for _, c := range []struct {
		name string
		b    bounds
		of   func(*variant)
	}{
		{"held", bounds{pings: 1, writes: 2}, func(*variant) {}},
		{"long periods", bounds{pings: 1, writes: 2}, func(v *variant) { v.tick = 4 }},
		{"pauses", bounds{writes: 2, pauses: 1}, func(*variant) {}},
		{"elections", bounds{writes: 2, elections: 1}, func(*variant) {}},
		{"connections", bounds{writes: 2, connections: 1}, func(*variant) {}},
		{"moves to a new leader", bounds{writes: 2, connections: 1, elections: 1}, func(*variant) {}},
		{"after a lapse", bounds{pings: 1, syncs: 2, writes: 1}, func(v *variant) { v.proving = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := asAssumed(2)
			c.of(&v)
			if v.proving && !*search {
				t.Skip("random walks do not reach the end of a probation: -search does")
			}
			if !*search && !v.proving { // random walks can have larger bounds
				c.b.pings, c.b.syncs, c.b.writes = 2, 2, 4
				c.b.pauses, c.b.connections = 2*c.b.pauses, 2*c.b.connections
				v.slow, v.slowUp = true, true
			}
			if timeline := find(t, v, c.b, 300_000); timeline != nil {
				t.Errorf("a session was closed while its lease stood:\n%s", strings.Join(timeline, "\n"))
			}
		})
	}
}

// Each part of the rule is needed. This test lists other rules, in each of which one part is
// missing or changed. With each of them, the search finds a broken lease.
func TestSearchRefutesOtherRules(t *testing.T) {
	const T = searchT * searchUnit
	for _, c := range []struct {
		name string
		b    bounds
		rule func(*variant)
	}{
		{"half a period", bounds{pings: 1, writes: 2}, func(v *variant) { v.tick, v.leaseTick, v.seed = 4, 1, 7 }},
		{"no margin", bounds{writes: 1}, func(v *variant) { v.margin = true }},
		{"an activity counts before its answer", bounds{pings: 1, writes: 2}, func(v *variant) {
			v.slow, v.slowUp, v.seed = true, true, 1
			v.times = func(sent, _ time.Time) (time.Time, time.Time) { return sent, sent }
		}},
		{"an activity counts as sent when it was answered", bounds{pings: 1, writes: 2}, func(v *variant) {
			v.slow, v.seed = true, 178
			v.times = func(_, answered time.Time) (time.Time, time.Time) { return answered, answered }
		}},
		{"the first write after idleness counts", bounds{pings: 2, writes: 1}, func(v *variant) { v.idle, v.trustIdle = true, true }},
		{"no probation", bounds{writes: 2, connections: 1}, func(v *variant) {
			v.idle = true
			v.changed = func(l *lease, _ packetKind, _, _ time.Time) {
				if !l.probation.since.IsZero() {
					l.probation.since = l.probation.since.Add(-T)
				}
			}
		}},
		{"a probation of an eighth of the timeout", bounds{writes: 2, connections: 1}, func(v *variant) {
			v.idle = true
			v.changed = func(l *lease, kind packetKind, _, answered time.Time) {
				if kind == searchWrite && l.probation.since.Equal(answered) {
					l.probation.since = answered.Add(T/8 - T)
				}
			}
		}},
		{"any write revives a lease", bounds{writes: 2, connections: 1}, func(v *variant) {
			v.idle = true
			v.changed = func(l *lease, kind packetKind, sent, _ time.Time) {
				if kind == searchWrite {
					l.deadline = times.Later(l.deadline, l.keptBy(l.latestKnown(sent)))
				}
			}
		}},
		{"evidence of the earlier connection counts", bounds{syncs: 1, writes: 1, connections: 2, elections: 1}, func(v *variant) { v.keepKept, v.far = true, true }},
		{"no epsilon", bounds{pings: 2, writes: 2}, func(v *variant) { v.tick, v.leaseTick, v.far = 4, 2, true }},
		{"a sync is enough", bounds{pings: 1, syncs: 2, elections: 1}, func(v *variant) {
			v.syncs, v.seed = true, 6
			v.changed = func(l *lease, _ packetKind, _, _ time.Time) { l.deadline = times.Later(l.deadline, l.kept) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := asAssumed(2)
			c.rule(&v)
			if v.far && !*search {
				t.Skip("20 million steps of random walks do not find it: -search does, and TestCounterexamplesOnTheServers shows it")
			}
			refute(t, v, c.b)
		})
	}
}

// Each assumption is needed: the search finds a broken lease without it.
func TestSearchNeedsEachAssumption(t *testing.T) {
	for _, c := range []struct {
		name string
		b    bounds
		drop func(*variant)
	}{
		{"A1 the clock of the leader is fast", bounds{writes: 1}, func(v *variant) { v.drift = searchT * searchUnit / 10 }},
		{"A2 a PING is late", bounds{pings: 1, writes: 2}, func(v *variant) { v.late, v.seed = 4, 3 }},
		{"A3 a touch is lost", bounds{pings: 1, writes: 2, lostTouches: 1}, func(v *variant) { v.seed = 1 }},
		{"A4 the tick is longer than the rule knows", bounds{pings: 1, writes: 2}, func(v *variant) { v.tick, v.leaseTick, v.seed = 6, 2, 9 }},
		{"A5 the server is behind an observer master", bounds{pings: 1, writes: 2}, func(v *variant) { v.relayed, v.seed = true, 5 }},
		{"A6 the quorum forgets the session", bounds{elections: 1}, func(v *variant) { v.forgets = true }},
		{"A7 the expirer is slow", bounds{pings: 1, syncs: 2, writes: 1}, func(v *variant) { v.proving, v.pace = true, 2*searchT }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := asAssumed(2)
			c.drop(&v)
			if v.proving && !*search {
				t.Skip("random walks do not reach the end of a probation: -search does, and TestModelNeedsEachAssumption")
			}
			refute(t, v, c.b)
		})
	}
}

func refute(t *testing.T, v variant, b bounds) {
	t.Helper()
	timeline := find(t, v, b, 20_000_000)
	if timeline == nil {
		t.Error("no session was closed while its lease stood, want one")
	}
	t.Log("\n" + strings.Join(timeline, "\n"))
}
