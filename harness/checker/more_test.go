package checker

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

func parse(t *testing.T, text string) *history.History {
	t.Helper()
	h, err := handCase{text: text}.history()
	if err != nil {
		t.Fatalf("parse the history: %v\n%s", err, text)
	}
	return h
}

func verdictOf(t *testing.T, c Checker, text string) Result {
	t.Helper()
	return Run(t.Context(), parse(t, text), c)[0]
}

func TestReferee(t *testing.T) {
	for _, c := range []struct {
		model Model
		text  string
		want  Verdict
	}{
		{RegisterModel, "- c0 invoke write /x arg=a\n- c0 ok write /x\n- c1 invoke read /x\n- c1 ok read /x result=a", Valid},
		{RegisterModel, "- c0 invoke write /x arg=a\n- c0 ok write /x\n- c1 invoke read /x\n- c1 ok read /x", Invalid},
		{RegisterModel, "- c0 invoke write /x arg=a\n- c0 info write /x\n- c1 invoke read /x\n- c1 ok read /x\n- c1 invoke read /x\n- c1 ok read /x result=a", Valid},
		{QueueModel, "- c0 invoke put /q arg=a\n- c0 ok put /q\n- c0 invoke put /q arg=b\n- c0 ok put /q\n- c1 invoke take /q\n- c1 ok take /q result=a", Valid},
		{QueueModel, "- c0 invoke put /q arg=a\n- c0 ok put /q\n- c0 invoke put /q arg=b\n- c0 ok put /q\n- c1 invoke take /q\n- c1 ok take /q result=b", Invalid},
		{MutexModel, "- c0 invoke acquire /l\n- c0 ok acquire /l\n- c1 invoke acquire /l\n- c0 invoke release /l\n- c1 ok acquire /l\n- c0 ok release /l", Valid},
		{MutexModel, "- c0 invoke acquire /l\n- c0 ok acquire /l\n- c1 invoke acquire /l\n- c1 ok acquire /l", Invalid},
		{MutexModel, "- c0 invoke acquire /l\n- c0 ok acquire /l\n- c1 invoke acquire /l\n- c1 info acquire /l", Valid},
		{MutexModel, "- c0 invoke acquire /l\n- c0 ok acquire /l\n- c1 invoke acquire /l", Valid},
		{MutexModel, "- c0 invoke acquire /l\n- c0 ok acquire /l\n- c0 invoke release /l\n- c0 info release /l\n- c1 invoke acquire /l\n- c1 ok acquire /l", Valid},
		{MutexModel, "- c0 invoke put /l arg=a", NotExercised},
	} {
		if r := verdictOf(t, Referee("X", c.model, 100, time.Second), c.text); r.Verdict != c.want {
			t.Errorf("%s: got %v (%s), want %v, for\n%s", c.model.Name, r.Verdict, r.Reason, c.want, c.text)
		}
	}
}

// Regression: Referee judged histories with events that the model does not know. It reported the
// grant after a lost hold as a violation.
func TestRefereeJudgesNothingItsModelDoesNotKnow(t *testing.T) {
	const (
		hold    = "- c0 invoke acquire /l\n- c0 hold begin /l token=1\n- c0 ok acquire /l\n"
		next    = "- c1 invoke acquire /l\n- c1 hold begin /l token=2\n- c1 ok acquire /l\n"
		release = "- c0 invoke release /l\n- c0 ok release /l\n"
		lost    = "- c0 hold lost /l token=1\n"
		twice   = "- c0 invoke acquire /m\n- c0 ok acquire /m\n- c1 invoke acquire /m\n- c1 ok acquire /m\n"
		claim   = "- c0 invoke put /q arg=a\n- c0 ok put /q\n- c1 invoke claim /q\n- c1 ok claim /q result=a\n"
	)
	for _, c := range []struct {
		model Model
		text  string
		want  Verdict
	}{
		{MutexModel, hold + lost + next, NotExercised},
		{MutexModel, hold + release + lost, Valid}, // after all operations
		{MutexModel, hold + lost + next + twice, Invalid},
		{QueueModel, claim + "- c1 invoke take /q\n- c1 ok take /q result=b", NotExercised},
	} {
		if r := verdictOf(t, Referee("X", c.model, 100, time.Second), c.text); r.Verdict != c.want {
			t.Errorf("%s: got %v (%s), want %v, for\n%s", c.model.Name, r.Verdict, r.Reason, c.want, c.text)
		}
	}
}

