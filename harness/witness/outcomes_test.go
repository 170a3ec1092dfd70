package witness

import (
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// The function `lasting` creates a znode that is not ephemeral.
func lasting(path, data string) change {
	return change{Op: wire.OpCreate, Path: path, Data: []byte(data)}
}

func set(path, data string) change {
	return change{Op: wire.OpSetData, Path: path, Data: []byte(data)}
}

// outcomesLog is the log of a queue, a group and a counter that sessions a and b use. Transaction n
// is committed at 10*n ms, except the last one.
func outcomesLog() []txn {
	return []txn{
		entry(at(1, 1), 0xa, 10, wire.OpCreateSession),
		entry(at(1, 2), 0xb, 20, wire.OpCreateSession),
		entry(at(1, 3), 0xa, 30, wire.OpMulti, lasting("/q/items/0/1/0.1-0", "\x04\"v1\"\x04\"v2\"")),
		entry(at(1, 4), 0xa, 40, wire.OpMulti, lasting("/q/items/0/1/2.2-1", "\x05\"v12\"")),
		// v1 is taken, and v2 stays.
		entry(at(1, 5), 0xb, 50, wire.OpMulti, remove("/q/items/0/1/0.1-0"), lasting("/q/items/0/1/1.1-2", "\x04\"v2\"")),
		entry(at(1, 6), 0xb, 60, wire.OpMulti, create("/q/items/0/1/1.1-2/c")),
		entry(at(1, 7), 0xb, 70, wire.OpMulti, remove("/q/items/0/1/1.1-2/c")), // returned
		entry(at(1, 8), 0xb, 80, wire.OpMulti, create("/q/items/0/1/1.1-2/c")),
		entry(at(1, 9), 0xb, 90, wire.OpMulti, remove("/q/items/0/1/1.1-2/c"), remove("/q/items/0/1/1.1-2")), // acknowledged
		entry(at(1, 10), 0xb, 100, wire.OpMulti, create("/q/items/0/1/2.2-1/c")),
		entry(at(1, 11), 0xb, 110, wire.OpMulti, remove("/q/items/0/1/2.2-1/c"), remove("/q/items/0/1/2.2-1"), lasting("/q/dead/items/0/1/0.0-0", "\x05\"v12\"")),
		entry(at(1, 12), 0xa, 120, wire.OpCreate, create("/g/0123-m1-0000000000")),
		entry(at(1, 13), 0xa, 130, wire.OpDelete, remove("/g/0123-m1-0000000000")),
		entry(at(1, 14), 0xa, 140, wire.OpCreate, lasting("/n", "")),
		entry(at(1, 15), 0xa, 150, wire.OpSetData, set("/n", "5")),
		entry(at(1, 16), 0xb, 160, wire.OpSetData, set("/n", "\x00\x00\x00\x00\x00\x00\x00\x07")),
		entry(at(1, 17), 0xb, 300, wire.OpCloseSession),
	}
}

// outcomesHistory is a history that outcomesLog explains.
const outcomesHistory = `
25ms c0 invoke put /q arg=v1 session=0xa
31ms c0 ok put /q arg=v1 session=0xa
35ms c0 invoke put /q arg=v12 session=0xa
41ms c0 info put /q arg=v12 session=0xa
42ms c0/p10 invoke put /q arg=v2 session=0xa
43ms c0/p10 info put /q arg=v2 session=0xa
44ms c0/p11 invoke put /q arg=v3 session=0xa
45ms c0/p11 fail put /q arg=v3 session=0xa
46ms c0/p11 invoke put /q arg=v4 session=0xa
47ms c0/p11 info put /q arg=v4 session=0xa
48ms c1 invoke take /q session=0xb
51ms c1 ok take /q result=v1 session=0xb
55ms c1 invoke claim /q session=0xb
61ms c1 ok claim /q result=v2 token=0x100000006 session=0xb
65ms c1 invoke return /q arg=v2 session=0xb
71ms c1 ok return /q arg=v2 session=0xb
75ms c1 invoke claim /q session=0xb
81ms c1 ok claim /q result=v2 token=0x100000008 session=0xb
85ms c1 invoke ack /q arg=v2 token=0x100000008 session=0xb
91ms c1 ok ack /q arg=v2 token=0x100000008 session=0xb
95ms c1 invoke claim /q session=0xb
101ms c1 ok claim /q result=v12 token=0x10000000a session=0xb
105ms c1 invoke reject /q arg=v12 session=0xb
111ms c1 ok reject /q arg=v12 session=0xb
112ms c1 invoke take /q session=0xb
113ms c1 fail take /q session=0xb
115ms c0/p12 invoke join /g arg=m1 session=0xa
121ms c0/p12 ok join /g arg=m1 session=0xa
122ms c0/p12 invoke members /g arg=sync session=0xa
123ms c0/p12 ok members /g result=m1@10000000c session=0xa
125ms c0/p12 invoke leave /g arg=m1 session=0xa
131ms c0/p12 ok leave /g arg=m1 session=0xa
141ms c0/p12 invoke get /n session=0xa
142ms c0/p12 ok get /n result=0 session=0xa
145ms c0/p12 invoke add /n arg=5 session=0xa
151ms c0/p12 ok add /n result=5 session=0xa
155ms c1 invoke compare-and-set /n arg="5 7" session=0xb
161ms c1 ok compare-and-set /n arg="5 7" result=swapped session=0xb
162ms c1 invoke compare-and-set /n arg="5 8" session=0xb
163ms c1 ok compare-and-set /n arg="5 8" session=0xb
164ms c1 invoke add /n arg=1 session=0xb
165ms c1 info add /n arg=1 session=0xb
400ms - phase end
`

// outcomesOf judges outcomesHistory after replacements in its text. The edits are pairs of an old
// and a new text.
func outcomesOf(t *testing.T, txns []txn, edits ...string) map[string]checker.Result {
	t.Helper()
	text := outcomesHistory
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("got no %q in the history, want it there, so that it can be replaced by %q",
				edits[i], edits[i+1])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	h, err := history.ParseText(strings.NewReader(text))
	if err != nil {
		t.Fatalf("parse the history after the edits %q: %v", edits, err)
	}
	return judge(t, Merge(Server{Name: "n0", Txns: txns}), h.Events)
}

func TestOutcomesThatTheLogExplains(t *testing.T) {
	results := outcomesOf(t, outcomesLog())
	for id, note := range map[string]string{
		"witness/items-in-log": "3 operations whose clients did not learn the outcome: 2 were applied, 1 were not " +
			"(put of v12 at /q of c0 was applied by transaction 0x100000004; put of v2 at /q of c0 was applied by transaction 0x100000003; put of v4 at /q of c0 was not applied)",
		"witness/members-in-log": "",
		"witness/counts-in-log":  "1 operations whose clients did not learn the outcome: 0 were applied, 1 were not (add of 1 at /n of c1 was not applied)",
	} {
		r := results[id]
		if r.Verdict != checker.Valid || r.Checked == 0 || r.Reason != note {
			t.Errorf("%s: got %v (%s), %d checked; want valid with %q", id, r.Verdict, r.Reason, r.Checked, note)
		}
	}
}

// Each case edits outcomesHistory. The property that the case names must be Invalid, and the other
// properties about outcomes must be Valid.
func TestForgedOutcomesAreFound(t *testing.T) {
	for _, c := range []struct {
		name, property string
		edits          []string
	}{
		{"a put that nobody wrote", "items", []string{"45ms c0/p11 fail put", "45ms c0/p11 ok put"}},
		{"a put that was applied, although it failed", "items", []string{"41ms c0 info put", "41ms c0 fail put"}},
		{"a put that was applied after it had ended", "items", []string{"31ms c0 ok put", "28ms c0 ok put"}},
		{"a put that was applied before it began", "items", []string{"25ms c0 invoke put /q arg=v1", "34ms c0 invoke put /q arg=v1", "31ms c0 ok put /q arg=v1", "34ms c0 ok put /q arg=v1"}},
		{"a put of another session", "items", []string{"put /q arg=v1 session=0xa", "put /q arg=v1 session=0xb"}},
		{"a take of an item that stays", "items", []string{"ok take /q result=v1", "ok take /q result=v2"}},
		{"a take of part of a value", "items", []string{"ok take /q result=v1", "ok take /q result=1"}},
		{"a take that failed and took", "items", []string{"ok take /q result=v1", "fail take /q"}},
		{"a claim with another token", "items", []string{"result=v2 token=0x100000006", "result=v2 token=0x100000007"}},
		{"a claim of another item", "items", []string{"result=v2 token=0x100000006", "result=v12 token=0x100000006"}},
		{"a claim of another session", "items", []string{"55ms c1 invoke claim /q session=0xb", "55ms c1 invoke claim /q session=0xa"}},
		{"an ack of an item that stays", "items", []string{"85ms c1 invoke ack /q arg=v2", "85ms c1 invoke ack /q arg=v12"}},
		{"an ack that failed and was applied", "items", []string{"91ms c1 ok ack", "91ms c1 fail ack"}},
		{"a return that was an ack", "items", []string{"85ms c1 invoke ack", "85ms c1 invoke return", "91ms c1 ok ack", "91ms c1 ok return"}},
		{"a reject that failed and was applied", "items", []string{"111ms c1 ok reject", "111ms c1 fail reject"}},
		{"a reject of another item", "items", []string{"invoke reject /q arg=v12", "invoke reject /q arg=v2"}},
		{"a join that nobody wrote", "members", []string{"121ms c0/p12 ok join /g", "117ms c0/p12 ok join /g"}},
		{"a join of another member", "members", []string{"invoke join /g arg=m1", "invoke join /g arg=m2"}},
		{"an incarnation that was never there", "members", []string{"m1@10000000c", "m1@10000000b"}},
		{"a member that had left", "members", []string{"122ms c0/p12 invoke members /g arg=sync session=0xa\n123ms c0/p12 ok members /g result=m1@10000000c session=0xa\n", "",
			"141ms c0/p12 invoke get", "135ms c0/p12 invoke members /g arg=sync session=0xa\n136ms c0/p12 ok members /g result=m1@10000000c session=0xa\n141ms c0/p12 invoke get"}},
		{"a leave before the deletion", "members", []string{"131ms c0/p12 ok leave", "128ms c0/p12 ok leave"}},
		{"a value that the counter never had", "counts", []string{"ok get /n result=0", "ok get /n result=9"}},
		{"a value that the counter had later", "counts", []string{"ok get /n result=0", "ok get /n result=5"}},
		{"an add that nobody wrote", "counts", []string{"165ms c1 info add", "165ms c1 ok add"}},
		{"an add that failed and was applied", "counts", []string{"151ms c0/p12 ok add", "151ms c0/p12 fail add"}},
		{"a swap that nobody wrote", "counts", []string{`163ms c1 ok compare-and-set /n arg="5 8"`, `163ms c1 ok compare-and-set /n arg="5 8" result=swapped`}},
	} {
		for id, r := range outcomesOf(t, outcomesLog(), c.edits...) {
			want := checker.Valid
			if id == "witness/"+c.property+"-in-log" {
				want = checker.Invalid
			}
			if strings.HasSuffix(id, "s-in-log") && id != "witness/grants-in-log" && id != "witness/sessions-in-log" && r.Verdict != want {
				t.Errorf("%s: %s is %v (%s), want %v", c.name, id, r.Verdict, r.Reason, want)
			}
		}
	}
}

// If the logs have gaps, a missing transaction may have applied an operation. So outcomes are not
// judged.
func TestOutcomesAreNotJudgedWithGaps(t *testing.T) {
	txns := outcomesLog()
	for id, r := range outcomesOf(t, append(txns[:2:2], txns[3:]...)) {
		if strings.Contains(id, "items") && r.Verdict != checker.NotExercised {
			t.Errorf("%s: got %v (%s), want not exercised", id, r.Verdict, r.Reason)
		}
	}
}

// If a client did not learn the outcome of a take, a claim or a change of a counter, the
// transactions of its session show the outcome.
func TestUnknownOutcomesAreResolved(t *testing.T) {
	results := outcomesOf(t, outcomesLog(),
		"51ms c1 ok take /q result=v1 session=0xb\n55ms c1 invoke", "51ms c1 info take /q session=0xb\n55ms c1/p20 invoke",
		"61ms c1 ok claim /q result=v2 token=0x100000006 session=0xb", "61ms c1/p20 info claim /q session=0xb",
		"65ms c1 invoke return /q arg=v2 session=0xb\n71ms c1 ok return", "65ms c1/p21 invoke return /q arg=v2 session=0xb\n71ms c1/p21 info return",
		"151ms c0/p12 ok add", "151ms c0/p12 info add",
	)
	for id, want := range map[string]string{"witness/items-in-log": "6 operations whose clients did not learn the outcome: 5 were applied", "witness/counts-in-log": "2 operations whose clients did not learn the outcome: 1 were applied"} {
		if r := results[id]; r.Verdict != checker.Valid || !strings.HasPrefix(r.Reason, want) {
			t.Errorf("%s: got %v (%s); want valid with %q", id, r.Verdict, r.Reason, want)
		}
	}
}

// In this test a client acks one claim more than once, and the item is removed. An ack that failed
// is no violation if another ack of the claim may have removed the item. The other ack may have
// come before or after the one that failed.
func TestAckThatFailedMayHaveARival(t *testing.T) {
	const ok, again = "91ms c1 ok ack /q arg=v2 token=0x100000008 session=0xb\n", " ack /q arg=v2 token=0x100000008 session=0xb\n"
	for _, c := range []struct{ name, acks string }{
		{"after an ack that succeeded", ok + "92ms c1 invoke" + again + "93ms c1 fail" + again},
		{"after an ack with an unknown outcome", "91ms c1 info" + again + "92ms c1/p30 invoke" + again + "93ms c1/p30 fail" + again},
		{"during which an earlier ack was applied", "86ms c1 info" + again + "87ms c1/p30 invoke" + again + "93ms c1/p30 fail" + again},
		{"before an ack that succeeded", "86ms c1 fail" + again + "87ms c1 invoke" + again + ok},
	} {
		r := outcomesOf(t, outcomesLog(), ok, c.acks)["witness/items-in-log"]
		if r.Verdict != checker.Valid {
			t.Errorf("an ack that failed %s: got %v (%s), want valid", c.name, r.Verdict, r.Reason)
		}
	}
	// Here, only an ack that failed can have removed the item. That is a violation.
	for _, acks := range []string{
		"86ms c1 fail" + again,
		"86ms c1 fail" + again + "87ms c1 invoke" + again + "93ms c1 fail" + again,
		"91ms c1 fail" + again + "92ms c1 invoke" + again + "93ms c1 info" + again,
	} {
		if r := outcomesOf(t, outcomesLog(), ok, acks)["witness/items-in-log"]; r.Verdict != checker.Invalid {
			t.Errorf("got %v (%s), want invalid, for\n%s", r.Verdict, r.Reason, acks)
		}
	}
}
