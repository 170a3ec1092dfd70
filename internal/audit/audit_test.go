package audit

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/waits"
	"github.com/zkcoord/zkcoord/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "0123456789abcdef0123456789abcdef"

// The function `parse` reads one transaction per line: the time in milliseconds, the session, and
// the operations. The number of the line, from 1, is the zxid.
func parse(t testing.TB, text string) (txns []txnlog.Txn) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(text)) {
		words := strings.Fields(line)
		x := txnlog.Txn{TxnHeader: wire.TxnHeader{Zxid: int64(len(txns) + 1), Op: wire.OpMulti, Cxid: 1}}
		if _, err := fmt.Sscanf(words[0]+" "+words[1], "%d %d", &x.Time, &x.Session); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for i := 2; i < len(words); i += 2 {
			c := txnlog.Change{Ephemeral: true}
			if i+1 < len(words) {
				path, data, _ := strings.Cut(words[i+1], "=")
				c.Path, c.Data = strings.ReplaceAll(path, "ID", id), []byte(strings.ReplaceAll(data, "ID", id+" "))
			}
			switch words[i] {
			case "open":
				x.Op, x.Timeout = wire.OpCreateSession, 4000
				continue
			case "expire", "close", "close-unlisted":
				x.Op, x.Unlisted = wire.OpCloseSession, words[i] == "close-unlisted"
				if words[i] == "expire" {
					x.Cxid = 0
				}
				for i++; i < len(words); i++ {
					x.Changes = append(x.Changes, txnlog.Change{Op: wire.OpDelete, Path: strings.ReplaceAll(words[i], "ID", id)})
				}
				continue
			case "create":
				c.Op = wire.OpCreate
			case "lasting":
				c.Op, c.Ephemeral = wire.OpCreate, false
			case "container":
				c.Op, c.Ephemeral, c.Container = wire.OpCreate, false, true
			case "delete":
				c.Op = wire.OpDelete
			case "set":
				c.Op = wire.OpSetData
			case "request": // a transaction that changes nothing
				continue
			default:
				t.Fatalf("%q: unknown word %q", line, words[i])
			}
			x.Changes = append(x.Changes, c)
		}
		txns = append(txns, x)
	}
	return txns
}