func TestRefereeJudgesOnlyTheFirstOperations(t *testing.T) {
	text := strings.Repeat("- c0 invoke write /x arg=a\n- c0 ok write /x\n", 10) + "- c1 invoke read /x\n- c1 ok read /x result=b"
	if r := verdictOf(t, Referee("X", RegisterModel, 10, time.Second), text); r.Verdict != Valid || r.Checked != 10 {
		t.Errorf("got %v with %d checked, want Valid with 10", r.Verdict, r.Checked)
	}
}

// Regression: if several acks of one value had an unknown outcome, only the last ack counted. A
// take that found the queue empty between two of these acks was reported as a violation.
func TestFirstOfSeveralUnknownAcksCounts(t *testing.T) {
	const put = "- c0 invoke put /q arg=a\n- c0 ok put /q\n"
	const ack = "- c1 invoke ack /q arg=a\n- c1 info ack /q\n"
	const empty = "- c2 invoke take /q\n- c2 ok take /q\n"
	for text, want := range map[string]Verdict{
		put + empty + ack + ack: Invalid,
		put + ack + empty + ack: Valid,
		put + ack + ack + empty: Valid,
	} {
		if r := verdictOf(t, QueueEmptyIsTrue(), text); r.Verdict != want {
			t.Errorf("got %v (%s), want %v, for\n%s", r.Verdict, r.Reason, want, text)
		}
	}
}

func TestPictureOfAFailingSlice(t *testing.T) {
	const held = "- c0 invoke acquire /l\n- c0 hold begin /l token=1\n- c0 ok acquire /l\n"
	const twice = held + "- c1 invoke acquire /l\n- c1 hold begin /l token=2\n- c1 ok acquire /l\n"
	proof := func(h *history.History, indexes ...int) (r Result) {
		r.Verdict = Invalid
		for _, i := range indexes {
			r.Events = append(r.Events, h.Events[i])
		}
		return r
	}
	for _, c := range []struct {
		name, text string
		most       int
		events     []int
		want       bool
	}{
		{"two holders", twice, 10, []int{1, 4}, true},
		{"two holders, and what came after", twice + "- c2 invoke acquire /l\n- c0 invoke release /l\n- c0 ok release /l\n- c2 ok acquire /l", 10, []int{1, 4}, true},
		{"two holders, of whom one is told too late", twice + "- c0 hold lost /l token=1", 10, []int{1, 4, 6}, true},
		{"one holder", held, 10, []int{1}, false},
		{"one holder, and one that waits for too long", held + "- c1 invoke acquire /l", 10, []int{3}, false},
		{"a loss that the model does not know", held + "- c0 hold lost /l token=1\n- c1 invoke acquire /l\n- c1 hold begin /l token=2\n- c1 ok acquire /l", 10, []int{1, 5}, false},
		{"too many operations", twice, 1, []int{1, 4}, false},
		{"another object", twice + "- c0 invoke acquire /m\n- c0 ok acquire /m", 10, []int{7}, false},
		{"a stale read", "- c0 invoke write /x arg=a\n- c0 ok write /x\n- c1 invoke read /x\n- c1 ok read /x result=b", 10, []int{3}, true},
		{"items out of order", "- c0 invoke put /q arg=a\n- c0 ok put /q\n- c0 invoke put /q arg=b\n- c0 ok put /q\n- c1 invoke take /q\n- c1 ok take /q result=b", 10, []int{5}, true},
	} {
		h := parse(t, c.text)
		slice, got := FailingSlice(h, proof(h, c.events...), c.most, time.Second)
		if got != c.want {
			t.Errorf("%s: a failing slice: got %v, want %v", c.name, got, c.want)
		}
		if !got {
			continue
		}
		var page bytes.Buffer
		if err := slice.WritePicture(&page); err != nil {
			t.Fatalf("%s: write the picture: %v", c.name, err)
		}
		if !strings.Contains(page.String(), slice.Model.Ops[0]+"(") || !strings.Contains(page.String(), "<html") {
			t.Errorf("%s: got a page of %d bytes, want HTML that contains %q",
				c.name, page.Len(), slice.Model.Ops[0]+"(")
		}
	}
	h := parse(t, twice)
	if _, ok := FailingSlice(h, Result{Verdict: Valid, Events: h.Events[:1]}, 10, time.Second); ok {
		t.Error("got a slice for a property that was not violated, want none")
	}
}

