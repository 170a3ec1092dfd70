package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// The constant `priorities` is the number of priorities in QueuePriority.
const priorities = 3

// QueuePriority runs a queue with priorities under every fault.
func QueuePriority() harness.Scenario {
	return harness.Scenario{
		Name:       "queue-priority",
		Claim:      "Under every fault each item comes out once, none before a more urgent one, and waiting consumers are woken after the faults.",
		Guarantees: []string{"Q1", "Q2", "Q3", "Q5", "Q6", "Q12"},
		Clients:    6,
		Workload:   queueWorkload(queueProgram{pipes: within(openQueue(queue.Options[string]{Priorities: priorities})), priorities: priorities}),
		Faults:     faults("all"),
		Checkers: []checker.Checker{checker.QueueNothingInvented(),
			checker.QueueNothingLost(),
			checker.QueueNothingTwice(),
			checker.QueueEmptyIsTrue(),
			checker.QueueTakersWake(10 * time.Second),
			checker.QueueDrainedIsEmpty(),
			checker.QueuePriorityOrder(),
			checker.NothingLeft("znodes", "goroutines")},
		Guards: []checker.Checker{taken(100), readAhead(10), conflicts(1)},
		Calm:   10 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "stocks",
			Report:   "Curator's DistributedPriorityQueue: a consumer hands out several items from memory (minItemsBeforeRefresh) before it checks for more urgent ones",
			Violates: []string{"queue/priority-order"},
			Workload: queueWorkload(queueProgram{pipes: within(openStock), priorities: priorities}),
		}, {
			Name:     "names",
			Report:   "kazoo#606, #730: the names, not their sequence numbers, decide which item is first",
			Violates: []string{"queue/priority-order"},
			Workload: queueWorkload(queueProgram{pipes: within(openEntries(queueMistakes{names: true})), priorities: priorities}),
		}},
	}
}

// A stock is a queue whose consumer fetches several items and hands them out, even if more urgent
// items are put meanwhile.
type stock struct {
	ours
	rest []string
}

func openStock(s *session.Session, path string) pipe {
	return &stock{ours: ours{queue.New(s, path, queue.Options[string]{Priorities: priorities})}}
}

func (q *stock) take(ctx context.Context) (string, error) {
	const most = 8
	if len(q.rest) == 0 {
		var err error
		if q.rest, err = q.q.TakeBatch(ctx, most); err != nil {
			return "", err
		}
	}
	value := q.rest[0]
	q.rest = q.rest[1:]
	return value, nil
}

func (q *stock) tryTake(ctx context.Context) (string, error) {
	if len(q.rest) == 0 {
		return q.ours.tryTake(ctx)
	}
	return q.take(ctx)
}
