// Package audit computes from the transactions of servers which client held which lock, and when.
// It computes the same for terms, claims and memberships. It compares the result with what clients
// wrote in their own logs. It opens no files: it takes transactions and the text of clients' logs.
package audit

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/waits"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// Node is the kind of an ephemeral znode that belongs to no known primitive. The session that
// created the znode counts as its holder.
const Node waits.Kind = "node"

// A Span is the life of one znode of a primitive, or of any other ephemeral znode. If the writer of
// a read-write lock becomes a reader, its znode has two spans.
type Span struct {
	Kind    waits.Kind
	Place   string        // the path of the lock, the election, the semaphore, the group or the queue
	Path    string        // of the znode
	Name    string        // name of the member, or of the claimed item; empty if the path does not contain it
	Token   int64         // the fencing token: the czxid of the znode or, for a permit, of the znode that waited for it (see waits.Gate)
	Session int64         // the session whose request created the znode
	Label   string        // the data of the znode, if they are a short text
	Shared  bool          // the owner is a reader
	Lasting bool          // the znode is not ephemeral
	foreign bool          // a permit whose contender is not known, so Token is the czxid of Path
	Timeout time.Duration // of the session; 0 if the logs do not show it

	Created time.Time
	// Served is the time from which no other contender blocked this contender, for example because
	// this contender was the first in its lock queue. From Served to Ended, no other contender that
	// follows the recipe can hold the same lock or election, unless both are readers. If this
	// contender was always blocked, Served is zero. If it was not blocked when the logs begin,
	// Served is the start of the logs. A znode that is in no lock queue is served from its
	// creation.
	Served time.Time
	Ended  time.Time // zero if it has not ended
	End    End
	By     int64         // the session that ended the span
	Silent time.Duration // time before Ended without a transaction of Session; 0 if unknown

	After     *Span  // the previous holder, if its session expired or another session deleted its znode; otherwise nil
	Abandoned string // why the znode still exists although it should not; empty if it may exist
}

// An End is how a span ended.
type End string

// The ends of spans.
const (
	Stands     End = ""
	Released   End = "released"   // its own session deleted it
	Closed     End = "closed"     // the client closed its session
	Expired    End = "expired"    // the servers ended its session
	Revoked    End = "revoked"    // another session deleted it
	Acked      End = "acked"      // the claim was deleted together with the item
	Rejected   End = "rejected"   // the item became a dead letter
	Downgraded End = "downgraded" // the writer became a reader
)

// Held returns the time from Served to the end of the span. A span that has not ended counts until
// now. The result is 0 if the span was never served.
func (s *Span) Held(now time.Time) time.Duration {
	switch {
	case s.Served.IsZero():
		return 0
	case s.End == Stands:
		return now.Sub(s.Served)
	}
	return s.Ended.Sub(s.Served)
}

// Waited returns how long the span waited: until it was served, or else until its end, or else
// until now.
func (s *Span) Waited(now time.Time) time.Duration {
	switch {
	case !s.Served.IsZero():
		return s.Served.Sub(s.Created)
	case s.End == Stands:
		return now.Sub(s.Created)
	}
	return s.Ended.Sub(s.Created)
}

// Below reports whether path equals the argument `under`, or is a descendant of it.
func Below(path, under string) bool {
	rest, below := strings.CutPrefix(path, strings.TrimSuffix(under, "/"))
	return below && (rest == "" || rest[0] == '/')
}

// Within reports whether the span overlaps the time from `from` to `to`. A zero time is no bound.
func (s *Span) Within(from, to time.Time) bool {
	return (from.IsZero() || s.End == Stands || !s.Ended.Before(from)) && (to.IsZero() || !s.Created.After(to))
}

// A Start is the state of the servers before the first transaction of the logs. The zero value
// means that this state is unknown.
type Start struct {
	Zxid     int64
	Sessions map[int64]int32 // timeouts in milliseconds
	nodes    []txnlog.Node
}

// Add adds a znode of a snapshot to the state. It ignores a znode that was created after s.Zxid,
// because the logs contain its creation. It also ignores a znode that Spans does not need: a znode
// that is not ephemeral, belongs to no primitive, and does not help to recognize other znodes.
func (s *Start) Add(n txnlog.Node) {
	_, known := waits.Recognize(n.Path)
	if n.Czxid <= s.Zxid && (known || n.Session != 0 || znodeOf(n).Directory()) {
		s.nodes = append(s.nodes, n)
	}
}

func znodeOf(n txnlog.Node) waits.Znode {
	return waits.Znode{Path: n.Path, Data: n.Data, Ephemeral: n.Session != 0, Container: n.Container}
}

