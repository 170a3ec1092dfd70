package scenarios

import (
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/queue"
)

// QueueFIFO runs a queue under every fault. Consumers take items and do not claim them.
func QueueFIFO() harness.Scenario {
	return harness.Scenario{
		Name:       "queue-fifo",
		Claim:      "Under every fault each item comes out once and in order, the queue is reported empty only if it was, and waiting consumers are woken after the faults.",
		Guarantees: []string{"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q8"},
		Clients:    6,
		Workload:   queueWorkload(queueProgram{pipes: within(openQueue(queue.Options[string]{})), priorities: 1}),
		Faults:     faults("all"),
		Checkers:   append(checker.Queue(), checker.QueueTakersWake(10*time.Second), checker.NothingLeft("znodes", "goroutines")),
		Guards:     []checker.Checker{taken(100), readAhead(10), conflicts(1)},
		Calm:       10 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "skips",
			Report:   "kazoo's Queue.get: if the reply to the delete is lost, the consumer takes the next item, and the first one is lost",
			Violates: []string{"queue/nothing-lost"},
			Faults:   []string{"link-cut"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{skips: true})), priorities: 1}),
		}, {
			Name:     "twice",
			Report:   "the reply to a create is lost, and the client sends the create again, so the item exists twice; this happens even if the client first searches for its item, because a consumer may have taken the item already",
			Violates: []string{"queue/nothing-twice"},
			Faults:   []string{"link-cut"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{twice: true})), priorities: 1}),
		}, {
			Name:     "both",
			Report:   "CURATOR-605: two consumers get one item, because the second does not check whether its delete succeeded",
			Violates: []string{"queue/nothing-twice"},
			Faults:   []string{"link-delay"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{both: true})), priorities: 1}),
		}, {
			Name:     "names",
			Report:   "kazoo#606, #730: the names, not their sequence numbers, decide which item is first",
			Violates: []string{"queue/fifo-order"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{names: true})), priorities: 1}),
		}, {
			Name:     "own-server",
			Report:   "a follower that is cut off or behind reports an empty queue, and the consumer trusts it",
			Violates: []string{"queue/empty-is-true"},
			Faults:   []string{"partition-clients"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{own: true})), priorities: 1, polls: true}),
		}},
	}
}
