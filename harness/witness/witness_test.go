package witness

import (
	"bytes"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// The function `at` returns the zxid of a transaction.
func at(epoch, counter int64) int64 { return epoch<<32 | counter }

// The function `entry` returns a transaction at a time in milliseconds since the start.
func entry(zxid, session int64, ms int, op wire.Op, changes ...change) txn {
	return txn{
		TxnHeader: wire.TxnHeader{Zxid: zxid, Session: session, Time: start.UnixMilli() + int64(ms), Op: op}, Changes: changes,
	}
}

func create(path string) change {
	return change{Op: wire.OpCreate, Path: path, Ephemeral: true}
}

func remove(path string) change { return change{Op: wire.OpDelete, Path: path} }

// twoHolders returns the log of two clients that hold one lock, one after the other. The session of
// the first client expires.
func twoHolders() []txn {
	return []txn{
		entry(at(1, 1), 0xa, 0, wire.OpCreateSession),
		entry(at(1, 2), 0xb, 0, wire.OpCreateSession),
		entry(at(1, 3), 0xa, 10, wire.OpCreate, create("/l/a-0")),
		entry(at(1, 4), 0xb, 20, wire.OpCreate, create("/l/b-1")),
		entry(at(1, 5), 0xa, 5000, wire.OpCloseSession, remove("/l/a-0")),
		entry(at(1, 6), 0xb, 6000, wire.OpDelete, remove("/l/b-1")),
	}
}

func hold(ms int, client int16, op string, token int64) history.Event {
	session, node := int64(0xa), "a-0"
	if client == 1 {
		session, node = 0xb, "b-1"
	}
	return history.Event{
		Time: time.Duration(ms) * time.Millisecond, Kind: history.Hold, Op: op, Object: "/l",
		Client: client, Session: session, Token: token, Node: node,
	}
}

// The function `rightly` returns a history that the log of twoHolders explains.
func rightly() []history.Event {
	return []history.Event{
		{Time: 1, Kind: history.Session, Op: history.SessionNew, Client: 0, Session: 0xa},
		{Time: 2, Kind: history.Session, Op: history.SessionNew, Client: 1, Session: 0xb},
		hold(12, 0, history.HoldBegin, at(1, 3)),
		hold(4000, 0, history.HoldLost, at(1, 3)),
		hold(5001, 1, history.HoldBegin, at(1, 4)),
		{Time: 5002 * time.Millisecond, Kind: history.Session, Op: history.SessionExpired, Client: 0, Session: 0xa},
		hold(5990, 1, history.HoldEnd, at(1, 4)),
		{Time: 7 * time.Second, Client: history.Nobody, Kind: history.Phase, Op: history.PhaseEnd},
	}
}

func judge(t *testing.T, l *Log, events []history.Event, outside ...string) map[string]checker.Result {
	t.Helper()
	h := history.New(events...)
	h.Header.Start = start
	results := make(map[string]checker.Result)
	for _, r := range checker.Run(t.Context(), h, l.Checkers(h, checker.Envelope{Outside: outside})...) {
		results[r.Property.ID] = r
	}
	if len(results) == 0 {
		t.Fatal("got no result, want one for each property of a log")
	}
	return results
}

func TestHistoryThatTheLogExplainsIsValid(t *testing.T) {
	servers := []Server{{Name: "n0", Txns: twoHolders()}, {Name: "n1", Txns: twoHolders()}, {Name: "n2", Txns: twoHolders()[2:]}}
	for id, r := range judge(t, Merge(servers...), rightly()) {
		if r.Verdict != checker.Valid {
			t.Errorf("%s: got %v (%s), want valid", id, r.Verdict, r.Reason)
		}
	}
}

// Each case forges the history or the log. The property that the case names must be Invalid.
func TestForgeryIsFound(t *testing.T) {
	for _, c := range []struct {
		name, property string
		forge          func(events []history.Event, txns []txn) ([]history.Event, []txn)
	}{
		{"a token that no transaction has", "witness/grants-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[2].Token, e[3].Token = at(1, 99), at(1, 99)
			return e, l
		}},
		{"the token of another session", "witness/grants-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[2].Token, e[3].Token = at(1, 4), at(1, 4)
			return e, l
		}},
		{"the znode of another session", "witness/grants-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[2].Node, e[3].Node = "b-1", "b-1"
			return e, l
		}},
		{"a znode that was never created", "witness/grants-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[2].Node, e[3].Node = "c-9", "c-9"
			return e, l
		}},
		{"a loss that came too late", "witness/ended-before-deletion", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[3].Time = 5002 * time.Millisecond
			e[3], e[4] = e[4], e[3]
			return e, l
		}},
		{"a release after the deletion", "witness/ended-before-deletion", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[6].Time = 6002 * time.Millisecond
			return e, l
		}},
		{"a hold that never ended", "witness/ended-before-deletion", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			return append(e[:6:6], e[7]), l
		}},
		{"a grant before the deletion", "witness/predecessor-deleted", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[4].Time = 4999 * time.Millisecond
			return e, l
		}},
		{"a writer before the deletion of a writer", "witness/predecessor-deleted", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[4].Time, e[2].Arg, e[3].Arg, e[4].Arg = 4999*time.Millisecond, "write", "write", "write"
			return e, l
		}},
		{"a writer before the deletion of a reader", "witness/predecessor-deleted", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[4].Time, e[2].Arg, e[3].Arg, e[4].Arg = 4999*time.Millisecond, "read", "read", "write"
			return e, l
		}},
		{"an expiry that did not happen", "witness/predecessor-deleted", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			l[4] = entry(at(1, 5), 0xa, 5000, wire.OpError)
			return e, l
		}},
		{"an expiry that is not in the log", "witness/sessions-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			l[4] = entry(at(1, 5), 0xa, 5000, wire.OpDelete, remove("/l/a-0"))
			return e, l
		}},
		{"a session that is not in the log", "witness/sessions-in-log", func(e []history.Event, l []txn) ([]history.Event, []txn) {
			e[0].Session = 0xc
			return e, l
		}},
	} {
		events, txns := c.forge(rightly(), twoHolders())
		if r := judge(t, Merge(Server{Name: "n0", Txns: txns}), events)[c.property]; r.Verdict != checker.Invalid {
			t.Errorf("%s: %s is %v (%s), want invalid", c.name, c.property, r.Verdict, r.Reason)
		}
	}
}