// Spans returns the spans at or below the given path, in the order of their ends. Spans that have
// not ended come last. If txns yields an error, Spans yields the error and stops.
func Spans(start Start, under string, txns iter.Seq2[txnlog.Txn, error]) iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		f := &follower{
			under: under, sessions: make(map[int64]*session),
			alive: make(map[string]*entry), places: make(map[string]*place),
		}
		for id, timeout := range start.Sessions {
			f.sessions[id] = &session{timeout: timeout}
		}
		first := true
		for t, err := range txns {
			if err != nil {
				yield(Span{}, err)
				return
			}
			if first {
				f.start(start, t.Time)
				first = false
			}
			f.apply(&t)
			for _, s := range f.ended {
				if !yield(s, nil) {
					return
				}
			}
			f.ended = f.ended[:0]
		}
		if first {
			f.start(start, 0)
		}
		for _, s := range f.standing() {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// follower is the state of [Spans] between two transactions.
type follower struct {
	under    string
	sessions map[int64]*session // by id, the sessions that have not ended
	alive    map[string]*entry  // by path, the znodes that exist and have a span
	places   map[string]*place  // the lock queues
	layouts  waits.Layouts
	ended    []Span // the spans that the last transaction ended
}

type session struct {
	timeout int32
	last    int64 // time of its last transaction, in milliseconds; 0 if there was none
}

// entry is a znode that has a span.
type entry struct {
	Span
	contender lockqueue.Contender
	item      string // the path of the item that it claims
	queue     *place // its lock queue; nil if the znode is in none
}

// place is a lock queue.
type place struct {
	kind  waits.Kind
	queue []*entry // in the order in which they are served
	// The field `before` is the last holder that ended because its session expired, or because
	// another session deleted its znode. The field becomes nil when another holder is served.
	before *Span
}

func (f *follower) start(s Start, now int64) {
	slices.SortFunc(s.nodes, func(a, b txnlog.Node) int { return cmp.Compare(a.Czxid, b.Czxid) })
	for _, n := range s.nodes {
		known := cmp.Or(now, n.Created)
		e := f.create(znodeOf(n), n.Session, n.Czxid, n.Created, known)
		changed := n.Mzxid > n.Czxid && n.Mzxid <= s.Zxid // the logs contain the changes after s.Zxid
		if changed && e != nil && e.queue != nil && waits.Downgraded(e.contender) {
			e.Shared = true
			e.queue.serve(known)
		}
	}
}

func (f *follower) apply(t *txnlog.Txn) {
	own := f.sessions[t.Session]
	switch {
	case t.Op == wire.OpCreateSession:
		own = &session{timeout: t.Timeout}
		f.sessions[t.Session] = own
	case own == nil && t.Session != 0: // the session is older than the logs
		own = &session{}
		f.sessions[t.Session] = own
	}
	if t.Op == wire.OpCloseSession && t.Unlisted {
		for _, path := range slices.Sorted(maps.Keys(f.alive)) {
			if e := f.alive[path]; e.Session == t.Session && !e.Lasting {
				f.remove(e, t)
			}
		}
	}
	for i := range t.Changes {
		switch c := &t.Changes[i]; c.Op {
		case wire.OpCreate:
			z := waits.Znode{Path: c.Path, Data: c.Data, Ephemeral: c.Ephemeral, Container: c.Container}
			if e := f.create(z, t.Session, t.Zxid, t.Time, t.Time); e != nil && e.Kind == waits.Semaphore {
				f.passed(e, t)
			}
		case wire.OpDelete:
			f.layouts.Delete(c.Path)
			if e := f.alive[c.Path]; e != nil {
				f.remove(e, t)
			}
		case wire.OpSetData:
			if e := f.alive[c.Path]; e != nil && !deletes(t, c.Path) { // data that are set together with a deletion are a release mark
				f.set(e, c.Data, t)
			}
		}
	}
	switch {
	case t.Op == wire.OpCloseSession:
		delete(f.sessions, t.Session)
	case own != nil:
		own.last = t.Time
	}
}

// The method `passed` sets the token of the permit e, which t creates. The new token is that of the
// contender that waited for the permit at the gate, the lock queue of the semaphore (see
// waits.Gate). lock.Semaphore deletes this contender in the same transaction. If t does not delete
// a contender at the gate, the method does nothing.
func (f *follower) passed(e *entry, t *txnlog.Txn) {
	for _, c := range t.Changes {
		if gate := f.alive[c.Path]; c.Op == wire.OpDelete && gate != nil && gate.Place == znode.Join(e.Place, waits.Gate) {
			e.Token, e.foreign = gate.Token, false
		}
	}
}

func deletes(t *txnlog.Txn, path string) bool {
	return slices.ContainsFunc(t.Changes, func(c txnlog.Change) bool { return c.Op == wire.OpDelete && c.Path == path })
}

// The method `create` adds the znode z and returns its entry, or nil if z has no span. `created` is
// the time at which z was created. `known` is the same time, or the start of the logs if z was
// created earlier.
func (f *follower) create(z waits.Znode, owner int64, zxid, created, known int64) *entry {
	role, ok := f.layouts.Create(z)
	contends := role.Contender.Name != ""
	switch {
	case role.Kind == waits.Internal, !contends && !z.Ephemeral:
		return nil
	case !ok:
		role = waits.Role{Kind: Node, Place: z.Path}
	}
	if !Below(role.Place, f.under) {
		return nil
	}
	e := &entry{contender: role.Contender, item: role.Item, Span: Span{
		Kind: role.Kind, Place: role.Place, Path: z.Path, Name: role.Name, Token: zxid, Session: owner, Label: label(z.Data[role.Label:]),
		Shared: role.Contender.Kind == lockqueue.Shared, Lasting: !z.Ephemeral, foreign: role.Kind == waits.Semaphore,
		Created: time.UnixMilli(created),
	}}
	if s := f.sessions[owner]; s != nil {
		e.Timeout = time.Duration(s.timeout) * time.Millisecond
	}
	f.alive[z.Path] = e
	if !contends {
		e.Served = e.Created
		return e
	}
	p := f.places[role.Place]
	if p == nil {
		p = &place{kind: role.Kind}
		f.places[role.Place] = p
	}
	if role.Kind == waits.Election {
		p.kind = waits.Election
	}
	e.queue = p
	at, _ := slices.BinarySearchFunc(p.queue, e, inOrder)
	p.queue = slices.Insert(p.queue, at, e)
	p.serve(known)
	return e
}

func inOrder(a, b *entry) int { return lockqueue.Compare(a.contender, b.contender) }

// serve records which contenders are not blocked any more.
func (p *place) serve(now int64) {
	for i, e := range p.queue {
		if i > 0 && !e.Shared {
			return
		}
		if e.Served.IsZero() {
			e.Served, e.After, p.before = time.UnixMilli(now), p.before, nil
		}
		if e.Kind = p.kind; !e.Shared {
			return
		}
	}
}

// remove ends the span of a znode that t deletes.
func (f *follower) remove(e *entry, t *txnlog.Txn) {
	e.Ended, e.By, e.End = time.UnixMilli(t.Time), t.Session, end(e, t)
	if s := f.sessions[e.Session]; s != nil && s.last != 0 {
		e.Silent = time.Duration(t.Time-s.last) * time.Millisecond
	}
	delete(f.alive, e.Path)
	p := e.queue
	if p != nil {
		e.Kind = p.kind
	}
	f.ended = append(f.ended, e.Span)
	if p == nil {
		return
	}
	if at, found := slices.BinarySearchFunc(p.queue, e, inOrder); found {
		p.queue = slices.Delete(p.queue, at, at+1)
	}
	if !e.Served.IsZero() && (e.End == Expired || e.End == Revoked) {
		last := e.Span
		last.After = nil // otherwise each span would keep all earlier holders in memory
		p.before = &last
	}
	p.serve(t.Time)
	if len(p.queue) == 0 && p.before == nil {
		delete(f.places, e.Place)
	}
}

func end(e *entry, t *txnlog.Txn) End {
	switch {
	case t.Op == wire.OpCloseSession && t.Cxid == 0: // a request of the leader, not of a client
		return Expired
	case t.Op == wire.OpCloseSession:
		return Closed
	case e.item != "" && deletes(t, e.item):
		dead := e.Place + "/dead/"
		if slices.ContainsFunc(t.Changes, func(c txnlog.Change) bool { return c.Op == wire.OpCreate && strings.HasPrefix(c.Path, dead) }) {
			return Rejected
		}
		return Acked
	case t.Session != e.Session:
		return Revoked
	}
	return Released
}

// The method `set` handles a change of data: a leader publishes something, or a writer becomes a
// reader.
func (f *follower) set(e *entry, data []byte, t *txnlog.Txn) {
	if e.Kind != waits.Lock {
		e.Label = label(data)
	}
	if e.queue == nil || e.Shared || !waits.Downgraded(e.contender) {
		return
	}
	writer := e.Span
	writer.Ended, writer.By, writer.End = time.UnixMilli(t.Time), t.Session, Downgraded
	f.ended = append(f.ended, writer)
	e.Shared, e.After, e.Served = true, nil, time.UnixMilli(t.Time)
	e.queue.serve(t.Time)
}

// The method `standing` returns the spans that have not ended. If such a span should have ended,
// the field Abandoned of the span says why.
func (f *follower) standing() []Span {
	var all []Span
	for _, e := range f.alive {
		if e.queue != nil {
			e.Kind = e.queue.kind
		}
		switch {
		case e.Lasting:
			e.Abandoned = "it is not ephemeral, so no end of a session deletes it"
		case f.sessions[e.Session] == nil:
			e.Abandoned = "its session is not among those that live"
		}
		all = append(all, e.Span)
	}
	slices.SortFunc(all, func(a, b Span) int { return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Path, b.Path)) })
	return all
}

// mostLabel is the maximum length of a label, in bytes. Longer data are no label.
const mostLabel = 120

// The function `label` returns data as text. It returns "" if the data are too long, or are not
// printable text.
func label(data []byte) string {
	if len(data) > mostLabel || !utf8.Valid(data) {
		return ""
	}
	text := string(data)
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}
