package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// The type `picture` contains the data that the page draws: the history in columns, with times in
// microseconds. A column of start times has, for each start, the time since the previous start,
// because such a column compresses well. Each string is stored once, in a table.
type picture struct {
	End        int64            `json:"end"`
	Phases     []span           `json:"phases"`
	Clients    []int16          `json:"clients"`
	Names      []string         `json:"names"` // all strings
	Operations operations       `json:"ops"`
	Holds      holds            `json:"holds"`
	Sessions   []sessionSpan    `json:"sessions"`
	Suspended  []sessionSpan    `json:"suspended"`
	Servers    [][]span         `json:"servers"`
	Faults     []faultSpan      `json:"faults"`
	Writes     writes           `json:"writes"`
	Log        []heldSpan       `json:"log,omitempty"`
	Begun      int64            `json:"begun,omitempty"` // Unix time in milliseconds, if the page shows times of day
	Lanes      []lane           `json:"lanes,omitempty"` // on the page of an audit
	Stalls     []span           `json:"stalls"`
	Violations []violation      `json:"violations"`
	Series     series           `json:"series"`
	Left       int              `json:"left,omitempty"` // successful operations that are not shown; in an audit, paths
	index      map[string]int   // string -> its index in Names
	at         map[int16]int    // client -> its index in Clients
	sessions   map[int64]*track // session id -> the open session
}

type span struct {
	From int64  `json:"f"`
	To   int64  `json:"t"`
	What string `json:"w"`
}

// In the type `operations`, Outcome is 0 for ok, 1 for fail, 2 for info, and 3 for no answer.
type operations struct {
	Start   []int64 `json:"s"`
	Took    []int64 `json:"d"`
	Client  []int   `json:"c"`
	Op      []int   `json:"k"`
	Outcome []int   `json:"o"`
	Object  []int   `json:"b"`
	Error   []int   `json:"e"`
}

// Each column of the type `holds` has one element for each hold. Ended is 0 if the hold was
// released, 1 if it was lost, and 2 if it did not end.
//
// Gone is the time from the start of a hold to the grant of the same object to another client. Such
// a grant shows that the holder's znode is gone. Gone is -1 in each of these cases:
//   - No other client was granted the object before the recorded end of the hold.
//   - Several clients are allowed to hold the object at the same time.
type holds struct {
	Start  []int64  `json:"s"`
	Took   []int64  `json:"d"`
	Client []int    `json:"c"`
	Object []int    `json:"b"`
	Ended  []int    `json:"o"`
	Cause  []int    `json:"e"`
	Token  []string `json:"k"`
	Gone   []int64  `json:"g,omitempty"` // empty if all are -1
}

// The type `writes` has the accesses to the fenced resource.
type writes struct {
	At       []int64 `json:"s"`
	Client   []int   `json:"c"`
	Accepted []int   `json:"o"`
}

// sessionSpan is the life of a client's session, or a time in which the session was not connected.
type sessionSpan struct {
	From   int64  `json:"f"`
	To     int64  `json:"t"`
	Client int    `json:"c"`
	ID     string `json:"i"`
	Ended  string `json:"w"`
}

// faultSpan is the time of a fault.
type faultSpan struct {
	From     int64  `json:"f"`
	To       int64  `json:"t"`
	Name     string `json:"n"`
	Target   string `json:"x"`
	Arg      string `json:"a"`
	Evidence string `json:"b"`
	Error    string `json:"e"`
}

// A lane shows who held one path according to the servers' logs. If Belief is set, the lane shows
// who held the path according to clients' own logs instead. Mark is the number of the path.
// Violations refer to the path by this number.
type lane struct {
	Name   string     `json:"n"`
	Belief bool       `json:"b,omitempty"`
	Mark   int        `json:"m"`
	Spans  []heldSpan `json:"s"`
}

// heldSpan is a time in which a client held something according to the servers' logs, or according
// to clients' own logs in a lane with Belief. Client is -1 if the session belongs to no client of
// the run.
type heldSpan struct {
	From    int64  `json:"f"`
	To      int64  `json:"t"`
	Client  int    `json:"c"`
	Object  int    `json:"b"`
	Token   string `json:"k"`
	Session string `json:"i"`
	Ended   string `json:"w"`
	Owner   string `json:"n,omitempty"` // who held it; only on the page of an audit
}

// A violation has two ranges of time on the timeline. From and To are the range of the violation
// itself. ProofFrom and ProofTo are the range of the events that prove it.
type violation struct {
	ID        string `json:"i"`
	Reason    string `json:"r"`
	From      int64  `json:"f"`
	To        int64  `json:"t"`
	ProofFrom int64  `json:"pf"`
	ProofTo   int64  `json:"pt"`
	Clients   []int  `json:"c"` // numbers of clients; on the page of an audit, of lanes
}

// A track is an open session.
type track struct {
	from      int64
	client    int
	suspended int64 // when the session lost its connection; -1 while it is connected
}

