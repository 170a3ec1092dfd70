package checker

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

var rewrite = flag.Bool("rewrite", false, "write the verdicts of the checkers into testdata")

// underTest returns the checkers by the ids of their properties, which the files in testdata use.
func underTest() map[string]Checker {
	envelope := Envelope{Outside: []string{"session-close", "data-counter"}, After: 100 * time.Millisecond}
	all := []Checker{
		LockTokensRise(), LockFencedWrites(), LockNoFalseRefusal(), LockNoOverlap(envelope), LockNoReleaseAfterLoss(), LockOwnNodeIsFirst(envelope), NothingLeft("znodes", "goroutines"), WaitersServed(OpAcquire, time.Second), LockGrantsInOrder(envelope), LockLossBeforeExpiry(envelope),
		rwLockWriterAlone(envelope), rwLockReadersTogether(), rwLockNoOvertaking(envelope), semaphoreWithinPermits(2, envelope), semaphoreNoPermitLost(2),
		ElectionEpochsRise(), ElectionOneLeaderAnEpoch(), ElectionNoOverlap(envelope), ElectionFencedWrites(), ElectionHeirSeesAll(), ElectionLossBeforeReelection(), electionLeaderAfterHeal(time.Second), ElectionObserversSeeLeaders(), electionNoEpochTwice(),
		QueueNothingInvented(), QueueNothingLost(), QueueNothingTwice(), queueFIFOOrder(), QueueEmptyIsTrue(), QueueTakersWake(time.Second), QueueDrainedIsEmpty(), QueuePriorityOrder(), QueueAckWithEffect(),
		groupMembersListed(envelope), groupNoStrangerListed(time.Second), groupChangesAddUp(), groupFollowersConverge(),
		BarrierNoEarlyPass(), BarrierOpensInTime(time.Second), BarrierNoMissedRemoval(time.Second), doubleBarrierEnterTogether(3), doubleBarrierNoQuitterCounts(3), doubleBarrierLeaveTogether(), doubleBarrierRoundsInOrder(), doubleBarrierRoundsGoOn(time.Second),
		registerWritesLinearizable(), registerReadsAfterSync(), registerReadsSequential(), sessionEphemeralsStay(), sessionEphemeralsGo(time.Second, time.Second), sessionExpiredForGood(time.Second), sessionExpiryInTime(time.Second),
		CounterLinearizable(),
		WatchEventBeforeData(), WatchStatesInOrder(), WatchOneEventEach(), WatchFinalStateReported(), WatchNoEventWithoutCause(envelope), WatchRecreationReported(), WatchOneEndEach(),
		FaultsHadEffect(), OperationsSucceeded(), Contention(1), Takeovers(1), Grants(1), SessionLosses(1), Fenced(1),
	}
	byID := make(map[string]Checker)
	for _, c := range all {
		for _, p := range c.Properties() {
			byID[p.ID] = c
		}
	}
	return byID
}

// A file in testdata holds cases. A case has a title, the ids to check, the history in the form of
// package history, and after the arrow the expected verdicts:
//
//	== two at once
//	lock/tokens-rise lock/no-overlap
//	- c0 hold begin /lock token=1
//	=>
//	lock/tokens-rise valid
//	lock/no-overlap INVALID #2 #5: c0 and c1 both held ...
//
// The phase "end" is added to each history, unless the case says "cut short".
type handCase struct {
	title    string
	ids      []string
	text     string
	expected string
}

func readCases(t *testing.T, path string) (preamble string, cases []handCase) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	preamble, rest, _ := strings.Cut("\n"+string(data), "\n== ")
	for part := range strings.SplitSeq(rest, "\n== ") {
		if part == "" {
			continue
		}
		head, expected, _ := strings.Cut(part, "\n=>\n")
		lines := strings.SplitN(head, "\n", 3)
		if len(lines) < 2 {
			t.Fatalf("%s: case %q names no property", path, lines[0])
		}
		c := handCase{title: lines[0], ids: strings.Fields(lines[1]), expected: strings.TrimSpace(expected)}
		if len(lines) == 3 {
			c.text = lines[2]
		}
		cases = append(cases, c)
	}
	return strings.TrimPrefix(preamble, "\n"), cases
}

func (c handCase) history() (*history.History, error) {
	text, cut := strings.CutSuffix(strings.TrimSpace(c.text), "cut short")
	h, err := history.ParseText(strings.NewReader(text))
	if err != nil || cut {
		return h, err
	}
	last := end()
	last.Index = int32(len(h.Events))
	if n := len(h.Events); n > 0 {
		last.Time = h.Events[n-1].Time + time.Millisecond
	}
	h.Events = append(h.Events, last)
	return h, nil
}

func say(r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v", r.ID, r.Verdict)
	for _, e := range r.Events {
		fmt.Fprintf(&b, " #%d", e.Index)
	}
	if r.Exposure > 0 {
		fmt.Fprintf(&b, " exposure=%v", r.Exposure)
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, ": %s", r.Reason)
	}
	return b.String()
}

// The test judges every history in testdata. With -rewrite, it writes the verdicts of the checkers
// into the files. Read the difference before you commit it.
func TestHandMadeHistories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no files in testdata (%v), want some", err)
	}
	checkers := underTest()
	seen := make(map[string]map[Verdict]bool)
	for _, path := range files {
		preamble, cases := readCases(t, path)
		out := strings.TrimSpace(preamble)
		for _, c := range cases {
			got := judgeByHand(t, path, c, checkers, seen)
			if !*rewrite && got != c.expected {
				t.Errorf("%s: %s:\ngot\n%s\nwant\n%s", path, c.title, got, c.expected)
			}
			out += fmt.Sprintf("\n\n== %s\n%s\n%s\n=>\n%s", c.title, strings.Join(c.ids, " "), strings.TrimRight(c.text, "\n"), got)
		}
		if *rewrite {
			if err := os.WriteFile(path, []byte(strings.TrimSpace(out)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(checkers)) {
		if !seen[id][Valid] || !seen[id][Invalid] && !guard(id) {
			t.Errorf("%s: got a legal history in testdata: %t, an illegal one: %t, want both (a "+
				"guard needs only the legal one)", id, seen[id][Valid], seen[id][Invalid])
		}
	}
}

func judgeByHand(t *testing.T, path string, c handCase, checkers map[string]Checker, seen map[string]map[Verdict]bool) string {
	t.Helper()
	h, err := c.history()
	if err != nil {
		t.Fatalf("%s: %s: %v", path, c.title, err)
	}
	var lines []string
	for _, id := range c.ids {
		checker, known := checkers[id]
		if !known {
			t.Fatalf("%s: %s: no checker for %s", path, c.title, id)
		}
		for _, r := range Run(t.Context(), h, checker) {
			if r.ID != id {
				continue
			}
			lines = append(lines, say(r))
			if seen[id] == nil {
				seen[id] = make(map[Verdict]bool)
			}
			seen[id][r.Verdict] = true
		}
	}
	return strings.Join(lines, "\n")
}