// Readers do not exclude each other.
func TestReaderMayFollowAReaderAtOnce(t *testing.T) {
	e := rightly()
	e[4].Time, e[2].Arg, e[3].Arg, e[4].Arg = 4999*time.Millisecond, "read", "read", "read"
	if r := judge(t, Merge(Server{Name: "n0", Txns: twoHolders()}), e)["witness/predecessor-deleted"]; r.Verdict != checker.NotExercised {
		t.Errorf("got %v (%s), want not exercised", r.Verdict, r.Reason)
	}
}

// Regression: if the deletion of a znode or the end of a session was missing from all logs, the
// checkers reported a violation even if the logs had gaps.
func TestAMissingTransactionProvesNothingIfLogsHaveGaps(t *testing.T) {
	for property, missing := range map[string]txn{
		"witness/predecessor-deleted": entry(at(1, 5), 0xa, 5000, wire.OpError),
		"witness/sessions-in-log":     entry(at(1, 5), 0xa, 5000, wire.OpDelete, remove("/l/a-0")),
	} {
		for gaps, want := range map[int]bool{0: true, 1: false} {
			txns := twoHolders()
			txns[4] = missing
			l := Merge(Server{Name: "n0", Txns: txns})
			l.Gaps = gaps
			if r := judge(t, l, rightly())[property]; (r.Verdict == checker.Invalid) != want {
				t.Errorf("%s with %d gaps: got %v (%s), want invalid: %v", property, gaps, r.Verdict, r.Reason, want)
			}
		}
	}
}

