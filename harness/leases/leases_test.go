package leases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timeout = 6 * time.Second

// A record is everything that one run of a session has recorded.
type record struct {
	trace   *Trace
	servers Servers
	start   time.Time
}

// The function `observe` returns the record of a session that is connected to a follower. The
// session acquires a lock twice:
//   - During the first hold, packets between the leader and the follower are slow. So the lease
//     lapses, but the session does not expire.
//   - During the second hold, the follower is isolated until the other servers have expired the
//     session.
func observe(t *testing.T, opts session.Options) (r record) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{KeepLog: true})
		follower := (e.Leader() + 1) % 3
		opts.Servers, opts.Dial, opts.Timeout = e.Servers()[follower:follower+1], e.DialContext, timeout
		opts.TickTime = 2 * time.Second
		r.start = time.Now()
		recorder := NewRecorder(r.start)
		s, err := session.Open(leasetrace.With(t.Context(), recorder.Session(0)), opts)
		if err != nil {
			t.Fatal(err)
		}
		hold := func() *lock.Grant {
			g, err := lock.NewMutex(s, "/l", lock.Options{}).Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		first := hold()
		time.Sleep(2 * timeout)
		// Both directions between the leader and the follower are slow: the lease lapses, and the
		// session lives on.
		for _, l := range []zktest.Link{{From: e.Leader(), To: follower}, {From: follower, To: e.Leader()}} {
			e.DelayLink(l, timeout*9/20)
		}
		<-first.Context().Done()
		for _, l := range []zktest.Link{{From: e.Leader(), To: follower}, {From: follower, To: e.Leader()}} {
			e.DelayLink(l, 0)
		}
		first.Unlock(t.Context())
		second := hold()
		time.Sleep(2 * timeout)
		e.Isolate(follower)
		<-second.Context().Done()
		time.Sleep(2 * timeout)
		e.Mend()
		<-s.Done()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r.trace = recorder.Seal()
		for _, x := range e.Expiries() {
			r.servers.Expiries = append(r.servers.Expiries, ensemble.Expiry(x))
		}
		var log bytes.Buffer
		if err := e.WriteLog(e.Leader(), &log); err != nil {
			t.Fatal(err)
		}
		server, err := witness.Read("n0", fstest.MapFS{"log.1": {Data: log.Bytes()}})
		if err != nil {
			t.Fatal(err)
		}
		r.servers.Log = witness.Merge(server)
	})
	return r
}

func (r record) judge(t *testing.T) map[string]checker.Result {
	t.Helper()
	h := history.New(history.Event{Time: r.trace.End, Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody})
	h.Header.Start = r.start
	all := make(map[string]checker.Result)
	for _, one := range checker.Run(t.Context(), h, r.trace.Checkers(checker.Envelope{}, r.servers)...) {
		all[one.ID] = one
	}
	if len(all) == 0 {
		t.Fatal("got no result, want one for each property of a trace")
	}
	return all
}

func TestRealTraceIsValid(t *testing.T) {
	r := observe(t, session.Options{})
	var text bytes.Buffer
	if err := r.trace.Write(&text); err != nil {
		t.Fatal(err)
	}
	written := text.String()
	var err error
	if r.trace, err = Read(&text); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := r.trace.Write(&again); err != nil || again.String() != written {
		t.Errorf("written, read and written again: got %d bytes, error %v; want the same %d "+
			"bytes as before", again.Len(), err, len(written))
	}
	for id, one := range r.judge(t) {
		t.Log(id, one.Verdict, one.Checked, one.Reason)
		if id == waitersAreSilent {
			continue // nobody waits in this run
		}
		if one.Verdict != checker.Valid {
			t.Errorf("%s: got %v, want %v: %s", id, one.Verdict, checker.Valid, one.Reason)
		}
	}
	kinds := make(map[string]int)
	for _, e := range r.trace.Events {
		kinds[kindNames[e.Kind]+proofNames[e.Proof]]++
	}
	for _, kind := range []string{"opened", "closed", "sent", "answeredactivity", "answeredmajority", "granted", "ended"} {
		if kinds[kind] == 0 {
			t.Errorf("got no event %q in the trace, want at least 1; it has %v", kind, kinds)
		}
	}
}