// mostOperations bounds the size of the page. If a run has more operations, some successful ones
// are left out.
const mostOperations = 120_000

func micro(d time.Duration) int64 { return d.Microseconds() }

// newPicture returns the data of a result that the page draws.
func newPicture(r *harness.Result) *picture {
	h := r.History
	p := &picture{End: micro(h.End()), index: make(map[string]int), at: make(map[int16]int), sessions: make(map[int64]*track)}
	p.name("")
	p.addClients(h)
	ops, _ := h.Operations() // the rest of a malformed history can still be shown
	p.addOperations(h, ops)
	p.addHolds(h, exclusive(r))
	p.addEvents(h)
	for _, f := range newFaults(h) {
		p.Faults = append(p.Faults, f.span())
	}
	p.addHeld(heldBy(r.TxnLog, h))
	for _, one := range r.Results {
		p.addViolation(one)
	}
	p.Series = newSeries(h, ops)
	return p
}

// The method `name` returns the index of s in the table of strings.
func (p *picture) name(s string) int {
	i, known := p.index[s]
	if !known {
		i = len(p.Names)
		p.index[s] = i
		p.Names = append(p.Names, s)
	}
	return i
}

func (p *picture) addClients(h *history.History) {
	seen := make(map[int16]bool)
	for i := range h.Events {
		if c := h.Events[i].Client; c != history.Nobody && !seen[c] {
			seen[c] = true
			p.Clients = append(p.Clients, c)
		}
	}
	slices.Sort(p.Clients)
	for i, c := range p.Clients {
		p.at[c] = i
	}
}

func (p *picture) addOperations(h *history.History, ops []history.Operation) {
	every := 1 + len(ops)/mostOperations
	o, last := &p.Operations, int64(0)
	for i, op := range ops {
		if every > 1 && i%every != 0 && op.Outcome() == session.OK {
			p.Left++
			continue
		}
		start, end, outcome, why := micro(op.Invoke.Time), micro(h.End()), 3, ""
		if e := op.Complete; e != nil {
			end, why = micro(e.Time), e.Error
			outcome = map[history.Kind]int{history.OK: 0, history.Fail: 1, history.Info: 2}[e.Kind]
		}
		o.Start = append(o.Start, start-last)
		o.Took = append(o.Took, end-start)
		o.Client = append(o.Client, p.at[op.Invoke.Client])
		o.Op = append(o.Op, p.name(op.Invoke.Op))
		o.Outcome = append(o.Outcome, outcome)
		o.Object = append(o.Object, p.name(op.Invoke.Object))
		o.Error = append(o.Error, p.name(why))
		last = start
	}
}

// The function `exclusive` reports whether at most one client is allowed to hold an object at a
// time, according to the checkers of the run.
func exclusive(r *harness.Result) bool {
	return slices.ContainsFunc(r.Results, func(one checker.Result) bool { return one.ID == "lock/no-overlap" || one.ID == "election/no-overlap" })
}

// addHolds adds the holds, in order of their starts.
func (p *picture) addHolds(h *history.History, exclusive bool) {
	o, last := &p.Holds, int64(0)
	open := make(map[string][]int) // object -> indexes of the holds that may not have ended
	var ends []int64
	for i, hold := range h.Holds() {
		start, end, ended, cause := micro(hold.Begin.Time), micro(h.End()), 2, ""
		if hold.End != nil {
			end, ended, cause = micro(hold.End.Time), 0, hold.End.Error
			if hold.Lost() {
				ended = 1
			}
		}
		client, object := p.at[hold.Begin.Client], hold.Begin.Object
		o.Start = append(o.Start, start-last)
		o.Took = append(o.Took, end-start)
		o.Client = append(o.Client, client)
		o.Object = append(o.Object, p.name(object))
		o.Ended = append(o.Ended, ended)
		o.Cause = append(o.Cause, p.name(cause))
		o.Token = append(o.Token, fmt.Sprintf("%x", uint64(hold.Begin.Token)))
		o.Gone = append(o.Gone, -1)
		last = start
		ends = append(ends, end)
		if !exclusive {
			continue
		}
		open[object] = slices.DeleteFunc(open[object], func(n int) bool { return ends[n] <= start })
		for _, n := range open[object] {
			if o.Gone[n] < 0 && o.Client[n] != client {
				o.Gone[n] = start - (ends[n] - o.Took[n])
			}
		}
		open[object] = append(open[object], i)
	}
	if !slices.ContainsFunc(o.Gone, func(g int64) bool { return g >= 0 }) {
		o.Gone = nil
	}
}

// addHeld adds the holds that the servers' logs show. They have their own lane.
func (p *picture) addHeld(all []held) {
	for _, one := range all[:min(len(all), mostOperations)] {
		client, known := p.at[one.Client]
		if !known {
			client = -1
		}
		p.Log = append(p.Log, heldSpan{micro(one.From), micro(one.To), client, p.name(one.Object), fmt.Sprintf("%x", uint64(one.Token)), hexID(one.Session), one.End, ""})
	}
}