func noError(txns []txnlog.Txn) iter.Seq2[txnlog.Txn, error] {
	return func(yield func(txnlog.Txn, error) bool) {
		for _, t := range txns {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func ms(n int64) time.Time { return time.UnixMilli(n) }

func spansOf(t testing.TB, start Start, under, text string) (all []Span) {
	t.Helper()
	for s, err := range Spans(start, under, noError(parse(t, text))) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// The function `show` writes spans as a table. A line has the session, the kind, the place, the
// times of Served and Ended, and the end.
func show(spans []Span) string {
	var b strings.Builder
	for _, s := range spans {
		served, ended := "-", "-"
		if !s.Served.IsZero() {
			served = fmt.Sprint(s.Served.UnixMilli())
		}
		if s.End != Stands {
			ended = fmt.Sprint(s.Ended.UnixMilli())
		}
		fmt.Fprintf(&b, "%d %s %s %s-%s %s", s.Session, s.Kind, s.Place, served, ended, s.End)
		if s.Shared {
			b.WriteString(" shared")
		}
		if s.Label != "" {
			fmt.Fprintf(&b, " %q", s.Label)
		}
		if s.After != nil {
			fmt.Fprintf(&b, " after %d", s.After.Session)
		}
		if s.Abandoned != "" {
			b.WriteString(" abandoned")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestSpans(t *testing.T) {
	for _, c := range []struct{ name, txns, want string }{
		{"a lock is passed on", `
			0 1 open
			0 2 open
			10 1 create /l/ID-lock-0000000000=one
			20 2 create /l/ID-lock-0000000001=two
			30 1 set /l/ID-lock-0000000000=mark delete /l/ID-lock-0000000000
			40 2 delete /l/ID-lock-0000000001`, `
			1 lock /l 10-30 released "one"
			2 lock /l 30-40 released "two"`},
		{"a holder expires, and the one that waits takes over", `
			0 1 open
			0 2 open
			10 1 create /l/x__lock__0000000000
			20 2 create /l/_c_y-lock-0000000001
			4020 1 expire /l/x__lock__0000000000
			4030 2 close /l/_c_y-lock-0000000001`, `
			1 lock /l 10-4020 expired
			2 lock /l 4020-4030 closed after 1`},
		{"the successor comes later", `
			10 1 create /l/x-lock-0000000000
			20 2 delete /l/x-lock-0000000000
			30 3 create /l/x-lock-0000000001`, `
			1 lock /l 10-20 revoked
			3 lock /l 30--  after 1`},
		{"a contender gives up", `
			10 1 create /l/x-lock-0000000000
			20 2 create /l/x-lock-0000000001
			30 2 delete /l/x-lock-0000000001
			40 1 delete /l/x-lock-0000000000`, `
			2 lock /l --30 released
			1 lock /l 10-40 released`},
		{"readers share, a writer waits", `
			10 1 create /l/x__READ__0000000000
			20 2 create /l/x__READ__0000000001
			30 3 create /l/x__WRIT__0000000002
			40 4 create /l/x__READ__0000000003
			50 1 delete /l/x__READ__0000000000
			60 2 delete /l/x__READ__0000000001
			70 3 delete /l/x__WRIT__0000000002
			80 4 delete /l/x__READ__0000000003`, `
			1 lock /l 10-50 released shared
			2 lock /l 20-60 released shared
			3 lock /l 60-70 released
			4 lock /l 70-80 released shared`},
		{"a writer becomes a reader", `
			10 1 create /l/ID-__WRIT__0000000000
			20 2 create /l/ID-__READ__0000000001
			30 1 set /l/ID-__WRIT__0000000000=x
			40 1 delete /l/ID-__WRIT__0000000000
			50 2 delete /l/ID-__READ__0000000001`, `
			1 lock /l 10-30 downgraded
			1 lock /l 30-40 released shared
			2 lock /l 30-50 released shared`},
		{"an election, in which a leader proclaims something", `
			10 1 create /e/ID-latch-0000000000=one
			20 2 create /e/x__lock__0000000001
			30 1 set /e/ID-latch-0000000000=new
			40 1 delete /e/ID-latch-0000000000`, `
			1 election /e 10-40 released "new"
			2 election /e 40-- `},
		{"claims on items", `
			10 1 create /q/items/0/0000000001/1.1-0000000001/c
			20 2 create /q/items/0/0000000001/2.2-0000000002/c
			30 3 create /q/items/0/0000000001/3.3-0000000003/c
			40 1 delete /q/items/0/0000000001/1.1-0000000001/c delete /q/items/0/0000000001/1.1-0000000001
			50 2 delete /q/items/0/0000000001/2.2-0000000002/c
			60 3 delete /q/items/0/0000000001/3.3-0000000003/c delete /q/items/0/0000000001/3.3-0000000003 lasting /q/dead/items/0/0000000001/1.1-0000000000`, `
			1 queue /q 10-40 acked
			2 queue /q 20-50 released
			3 queue /q 30-60 rejected`},
		{"members, permits, and an ephemeral in no layout", `
			10 1 create /g/ID-worker-0000000000=host
			20 2 create /s/leases/ID-lease-3
			30 3 create /master=here
			40 3 lasting /config
			50 3 lasting /g/ID-worker-0000000001
			60 3 close-unlisted`, `
			3 node /master 30-60 closed "here"
			1 group /g 10--  "host"
			2 semaphore /s 20-- `},
		{"kazoo's semaphore and its claims", `
			10 1 lasting /s lasting /s-__lock__
			20 1 create /s-__lock__/x__lock__0000000000
			30 1 create /s/ID=host
			40 1 delete /s-__lock__/x__lock__0000000000
			50 2 create /q/taken/entry-100-0000000007 create /other/ID
			60 1 delete /s/ID
			70 2 delete /q/entries/entry-100-0000000007 delete /q/taken/entry-100-0000000007`, `
			1 lock /s-__lock__ 20-40 released
			1 semaphore /s 30-60 released "host"
			2 queue /q 50-70 acked
			2 node /other/0123456789abcdef0123456789abcdef 50-- `},
		{"Curator's members, and an Exclusive in a container", `
			10 1 container /g
			20 1 create /g/one=10.0.0.1 create /g/lock=IDweb
			30 2 create /g/two
			40 1 expire /g/one /g/lock
			50 2 create /g/one create /g/lock=IDother
			60 2 delete /g/one delete /g/lock delete /g/two delete /g
			70 2 create /g/three`, `
			1 group /g 20-40 expired "10.0.0.1"
			1 lock /g/lock 20-40 expired "web"
			2 group /g 50-60 released
			2 lock /g/lock 50-60 released "other"
			2 group /g 30-60 released
			2 node /g/three 70-- `},
		{"what nobody deletes", `
			0 2 open
			10 1 lasting /l/x-lock-0000000000
			20 2 create /l/x-lock-0000000001
			30 2 expire`, `
			1 lock /l 10--  abandoned
			2 lock /l ---  abandoned`},
		{"the numbers wrap", `
			10 1 create /l/x-lock-2147483647
			20 2 create /l/x-lock--2147483648
			30 1 delete /l/x-lock-2147483647`, `
			1 lock /l 10-30 released
			2 lock /l 30-- `},
	} {
		want := strings.ReplaceAll(strings.TrimPrefix(c.want, "\n"), "\t", "") + "\n"
		if got := show(spansOf(t, Start{}, "/", c.txns)); got != want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, want)
		}
	}
}

// In this test, the logs begin while session 1 holds a lock and session 2 waits for it. The
// snapshot already has the znode of session 3, which the first transaction of the logs creates. A
// real snapshot may have such a znode, because a server applies transactions while it writes a
// snapshot.
func TestLogsThatBeginLate(t *testing.T) {
	start := Start{Zxid: 0, Sessions: map[int64]int32{1: 4000, 2: 6000}}
	for i, session := range []int64{1, 2} {
		start.Add(txnlog.Node{Path: fmt.Sprintf("/l/x-lock-000000000%d", i), Session: session, Czxid: -2 + int64(i), Created: int64(i)})
	}
	start.Add(txnlog.Node{Path: "/l/x-lock-0000000003", Session: 3, Czxid: 1, Created: 100})
	start.Add(txnlog.Node{Path: "/config"})
	start.Add(txnlog.Node{Path: "/l", Container: true})
	spans := spansOf(t, start, "/l", `
		100 3 create /l/x-lock-0000000003 create /l/member
		4000 1 expire /l/x-lock-0000000000
		4001 2 delete /l/x-lock-0000000001`)
	want := "1 lock /l 100-4000 expired\n2 lock /l 4000-4001 released after 1\n3 group /l 100-- \n3 lock /l 4001-- \n"
	if got := show(spans); got != want || spans[1].Timeout != 6*time.Second || !spans[0].Created.Equal(ms(0)) {
		t.Errorf("got\n%swith %v and %v, want\n%swith 6s and the time of its creation", got, spans[1].Timeout, spans[0].Created, want)
	}
}

// In this test, session 1 became a reader before the snapshot, so it does not block session 2.
// Session 3 becomes a reader after the snapshot, but the snapshot already has the data of this
// change. A real snapshot may have such data, because a server applies transactions while it writes
// a snapshot.
func TestReadersInASnapshot(t *testing.T) {
	const writer, reader = "-__WRIT__000000000", "-__READ__000000000"
	start := Start{Zxid: 9, Sessions: map[int64]int32{1: 4000, 2: 4000, 3: 4000, 4: 4000}}
	for _, n := range []txnlog.Node{
		{Path: "/a/" + id + writer + "0", Session: 1, Czxid: 2, Mzxid: 4},
		{Path: "/a/" + id + reader + "1", Session: 2, Czxid: 3, Mzxid: 3},
		{Path: "/b/" + id + writer + "0", Session: 3, Czxid: 5, Mzxid: 10},
		{Path: "/b/" + id + reader + "1", Session: 4, Czxid: 6, Mzxid: 6},
	} {
		start.Add(n)
	}
	spans := spansOf(t, start, "/", `
		100 3 set /b/ID-__WRIT__0000000000=x
		200 1 delete /a/ID-__WRIT__0000000000
		300 2 delete /a/ID-__READ__0000000001
		400 3 delete /b/ID-__WRIT__0000000000
		500 4 delete /b/ID-__READ__0000000001`)
	want := "3 lock /b 100-100 downgraded\n1 lock /a 100-200 released shared\n2 lock /a 100-300 released shared\n" +
		"3 lock /b 100-400 released shared\n4 lock /b 100-500 released shared\n"
	if got := show(spans); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestOnlyWhatIsBelowAPath(t *testing.T) {
	const txns = `
		10 1 create /a/l/x-lock-0000000000
		20 1 create /ab/x-lock-0000000000
		30 1 create /a/x-lock-0000000000`
	for under, want := range map[string]int{"/": 3, "/a": 2, "/a/l": 1, "/a/l/x": 0} {
		if got := len(spansOf(t, Start{}, under, txns)); got != want {
			t.Errorf("below %s: got %d spans, want %d", under, got, want)
		}
	}
}

func TestTimesOfATakeover(t *testing.T) {
	spans := spansOf(t, Start{}, "/", `
		0 1 open
		10 1 create /l/x-lock-0000000000
		20 2 create /l/x-lock-0000000001
		1000 1 request x
		5000 1 expire /l/x-lock-0000000000`)
	first, next := spans[0], spans[1]
	if first.Silent != 4*time.Second || first.Held(ms(9000)) != 4990*time.Millisecond || next.Waited(ms(9000)) != 4980*time.Millisecond || next.Held(ms(9000)) != 4*time.Second {
		t.Errorf("got silent %v, held %v, waited %v, held %v; want 4s, 4.99s, 4.98s, 4s", first.Silent, first.Held(ms(9000)), next.Waited(ms(9000)), next.Held(ms(9000)))
	}
}

// twoHolders has the transactions of the servers: session 1 expires at 5 s, and then session 2
// holds.
const twoHolders = `
	0 1 open
	0 2 open
	1000 1 create /l/x-lock-0000000000=one
	2000 2 create /l/x-lock-0000000001=two
	5000 1 expire /l/x-lock-0000000000
	9000 2 delete /l/x-lock-0000000001
	10000 2 request`

// says returns the line of a client's log at a time in milliseconds.
func says(at int64, message, path string, token, session int64) string {
	return fmt.Sprintf(`{"time":%q,"level":"INFO","msg":%q,"path":%q,"token":%d,"session":"0x%x","client":"c%d"}`+"\n",
		ms(at).UTC().Format(time.RFC3339Nano), message, path, token, session, session)
}

func conflictsOf(t *testing.T, txns, log string) []string {
	t.Helper()
	claims, err := ReadClaims("log", strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	spans := slices.DeleteFunc(spansOf(t, Start{}, "/", txns), func(s Span) bool { return !Relevant(claims)(s) })
	for _, c := range Compare(claims, spans, 100*time.Millisecond, ms(0), ms(10000)) {
		text := fmt.Sprintf("line %d %s %d-%d", c.Claim.Line, c.Why, c.From.UnixMilli(), c.To.UnixMilli())
		for _, o := range c.Others {
			text += fmt.Sprintf(" %d:%d-%d,%v", o.Span.Session, o.From.UnixMilli(), o.To.UnixMilli(), o.Claims)
		}
		all = append(all, text)
	}
	return all
}

func TestClaimsAreComparedWithTheLog(t *testing.T) {
	const node0, node1 = "/l/x-lock-0000000000", "/l/x-lock-0000000001"
	second := says(5001, holdBegins, node1, 4, 2) + says(8999, holdEnds, node1, 4, 2)
	for _, c := range []struct{ name, log, want string }{
		{"right", says(1001, holdBegins, node0, 3, 1) + says(4999, holdEnds, node0, 3, 1) + second, ""},
		{"within the difference of clocks", says(901, holdBegins, node0, 3, 1) + says(5099, holdEnds, node0, 3, 1) + second, ""},
		{"outlived", says(1001, holdBegins, node0, 3, 1) + second + says(9500, holdEnds, node0, 3, 1), "line 1 outlived 5000-9500 2:5000-9000,true"},
		{"outlived, and never noticed", says(1001, holdBegins, node0, 3, 1) + says(7000, "something else", "", 0, 1), "line 1 outlived 5000-7000 2:5000-7000,false"},
		{"early", says(4000, holdBegins, node1, 4, 2) + says(8000, holdEnds, node1, 4, 2), "line 1 early 4000-5000 1:4000-5000,false"},
		{"begun after its znode was gone", says(6000, holdBegins, node0, 3, 1) + says(7000, holdEnds, node0, 3, 1), "line 1 outlived 6000-7000 2:6000-7000,false"},
		{"another token", says(1001, holdBegins, node0, 9, 1) + says(4000, holdEnds, node0, 9, 1), "line 1 unknown 1001-4000"},
		{"by the path of the lock, without a token", says(1001, holdBegins, "/l", 0, 1) + says(6000, holdEnds, "/l", 0, 1), "line 1 outlived 5000-6000 2:5000-6000,false"},
		{"by the path of the lock, with a token", says(1001, holdBegins, "/l", 3, 1) + says(6000, holdEnds, "/l", 3, 1), "line 1 outlived 5000-6000 2:5000-6000,false"},
		{"a session that contended for nothing", says(1001, holdBegins, "/l", 0, 7) + says(6000, holdEnds, "/l", 0, 7), "line 1 unknown 1001-6000"},
		{"before the logs begin", says(50, holdBegins, "/l", 9, 1) + says(6000, holdEnds, "/l", 9, 1), ""},
		{"other lines", "text\n{\"a\":1}\n[]\n" + says(1001, holdEnds, node0, 3, 1) + second, ""},
	} {
		if got := strings.Join(conflictsOf(t, twoHolders, c.log), "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// In this test, a program that logs no tokens acquires the lock many times. Each of its claims must
// match a different znode.
func TestClaimsWithoutTokensMatchTheirTurns(t *testing.T) {
	var txns, log strings.Builder
	for i := range int64(50) {
		at := 1000 + 20*i
		fmt.Fprintf(&txns, "%d 1 create /l/x-lock-%010d\n%d 1 delete /l/x-lock-%010d\n", at, i, at+10, i)
		log.WriteString(says(at+1, holdBegins, "/l", 0, 1) + says(at+9, holdEnds, "/l", 0, 1))
	}
	if got := conflictsOf(t, txns.String(), log.String()); len(got) > 0 {
		t.Errorf("got %q, want none", got)
	}
}

// If a writer becomes a reader, the client's log can have one hold, or two: one as a writer and one
// as a reader. Compare must accept both forms.
//
// The token in the claim of a permit is the czxid of the contender's znode in the semaphore's lock
// queue. In this test, the servers' logs do not show that znode. The claim must match the permit's
// own znode nevertheless.
func TestClaimsOfReadersAndPermits(t *testing.T) {
	const txns = `
		1000 1 create /l/ID-__WRIT__0000000000
		2000 1 set /l/ID-__WRIT__0000000000=x
		3000 1 delete /l/ID-__WRIT__0000000000
		4000 2 create /s/leases/ID-lease-1
		6000 2 delete /s/leases/ID-lease-1
		9000 2 request`
	// This log has two holds, which must both match the one znode. The first hold is short, because
	// the writer noticed late that it had the lock.
	late := says(1850, holdBegins, "/l", 1, 1) + says(2000, holdEnds, "/l", 1, 1) + says(2001, holdBegins, "/l", 1, 1) + says(2999, holdEnds, "/l", 1, 1)
	if got := conflictsOf(t, txns, late); len(got) > 0 {
		t.Errorf("a writer and then a reader: got %q, want none", got)
	}
	// Here the session of a writer expires while the writer becomes a reader.
	const lost = `
		1000 1 create /l/ID-__WRIT__0000000000
		5000 1 expire /l/ID-__WRIT__0000000000
		9000 2 request`
	log := says(1001, holdBegins, "/l", 1, 1) + says(4000, holdEnds, "/l", 1, 1) + says(4000, holdBegins, "/l", 1, 1)
	for to, want := range map[int64]string{4000: "", 5500: "line 3 outlived 5000-5500"} {
		if got := strings.Join(conflictsOf(t, lost, log+says(to, holdEnds, "/l", 1, 1)), "; "); got != want {
			t.Errorf("a lost writer until %d: got %q, want %q", to, got, want)
		}
	}
	node, lease := "/l/"+id+"-__WRIT__0000000000", "/s/leases/"+id+"-lease-1"
	for to, want := range map[int64]string{2900: "", 3500: "line 1 outlived 3000-3500"} {
		if got := strings.Join(conflictsOf(t, txns, says(1001, holdBegins, node, 1, 1)+says(to, holdEnds, node, 1, 1)), "; "); got != want {
			t.Errorf("a reader until %d: got %q, want %q", to, got, want)
		}
	}
	for to, want := range map[int64]string{5900: "", 6500: "line 1 outlived 6000-6500"} {
		for _, path := range []string{"/s", lease} {
			if got := strings.Join(conflictsOf(t, txns, says(4001, holdBegins, path, 3, 2)+says(to, holdEnds, path, 3, 2)), "; "); got != want {
				t.Errorf("a permit at %s until %d: got %q, want %q", path, to, got, want)
			}
		}
	}
}

// In this test, the client notices its first permit late: shortly before its second permit is
// granted. If claims were matched with permits by their times alone, the claim on the first permit
// would match the second permit.
func TestClaimsOfPermitsMatchByTheirTokens(t *testing.T) {
	const txns = `
		1000 1 create /s/locks/ID-lock-0000000000
		1001 1 create /s/leases/ID-lease-1 delete /s/locks/ID-lock-0000000000
		2000 1 delete /s/leases/ID-lease-1
		2050 1 create /s/locks/ID-lock-0000000001
		2051 1 create /s/leases/ID-lease-2 delete /s/locks/ID-lock-0000000001
		3000 1 delete /s/leases/ID-lease-2
		9000 1 request`
	first := says(1990, holdBegins, "/s", 1, 1) + says(1999, holdEnds, "/s", 1, 1)
	for to, want := range map[int64]string{2999: "", 3500: "line 3 outlived 3000-3500"} {
		second := says(2150, holdBegins, "/s", 4, 1) + says(to, holdEnds, "/s", 4, 1)
		if got := strings.Join(conflictsOf(t, txns, first+second), "; "); got != want {
			t.Errorf("until %d: got %q, want %q", to, got, want)
		}
	}
}

// Members of a group exclude each other only if they have the same name. For every kind of place, a
// claim can name the znode instead of the place.
func TestClaimsOfMembers(t *testing.T) {
	const txns = `
		1 1 container /g
		2 1 lasting /s-__lock__
		1000 1 create /g/one create /s/ID create /g/ID__party__
		2000 2 create /g/two
		3000 1 expire /g/one /s/ID /g/ID__party__
		4000 3 create /g/one
		8000 3 request`
	for path, want := range map[string]string{
		"/g/one": "line 1 outlived 3000-6000 3:4000-6000,false", "/s/" + id: "line 1 outlived 3000-6000",
		"/g/" + id + "__party__": "line 1 outlived 3000-6000", "/g/three": "line 1 unknown 1001-6000",
	} {
		log := says(1001, holdBegins, path, 0, 1) + says(6000, holdEnds, path, 0, 1)
		if got := strings.Join(conflictsOf(t, txns, log), "; "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestSummaryKeepsTheLastSpans(t *testing.T) {
	var s Summary
	s.Most = 3
	for i := range int64(100) {
		one := Span{Place: "/l", Kind: waits.Lock, Session: i % 10, Token: i, Created: ms(i), Served: ms(i), Ended: ms(i + 1), End: Expired}
		if i == 7 {
			one.Created = ms(-50)
		}
		if i%2 == 1 {
			one.After = &Span{}
		}
		s.Add(one, ms(1000))
	}
	p := s.Places()[0]
	if len(p.Last) != 3 || p.Last[2].Token != 99 || p.Granted != 100 || p.Longest.Token != 7 || s.Expired != 10 || p.Ends[Expired] != 100 || len(s.Takeovers) > 6 {
		t.Errorf("got %d spans, last token %d, %d granted, longest token %d, %d ends by expiry, %d expired sessions, %d takeovers; want 3, 99, 100, 7, 100, 10, at most 6",
			len(p.Last), p.Last[len(p.Last)-1].Token, p.Granted, p.Longest.Token, p.Ends[Expired], s.Expired, len(s.Takeovers))
	}
}
