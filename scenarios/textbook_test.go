package scenarios

import (
	"testing"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// Without a mistake, each textbook recipe passes its scenario. So the mutants that use these
// recipes are killed because of their mistakes.
func TestTextbookInVirtualTime(t *testing.T) {
	for s, workload := range map[string]func(*harness.Env) harness.Workload{
		"counter":    counterWorkload(within(openPlain(countMistakes{}))),
		"lock":       lockWorkload(openTextbook(leased(), mistakes{})),
		"queue-fifo": queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{})), priorities: 1}),
		"rwlock":     rwWorkload(openTextbook(leased(), mistakes{})),
		"semaphore":  semaphoreWorkload(openLeases(mistakes{})),
	} {
		t.Run(s, func(t *testing.T) {
			s, err := Named(s)
			if err != nil {
				t.Fatal(err)
			}
			s = s.Mutate(harness.Mutant{Name: "textbook", Workload: workload})
			// This leaves out the guards run/read-ahead and run/conflicts. The textbook queue does
			// not pass them, because it reads each item just before it takes the item.
			s.Guards = ofAnyLanguage(s.Guards)
			for seed := range uint64(3) {
				if result := virtually(t, s, VirtualOptions(s, seed)); !result.Verdict.Passed() {
					t.Errorf("seed %d: got %v, want a verdict that passes:\n%s", seed, result.Verdict, result.Summary())
				}
			}
		})
	}
}

// The textbook queue reads each item just before it takes the item. For a run with this queue, two
// guards of the scenario report NotExercised: run/read-ahead and run/conflicts.
func TestGuardsNoticeAQueueWithoutReadAhead(t *testing.T) {
	s := QueueFIFO()
	s = s.Mutate(harness.Mutant{Name: "textbook", Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{})), priorities: 1})})
	result := virtually(t, s, VirtualOptions(s, 1))
	for _, id := range []string{"run/read-ahead", "run/conflicts"} {
		if one, found := result.Of(id); !found || one.Verdict != checker.NotExercised {
			t.Errorf("%s: got it found %t, %v (%s); want true, %v",
				id, found, one.Verdict, one.Reason, checker.NotExercised)
		}
	}
}