func TestServersThatDifferAreFound(t *testing.T) {
	other := twoHolders()
	other[3].Changes[0].Path = "/l/x-1"
	r := judge(t, Merge(Server{Name: "n0", Txns: twoHolders()}, Server{Name: "n1", Txns: other}), rightly())["witness/servers-agree"]
	if want := "zxid 0x100000004 is create b-1 of session 0xb at 20ms in the log of n0, and create x-1 of session 0xb at 20ms in that of n1"; r.Verdict != checker.Invalid || r.Reason != want {
		t.Errorf("got %v, %q; want invalid, %q", r.Verdict, r.Reason, want)
	}
}

// In this test, the first leader wrote a grant that no majority accepted. Merge must drop this
// transaction, so a hold with this grant is a violation.
func TestUncommittedTransactionIsRefuted(t *testing.T) {
	old := Server{Name: "n0", Txns: twoHolders()[:4]}
	next := Server{Name: "n1", Txns: append(twoHolders()[:3:3], entry(at(2, 1), 0xb, 3000, wire.OpError))}
	l := Merge(old, next)
	if len(l.Refuted) != 1 || l.Refuted[0].Zxid != at(1, 4) || l.Gaps != 0 {
		t.Fatalf("got refuted %v and %d gaps, want 0x%x alone and no gap",
			l.Refuted, l.Gaps, at(1, 4))
	}
	events := append(rightly()[:2:2], hold(30, 1, history.HoldBegin, at(1, 4)), rightly()[7])
	if r := judge(t, l, events)["witness/grants-in-log"]; r.Verdict != checker.Invalid {
		t.Errorf("a grant on it: got %v (%s), want invalid", r.Verdict, r.Reason)
	}

	// Server n1 received a snapshot between the two epochs. So its log does not show the end of the
	// first epoch.
	next.Snapshots = []int64{at(1, 4)}
	if l := Merge(old, next); len(l.Refuted) != 0 || len(l.Txns) != 5 {
		t.Errorf("with a snapshot: got refuted %v and %d transactions, want none and 5",
			l.Refuted, len(l.Txns))
	}
}

// If the logs of two servers end an epoch with different zxids, the logs prove nothing about the
// last transactions of the epoch.
func TestDoubtfulEndOfAnEpochRefutesNothing(t *testing.T) {
	next := entry(at(2, 1), 0xb, 7000, wire.OpError)
	l := Merge(Server{Name: "n0", Txns: append(twoHolders(), next)}, Server{Name: "n1", Txns: append(twoHolders()[:4], next)})
	if len(l.Refuted) != 0 || len(l.Txns) != 7 {
		t.Errorf("got refuted %v and %d transactions, want none and 7", l.Refuted, len(l.Txns))
	}
}

// A flipped bit in a server's log hides the transactions after it. So a transaction that is missing
// in this log may have been committed.
func TestDamagedLogRefutesNothing(t *testing.T) {
	var b, next bytes.Buffer
	w := txnlog.NewWriter(&b)
	for counter := range int64(3) {
		if err := w.Append(wire.TxnHeader{Zxid: at(1, counter+1), Op: wire.OpCreateSession}, &wire.CreateSessionTxn{}); err != nil {
			t.Fatal(err)
		}
	}
	b.Bytes()[b.Len()-10] ^= 1
	if err := txnlog.NewWriter(&next).Append(wire.TxnHeader{Zxid: at(2, 1), Op: wire.OpCreateSession}, &wire.CreateSessionTxn{}); err != nil {
		t.Fatal(err)
	}
	damaged, err := Read("n0", fstest.MapFS{"log.100000001": {Data: b.Bytes()}, "log.200000001": {Data: next.Bytes()}})
	if err != nil || len(damaged.Txns) != 3 {
		t.Fatalf("got %d transactions, %v; want 3", len(damaged.Txns), err)
	}
	if l := Merge(damaged, Server{Name: "n1", Txns: twoHolders()}); len(l.Refuted) != 0 {
		t.Errorf("got refuted %v, want none", l.Refuted)
	}
}