// The test changes a genuine trace in one place at a time. The property that the change violates
// must be Invalid.
func TestForgedTraceIsRefused(t *testing.T) {
	genuine := observe(t, session.Options{})
	find := func(events []Event, n int, is func(*Event) bool) int {
		found := 0
		for i := range events {
			if is(&events[i]) {
				if found == n {
					return i
				}
				found++
			}
		}
		t.Fatalf("got %d such events in a trace of %d events, want at least %d",
			found, len(events), n+1)
		return 0
	}
	majority := func(e *Event) bool { return e.Kind == leasetrace.Answered && e.Proof == leasetrace.Majority }
	kind := func(k leasetrace.Kind) func(*Event) bool { return func(e *Event) bool { return e.Kind == k } }
	// requestOf returns the index of the request that event i answers.
	requestOf := func(events []Event, i int) int {
		for k := i; k >= 0; k-- {
			if events[k].Kind == leasetrace.Sent && events[k].Xid == events[i].Xid && events[k].At == events[i].Sent {
				return k
			}
		}
		t.Fatalf("got no request for the reply to xid %d, event %d, want one before it",
			events[i].Xid, i)
		return 0
	}
	const write = 8 // the number, from 0, of an acknowledged write in the middle of the first hold
	for _, c := range []struct {
		name, want string
		forge      func(r *record) (fake []Event)
	}{
		{"evidence without a request", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			k := requestOf(e, find(e, write, majority))
			return slices.Delete(e, k, k+1)
		}},
		{"two requests with one xid", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			k := requestOf(e, find(e, write, majority))
			return slices.Insert(e, k, e[k])
		}},
		{"a reply of an earlier connection", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, write, majority)
			return slices.Insert(e, i, Event{Kind: leasetrace.Closed, At: e[i].At, Sent: Never, Deadline: Never, Session: e[i].Session})
		}},
		{"a packet counts as sent later", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, write, majority)].Sent++
			return e
		}},
		{"a reply before its request", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, write, majority)
			e[i].At = e[i].Sent - 1
			return e
		}},
		{"a read counts as a write", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[requestOf(e, find(e, write, majority))].Op = wire.OpGetData
			return e
		}},
		{"a sync counts as a write", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[requestOf(e, find(e, write, majority))].Op = wire.OpSync
			return e
		}},
		{"a refused request counts", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, write, majority)].Code = wire.NoAuth
			return e
		}},
		{"a multi of an expired session counts", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, write, majority)
			e[i].Part = wire.SessionExpired
			return e
		}},
		{"a new session's lease is longer", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, 0, kind(leasetrace.Opened))].Deadline++
			return e
		}},
		{"a write's lease is longer", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, write, majority)].Deadline += timeout / 16
			return e
		}},
		{"a longer session timeout", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, 0, kind(leasetrace.Opened))].Timeout -= timeout / 8
			return e
		}},
		{"a longer tick", "lease/within-evidence", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, 0, kind(leasetrace.Opened))].Tick *= 2
			return e
		}},
		{"a grant after the lapse", "lease/covers-holds", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, 1, kind(leasetrace.Granted))
			e[i].At = e[i].Deadline
			return e
		}},
		{"a grant before the lease", "lease/covers-holds", func(r *record) []Event {
			e := r.trace.Events
			i, lapsed := find(e, 1, kind(leasetrace.Granted)), find(e, 0, kind(leasetrace.Ended))
			early := e[i]
			early.At, early.Hold = e[lapsed+1].At, early.Hold+1
			return slices.Insert(e, lapsed+1, early)
		}},
		{"a hold after the lapse", "lease/covers-holds", func(r *record) []Event {
			e := r.trace.Events
			e[find(e, 1, kind(leasetrace.Ended))].At++
			return e
		}},
		{"a hold without an end", "lease/covers-holds", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, 1, kind(leasetrace.Ended))
			return slices.Delete(e, i, i+1)
		}},
		{"a hold through a lapse", "lease/covers-holds", func(r *record) []Event {
			e := r.trace.Events
			i := find(e, 0, kind(leasetrace.Ended))
			return slices.Delete(e, i, i+1)
		}},
		{"an expiry before the end of the lease", "lease/ends-before-expiry", func(r *record) []Event {
			latest := Never
			for _, e := range r.trace.Events {
				latest = max(latest, e.Deadline)
			}
			i := slices.IndexFunc(r.servers.Log.Txns, expires)
			r.servers.Log.Txns[i].Time = r.start.Add(latest - 2*resolution).UnixMilli()
			return r.trace.Events
		}},
		{"a leader that is early", "lease/expiry-after-touch", func(r *record) []Event {
			r.servers.Expiries[0].Taken = r.servers.Expiries[0].Touched.Add(timeout - 1)
			return r.trace.Events
		}},
		{"a leader that missed a sign of life", "lease/expiry-after-touch", func(r *record) []Event {
			r.servers.Expiries[0].Touched = r.servers.Expiries[0].Touched.Add(-timeout)
			return r.trace.Events
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := genuine
			log := *genuine.servers.Log
			log.Txns = slices.Clone(log.Txns)
			fake.servers = Servers{Log: &log, Expiries: slices.Clone(genuine.servers.Expiries)}
			fake.trace = &Trace{Events: slices.Clone(genuine.trace.Events), End: genuine.trace.End}
			fake.trace.Events = c.forge(&fake)
			one := fake.judge(t)[c.want]
			if one.Verdict != checker.Invalid {
				t.Errorf("%s: got %v, want %v", c.want, one.Verdict, checker.Invalid)
			}
			t.Log(one.Reason)
		})
	}
}