func TestLogs(t *testing.T) {
	fine := "2026-01-01 WARN Unexpected exception: Connection reset\n" +
		"ERROR Severe unrecoverable error, from thread : SyncThread:1\n" +
		`java.lang.NullPointerException: Cannot invoke "java.net.Socket.isClosed()" because "this.learner.sock" is null` + "\n"
	severe := fine + "ERROR Severe unrecoverable error, from thread : FollowerRequestProcessor:2\n"
	long := strings.Repeat("x", 2<<20) + "\n"
	for name, one := range map[string]struct {
		text string
		want Verdict
	}{
		"harmless errors":                   {fine, Valid},
		"a severe error":                    {severe, Invalid},
		"a severe error of a closed socket": {severe + "java.net.SocketException: Socket closed\n", Valid},
		"a severe error of a null pointer":  {severe + "java.lang.NullPointerException\n", Invalid},
		"a severe error of a leader that lost its followers": {severe + `java.lang.NullPointerException: Cannot invoke ` +
			`"org.apache.zookeeper.server.quorum.Leader.propose(org.apache.zookeeper.server.Request)" because the return value of ` +
			`"org.apache.zookeeper.server.quorum.LeaderZooKeeperServer.getLeader()" is null` + "\n", Valid},
		"two severe errors":                {severe + severe, Invalid},
		"a severe error after a long line": {fine + long + severe, Unknown},
		"severe errors around a long line": {severe + long + severe, Invalid},
	} {
		if r := verdictOf(t, CleanLogs(map[int][]byte{0: []byte(one.text)}), ""); r.Verdict != one.want {
			t.Errorf("%s: got %v (%s), want %v", name, r.Verdict, r.Reason, one.want)
		}
	}
	if r := verdictOf(t, CleanLogs(nil), ""); r.Verdict != NotExercised {
		t.Errorf("without logs: got %v, want NotExercised", r.Verdict)
	}
}

func TestMeasure(t *testing.T) {
	s := Measure(parse(t, `
		0s c0 invoke a
		100ms c0 ok a
		200ms c0 invoke a
		500ms c0 ok a
		1s - fault start object=kill node=n0 step=1
		1s c0 invoke a
		2s c0 fail a error=down
		3s - fault stop object=kill node=leader step=1 result=killed
		3s c1 invoke b
		3100ms c0 invoke a
		3300ms c0 ok a
		4s c1 info b error=cut
		5s - fault start object=cut step=2
	`))
	a := s.Operations[0]
	if len(s.Operations) != 2 || a.OK != 3 || a.Fail != 1 || a.P50 != 200*time.Millisecond || a.Max != 300*time.Millisecond || a.Errors["down"] != 1 {
		t.Errorf("operations: got %+v, want two, the first with 3 ok, 1 fail, p50 200ms, max 300ms", s.Operations)
	}
	f := s.Faults[0]
	if len(s.Faults) != 2 || f.Target != "leader" || f.Evidence != "killed" || f.Stop-f.Start != 2*time.Second || f.Recovery != 300*time.Millisecond {
		t.Errorf("faults: got %+v, want two, the first on the leader for 2s with a recovery of 300ms", s.Faults)
	}
	if s.Faults[1].Recovery >= 0 {
		t.Errorf("got a recovery from a fault that was not healed, want none: %+v", s.Faults[1])
	}
}

// Regression: a run of 5 s with 12 grants got the verdict NotExercised. The scenario required 20
// grants, which is the number for its usual 20 s.
func TestShortRunsNeedLess(t *testing.T) {
	for _, one := range []struct {
		work  time.Duration
		holds int
		want  Verdict
	}{
		{20 * time.Second, 20, Valid}, {20 * time.Second, 19, NotExercised}, {60 * time.Second, 20, Valid},
		{5 * time.Second, 5, Valid}, {5 * time.Second, 4, NotExercised}, {time.Millisecond, 1, Valid}, {time.Millisecond, 0, NotExercised},
		{0, 20, Valid}, {0, 19, NotExercised}, // without phases
	} {
		var events []history.Event
		if one.work > 0 {
			events = append(events, history.Event{Time: 1, Kind: history.Phase, Op: history.PhaseWork})
		}
		for i := range one.holds {
			events = append(events, history.Event{Time: 2, Kind: history.Hold, Op: history.HoldBegin, Object: "/a", Token: int64(i)})
		}
		if one.work > 0 {
			events = append(events, history.Event{Time: 1 + one.work, Kind: history.Phase, Op: history.PhaseHeal})
		}
		events = append(events, history.Event{Time: time.Hour, Kind: history.Phase, Op: history.PhaseEnd})
		if r := Run(t.Context(), history.New(events...), Grants(20))[0]; r.Verdict != one.want {
			t.Errorf("%d grants in %v: got %v, want %v: %s", one.holds, one.work, r.Verdict, one.want, r.Reason)
		}
	}
}