func TestGapProvesNothing(t *testing.T) {
	l := Merge(Server{Name: "n0", Txns: append(twoHolders()[:2:2], twoHolders()[4:]...)})
	if l.Gaps != 1 {
		t.Errorf("got %d gaps, want 1", l.Gaps)
	}
	if r := judge(t, l, rightly())["witness/grants-in-log"]; r.Verdict != checker.NotExercised {
		t.Errorf("got %v (%s), want not exercised", r.Verdict, r.Reason)
	}
}

// In this test, the servers have lost the beginning of their logs, before the run.
func TestGapBeforeTheRunDoesNotCount(t *testing.T) {
	txns := []txn{entry(at(1, 1), 0xc, 0, wire.OpCreateSession)}
	for _, one := range twoHolders() {
		one.Zxid += 10
		txns = append(txns, one)
	}
	if l := Merge(Server{Name: "n0", Txns: txns}); l.Gaps != 1 || len(l.Txns) != 7 {
		t.Errorf("Merge: got %d gaps and %d transactions, want 1 and 7", l.Gaps, len(l.Txns))
	}
	if l := MergeAfter(at(1, 10), Server{Name: "n0", Txns: txns}); l.Gaps != 0 || len(l.Txns) != 6 {
		t.Errorf("MergeAfter: got %d gaps and %d transactions, want 0 and 6", l.Gaps, len(l.Txns))
	}
}

func TestFaultsOutsideOfTheEnvelopeExpose(t *testing.T) {
	late := rightly()
	late[3].Time = 5002 * time.Millisecond
	late[3], late[4] = late[4], late[3]
	fault := func(ms int, name, op string) history.Event {
		return history.Event{Time: time.Duration(ms) * time.Millisecond, Client: history.Nobody, Kind: history.Fault, Object: name, Op: op, Node: "c0", Step: 1}
	}
	within := append(append(late[:3:3], fault(4900, "session-close", history.FaultStart), fault(4901, "session-close", history.FaultStop)), late[3:]...)
	l := Merge(Server{Name: "n0", Txns: twoHolders()})
	if r := judge(t, l, within, "session-close")["witness/ended-before-deletion"]; r.Verdict != checker.Valid || r.Exposure != time.Millisecond {
		t.Errorf("session-close: got %v with exposure %v, want valid with %v", r.Verdict, r.Exposure, time.Millisecond)
	}
	clock := append(append(late[:3:3], fault(4900, "clock-bump", history.FaultStart), fault(4901, "clock-bump", history.FaultStop)), late[3:]...)
	if r := judge(t, l, clock)["witness/ended-before-deletion"]; r.Verdict != checker.NotExercised {
		t.Errorf("clock-bump: got %v, want not exercised", r.Verdict)
	}
}

// Regression: the program zkcoord ran a command under a lock. After the command had stopped,
// zkcoord first closed its session and then ended. The end of zkcoord was recorded as the end of
// the hold. So a command that stopped in time seemed to hold the lock for too long.
func TestLastSignOfLifeEndsAHold(t *testing.T) {
	for _, c := range []struct {
		sign time.Duration // last sign under the second hold, whose znode was deleted at 6 s
		want checker.Verdict
	}{
		{5900 * time.Millisecond, checker.Valid},
		{6002 * time.Millisecond, checker.Invalid},
		{8 * time.Second, checker.Invalid}, // the hold ended at 6.5 s, which is too late
	} {
		events := rightly()
		events[6].Time = 6500 * time.Millisecond
		sign := history.Event{Time: 6600 * time.Millisecond, Client: 1, Kind: history.Fact, Op: history.FactLastSign, Token: at(1, 4),
			Result: start.Add(c.sign).Format(time.RFC3339Nano)}
		r := judge(t, Merge(Server{Name: "n0", Txns: twoHolders()}), append(events[:7:7], sign, events[7]))["witness/ended-before-deletion"]
		if r.Verdict != c.want {
			t.Errorf("last sign after %v: got %v (%s), want %v", c.sign, r.Verdict, r.Reason, c.want)
		}
	}
}

