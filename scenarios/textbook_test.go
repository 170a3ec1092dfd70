package scenarios

import (
	"testing"

	"github.com/zkcoord/zkcoord/harness"
)

// Without a mistake, the textbook recipe passes. So its mutants are killed because of their
// mistakes.
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
			for seed := range uint64(3) {
				if result := virtually(t, s, VirtualOptions(s, seed)); !result.Verdict.Passed() {
					t.Errorf("seed %d: got %v, want a verdict that passes:\n%s", seed, result.Verdict, result.Summary())
				}
			}
		})
	}
}