// The field `ends` of a tracked session is the time by which holds must have ended. At this time,
// the latest lease lapses or is given up, whichever comes first. Regression: a later reply that
// brought no new lease made the judge forget this time.
func TestHoldsMustHaveEndedByTheEndOfTheLease(t *testing.T) {
	type at struct{ at, deadline time.Duration }
	for name, c := range map[string]struct {
		replies []at
		want    time.Duration
	}{
		"extended":                     {[]at{{0, 3800}, {1000, 5000}}, 5000},
		"shortened":                    {[]at{{0, 3800}, {1000, 2000}}, 2000},
		"shortened into the past":      {[]at{{0, 3800}, {3000, 2000}}, 3000},
		"given up":                     {[]at{{0, 3800}, {2500, Never}}, 2500},
		"given up, and then a reply":   {[]at{{0, 3800}, {2500, Never}, {2600, Never}}, 2500},
		"given up after it had lapsed": {[]at{{0, 3800}, {10_000, Never}}, 3800},
	} {
		s := &tracked{claimed: Never}
		for _, r := range c.replies {
			s.claim(&Event{At: r.at, Deadline: r.deadline})
		}
		if s.ends != c.want {
			t.Errorf("%s: got %d, want %d", name, s.ends, c.want)
		}
	}
}

// Regression: the note about the closest expiry was wrong in two cases:
//   - If all expiries counted as exposure, because they came during a fault outside the envelope or
//     soon after it, the note named an expiry that did not exist.
//   - If the closest expiry came before the end of the lease, but within the precision of the
//     servers' times, the note named a later expiry instead.
func TestNoteAboutTheClosestExpiry(t *testing.T) {
	const id, early = "lease/ends-before-expiry", 400 * time.Microsecond
	r := observe(t, session.Options{})
	latest := Never
	for _, e := range r.trace.Events {
		latest = max(latest, e.Deadline)
	}
	latest = latest.Truncate(time.Millisecond)
	for i := range r.trace.Events {
		if e := &r.trace.Events[i]; e.Deadline >= latest {
			e.Deadline = latest + early
		}
	}
	txns := r.servers.Log.Txns
	first := txns[slices.IndexFunc(txns, expires)]
	judge := func(at ...time.Duration) checker.Result {
		r.servers.Log.Txns = nil
		for _, at := range at {
			txn := first
			txn.Time = r.start.Add(at).UnixMilli()
			r.servers.Log.Txns = append(r.servers.Log.Txns, txn)
		}
		const fault = "clock"
		all := func(at time.Duration, op string) history.Event {
			return history.Event{Time: at, Kind: history.Fault, Op: op, Object: fault, Client: history.Nobody, Process: history.Nobody}
		}
		h := history.New(all(latest-2*time.Second, history.FaultStart), all(latest-time.Second, history.FaultStop),
			history.Event{Time: r.trace.End, Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody})
		h.Header.Start = r.start
		for _, one := range checker.Run(t.Context(), h, r.trace.Checkers(checker.Envelope{Outside: []string{fault}, After: time.Minute}, r.servers)...) {
			if one.ID == id {
				return one
			}
		}
		t.Fatalf("there is no property %s", id)
		return checker.Result{}
	}
	for _, c := range []struct {
		at   []time.Duration
		want string
	}{
		{[]time.Duration{latest + time.Second, latest + 2*time.Second}, "the closest expiry came 999.6ms after the end of the lease"},
		{[]time.Duration{latest, latest + time.Second}, "the closest expiry came 400µs before the end of the lease, which is within the precision of the servers' times"},
		{[]time.Duration{latest - time.Second}, ""}, // exposed
	} {
		if one := judge(c.at...); one.Verdict != checker.Valid || one.Reason != c.want {
			t.Errorf("expiries at %v, the lease ends at %v: got %v, %q; want valid, %q", c.at, latest+early, one.Verdict, one.Reason, c.want)
		}
	}
}