// On a real clock, the end of a hold may be recorded up to handOver too late, even if no timer was
// late. On a virtual clock, the record must not be late.
func TestRecorderMayBeLateOnARealClock(t *testing.T) {
	for _, c := range []struct {
		late time.Duration
		real bool
		want checker.Verdict
	}{
		{resolution, false, checker.Valid},
		{resolution + time.Microsecond, false, checker.Invalid},
		{resolution + handOver, true, checker.Valid},
		{resolution + handOver + time.Microsecond, true, checker.Invalid},
	} {
		events := rightly()
		events[6].Time = 6*time.Second + c.late
		if c.real { // a recorded lag marks the clock as real; this lag does not cover the end of the hold
			lag := history.Event{Time: 7 * time.Second, Client: history.Nobody, Kind: history.Fact, Op: history.FactLag, Arg: "10ms", Result: "1us"}
			events = append(events[:7:7], lag, events[7])
		}
		r := judge(t, Merge(Server{Name: "n0", Txns: twoHolders()}), events)["witness/ended-before-deletion"]
		if r.Verdict != c.want {
			t.Errorf("%v late, real clock %v: got %v (%s), want %v", c.late, c.real, r.Verdict, r.Reason, c.want)
		}
	}
}

// A transaction that closes a session may list no ephemerals. Then it deletes all ephemerals of the
// session.
func TestUnlistedCloseDeletesEphemerals(t *testing.T) {
	txns := twoHolders()
	txns[4].Changes, txns[4].Unlisted = nil, true
	life := Merge(Server{Name: "n0", Txns: txns}).Life(at(1, 3), "a-0")
	if life.Deleted != at(1, 5) || !life.Closed {
		t.Errorf("got %+v, want it deleted by transaction 0x%x because its session ended",
			life, at(1, 5))
	}
}

func TestNoLogIsNotExercised(t *testing.T) {
	var l *Log
	for id, r := range judge(t, l, rightly()) {
		if r.Verdict != checker.NotExercised || !r.Optional {
			t.Errorf("%s: got %v, optional %v; want not exercised, true", id, r.Verdict, r.Optional)
		}
	}
}

func TestReadSortsFilesByZxid(t *testing.T) {
	dir := make(fstest.MapFS)
	for _, zxids := range [][]int64{{at(1, 1), at(1, 2)}, {at(1, 3)}, {at(0x10, 1)}} {
		var b bytes.Buffer
		w := txnlog.NewWriter(&b)
		for _, zxid := range zxids {
			if err := w.Append(wire.TxnHeader{Zxid: zxid, Op: wire.OpCreateSession}, &wire.CreateSessionTxn{}); err != nil {
				t.Fatal(err)
			}
		}
		b.WriteString("\x00\x00\x00\x00\x00\x01") // a torn end, like the one that each kill leaves
		dir[fmt.Sprintf("log.%x", zxids[0])] = &fstest.MapFile{Data: b.Bytes()}
	}
	dir["snapshot.0"], dir["snapshot.100000002.gz"], dir["currentEpoch"] = &fstest.MapFile{}, &fstest.MapFile{}, &fstest.MapFile{}
	s, err := Read("n0", dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, one := range s.Txns {
		got = append(got, one.Zxid)
	}
	if want := fmt.Sprint([]int64{at(1, 1), at(1, 2), at(1, 3), at(0x10, 1)}); fmt.Sprint(got) != want || !s.Torn || fmt.Sprint(s.Snapshots) != fmt.Sprint([]int64{0, at(1, 2)}) {
		t.Errorf("got %x, torn %v, snapshots %x; want %s, true, [0 100000002]", got, s.Torn, s.Snapshots, want)
	}
	dir["log.300000001"] = &fstest.MapFile{Data: []byte("no log at all, but text")}
	if _, err := Read("n0", dir); err == nil {
		t.Error("Read of a file that is not a log: got no error, want one")
	}
}