// addEvents adds the phases, sessions, accesses to the resource, stalls and roles of servers.
func (p *picture) addEvents(h *history.History) {
	last := int64(0)
	for i := range h.Events {
		e := &h.Events[i]
		at := micro(e.Time)
		switch {
		case e.Kind == history.Phase:
			if n := len(p.Phases); n > 0 {
				p.Phases[n-1].To = at
			}
			p.Phases = append(p.Phases, span{at, p.End, e.Op})
		case e.Kind == history.Session:
			p.addSession(e, at)
		case e.Kind == history.Write:
			accepted := 0
			if e.Op == history.WriteAccepted {
				accepted = 1
			}
			p.Writes.At = append(p.Writes.At, at-last)
			p.Writes.Client = append(p.Writes.Client, p.at[e.Client])
			p.Writes.Accepted = append(p.Writes.Accepted, accepted)
			last = at
		case e.Kind == history.Fact && e.Op == history.FactStall:
			if d, err := time.ParseDuration(e.Result); err == nil {
				p.Stalls = append(p.Stalls, span{at - micro(d), at, e.Object})
			}
		case e.Kind == history.Fact && e.Op == history.FactRole:
			p.addRole(e, at)
		}
	}
	for id, t := range p.sessions {
		p.endSession(id, t, p.End, "")
	}
	order := func(a, b sessionSpan) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.From, b.From))
	}
	slices.SortFunc(p.Sessions, order)
	slices.SortFunc(p.Suspended, order)
}

// addSession handles an event of a session. The span of the session ends with the first report that
// the client gave the session up, that the client closed it, or that the servers ended it.
func (p *picture) addSession(e *history.Event, at int64) {
	t := p.sessions[e.Session]
	switch {
	case e.Op == history.SessionNew:
		p.sessions[e.Session] = &track{from: at, client: p.at[e.Client], suspended: -1}
	case t == nil:
	case e.Op == history.SessionSuspended && t.suspended < 0:
		t.suspended = at
	case e.Op == history.SessionConnected:
		p.resume(e.Session, t, at)
	case e.Op == history.SessionLost, e.Op == history.SessionClosed, e.Op == history.SessionExpired:
		p.endSession(e.Session, t, at, e.Op)
		delete(p.sessions, e.Session)
	}
}

func (p *picture) resume(id int64, t *track, at int64) {
	if t.suspended >= 0 {
		p.Suspended = append(p.Suspended, sessionSpan{t.suspended, at, t.client, hexID(id), history.SessionSuspended})
		t.suspended = -1
	}
}

func (p *picture) endSession(id int64, t *track, at int64, how string) {
	p.resume(id, t, at)
	p.Sessions = append(p.Sessions, sessionSpan{t.from, at, t.client, hexID(id), how})
}

func hexID(id int64) string { return fmt.Sprintf("0x%x", uint64(id)) }

// addRole ends the previous role of a server and begins the new one.
func (p *picture) addRole(e *history.Event, at int64) {
	var node int
	if _, err := fmt.Sscanf(e.Node, "n%d", &node); err != nil || node < 0 || node >= ensemble.MostNodes {
		return // the history may come from another program
	}
	for len(p.Servers) <= node {
		p.Servers = append(p.Servers, nil)
	}
	spans := p.Servers[node]
	if n := len(spans); n > 0 {
		spans[n-1].To = at
	}
	p.Servers[node] = append(spans, span{at, p.End, e.Result})
}

// addViolation adds a violation, with the times and the clients of the events that prove it.
func (p *picture) addViolation(one checker.Result) {
	if one.Verdict != checker.Invalid {
		return
	}
	v := violation{ID: one.ID, Reason: one.Reason, ProofFrom: p.End, Clients: []int{}}
	from, to, begun := int64(0), p.End, 0 // the time in which all holds overlap; number of holds
	for _, e := range one.Events {
		at := micro(e.Time)
		v.ProofFrom, v.ProofTo = min(v.ProofFrom, at), max(v.ProofTo, at)
		if at, known := p.at[e.Client]; known && !slices.Contains(v.Clients, at) {
			v.Clients = append(v.Clients, at)
		}
		switch {
		case e.Kind == history.Hold && e.Op == history.HoldBegin:
			from = max(from, at)
			begun++
		case e.Kind == history.Hold:
			to = min(to, at)
		}
	}
	switch {
	case len(one.Events) == 0:
		v.ProofFrom, v.ProofTo = 0, p.End
	case begun > 1 && from < to: // the holds may have begun long before they overlap
		v.From, v.To = from, to
	}
	if v.To == 0 {
		v.From, v.To = v.ProofFrom, v.ProofTo
	}
	p.Violations = append(p.Violations, v)
}