func expires(t txnlog.Txn) bool { return t.Op == wire.OpCloseSession && t.Cxid == 0 }

const waitersAreSilent = "lease/waiters-are-silent"

// A contender that is not next sends no heartbeat. In this test, the third of three contenders
// waits for a while, becomes the second, waits again, and holds the lock. Then the test adds a
// heartbeat at each place of the trace in turn. The property must report the heartbeat only if the
// contender was the third at that time and its lease stood.
func TestHeartbeatOfAWaiterIsRefused(t *testing.T) {
	var r record
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t)
		r.start = time.Now()
		recorder := NewRecorder(r.start)
		open := func(ctx context.Context) *session.Session {
			s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}
		first, second := open(t.Context()), open(t.Context())
		third := open(leasetrace.With(t.Context(), recorder.Session(2)))
		grants := make(chan *lock.Grant)
		contend := func(s *session.Session) {
			g, err := lock.NewMutex(s, "/l", lock.Options{}).Lock(t.Context())
			if err != nil {
				t.Error(err)
			}
			grants <- g
		}
		go contend(first)
		one := <-grants
		for _, s := range []*session.Session{second, third} {
			go contend(s)
			synctest.Wait()
		}
		for range 2 {
			time.Sleep(2 * timeout)
			one.Unlock(t.Context())
			one = <-grants
		}
		time.Sleep(2 * timeout)
		one.Unlock(t.Context())
		r.trace = recorder.Seal()
	})
	if one := r.judge(t)[waitersAreSilent]; one.Verdict != checker.Valid || one.Checked != 1 {
		t.Fatalf("got %v after %d waits, want %v after 1: %s", one.Verdict, one.Checked, checker.Valid, one.Reason)
	}
	genuine := r.trace.Events
	first := func(kind leasetrace.Kind) int {
		return slices.IndexFunc(genuine, func(e Event) bool { return e.Kind == kind })
	}
	waits, next := first(leasetrace.Waiting), first(leasetrace.Expected)
	lease, refused := Never, 0
	for i, e := range genuine {
		if e.Kind == leasetrace.Opened || e.Kind == leasetrace.Answered {
			lease = e.Deadline
		}
		beat := Event{Kind: leasetrace.Heartbeat, At: e.At, Sent: Never, Deadline: Never, Session: e.Session}
		r.trace.Events = slices.Insert(slices.Clone(genuine), i+1, beat)
		want := checker.Valid
		if waits <= i && i < next && e.At < lease {
			want = checker.Invalid
			refused++
		}
		if one := r.judge(t)[waitersAreSilent]; one.Verdict != want {
			t.Errorf("a heartbeat after the %s at %v: got %v (%s), want %v",
				kindNames[e.Kind], e.At, one.Verdict, one.Reason, want)
		}
	}
	if refused == 0 {
		t.Errorf("got 0 of %d heartbeats that must be refused, want at least 1: the lease did "+
			"not stand during the wait", len(genuine))
	}
}

// The session of this test does not follow the rule of decision 1, because of UnsafeTrustIdle. The
// property lease/within-evidence must be Invalid, although the test changes nothing in the trace.
func TestOtherRuleIsRefused(t *testing.T) {
	var r record
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t)
		r.start = time.Now()
		recorder := NewRecorder(r.start)
		s, err := session.Open(leasetrace.With(t.Context(), recorder.Session(0)),
			session.Options{Servers: e.Servers(), Dial: e.DialContext, Timeout: timeout, UnsafeTrustIdle: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * timeout)
		g, err := lock.NewMutex(s, "/l", lock.Options{}).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(g.Unlock(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		r.trace = recorder.Seal()
	})
	one := r.judge(t)["lease/within-evidence"]
	if one.Verdict != checker.Invalid {
		t.Errorf("with UnsafeTrustIdle: got %v, want %v", one.Verdict, checker.Invalid)
	}
	t.Log(one.Reason)
}

// In this test, a client sends packet a (any request), then packet j (a request that goes to the
// leader and back), and then packet k (a quorum write). If packet j is sent long enough after the
// answer to packet a, it proves that the server reported packet a to the leader before packet k. So
// the lease is counted from the time at which packet a was sent. In two cases, the lease is counted
// from the handshake instead: if there is no packet j, or if packet j was sent too soon after the
// answer to packet a. Decision 1 has a picture of the three packets.
func TestRuleCountsFromTheRightPacket(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name       string
		aRead, j   time.Duration
		countsFrom time.Duration
	}{
		{name: "in time", aRead: 1010 * ms, j: 2160 * ms, countsFrom: 1000 * ms},
		{name: "too late by a nanosecond", aRead: 1010*ms + 1, j: 2160 * ms, countsFrom: 0},
		{name: "no packet between", aRead: 1010 * ms, j: 4000 * ms, countsFrom: 0},
	} {
		l := newLease()
		l.open(&Event{Sent: 0, Timeout: timeout, Tick: 2 * time.Second, Fresh: true})
		l.answer(leasetrace.Activity, 1000*ms, c.aRead, 0)
		if c.j < 3000*ms {
			l.answer(leasetrace.Leader, c.j, c.j+10*ms, 0)
		}
		l.answer(leasetrace.Majority, 3000*ms, 3010*ms, 1)
		if want := c.countsFrom + timeout - timeout/20; l.deadline != want {
			t.Errorf("%s: got a lease until %v, want %v", c.name, l.deadline, want)
		}
	}
}

func TestTraceThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "cut short",
		`{"t":1,"session":"0x1","kind":"sent"`: "line 1",
		`{"t":1,"session":"0x1","kind":"sent","op":"sync"}`:                       "cut short",
		`{"t":1,"session":"0x1","kind":"sent","op":"dance"}` + "\n" + `{"end":1}`: `unknown operation "dance"`,
		`{"t":1,"session":"0x1","kind":"answered"}` + "\n" + `{"end":1}`:          "unknown event",
		`{"t":1,"session":"x","kind":"closed"}` + "\n" + `{"end":1}`:              "line 1",
		`{"t":1,"session":"0x1","kind":"closed","more":1}` + "\n" + `{"end":1}`:   "more",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one that contains %q", text, err, want)
		}
	}
}

// A run whose sessions report nothing, for example one with clients of another library, can pass.
func TestNothingToJudge(t *testing.T) {
	r := record{trace: NewRecorder(time.Now()).Seal()}
	for id, one := range r.judge(t) {
		if one.Verdict != checker.NotExercised || !one.Optional {
			t.Errorf("%s: got %v, optional %v; want %v, true", id, one.Verdict, one.Optional, checker.NotExercised)
		}
	}
}

// A sealed recorder takes no more events.
func TestSealedRecorder(t *testing.T) {
	r := NewRecorder(time.Now())
	report := r.Session(1)
	report(leasetrace.Event{Kind: leasetrace.Opened, Session: 5})
	trace := r.Seal()
	report(leasetrace.Event{Kind: leasetrace.Closed})
	if again := r.Seal(); len(trace.Events) != 1 || len(again.Events) != 1 {
		t.Errorf("got %d and %d events, want 1 and 1", len(trace.Events), len(again.Events))
	}
	if err := trace.Write(failing{}); err == nil {
		t.Error("Write to a full disk: got no error, want one")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("full: %w", io.ErrShortWrite) }
