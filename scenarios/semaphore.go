package scenarios

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// The constant `permits` is the number of permits in Semaphore.
const permits = 3

// Semaphore runs a semaphore under every fault. Clients acquire one, several or all permits.
func Semaphore() harness.Scenario {
	return harness.Scenario{
		Name:       "semaphore",
		Claim:      "Under every fault no more permits are held than exist, none is lost, and permits are granted again after the faults.",
		Guarantees: []string{"L1", "L2", "L4", "L7", "S2"},
		Clients:    6,
		Workload:   semaphoreWorkload(openSemaphore(leased())),
		Faults:     faults("all"),
		Checkers: append(checker.Semaphore(permits, exposed()), checker.LockTokensRise(), checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpAcquire, 30*time.Second),
			checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))),
		Guards: []checker.Checker{checker.Grants(10), checker.Contention(5)},
		Mutants: []harness.Mutant{trustingMutant("semaphore/within-permits", semaphoreWorkload(openSemaphore(trusting()))), {
			Name:     "orphan",
			Report:   "CURATOR-335, -595: the reply to the create of a permit's znode is lost, and this permit is never returned",
			Violates: []string{"client/waiters-served"},
			Faults:   []string{"link-cut"},
			Workload: semaphoreWorkload(openLeases(mistakes{unprotected: true})),
		}, {
			Name:     "interrupted",
			Report:   "CURATOR-462: a client creates the znode of its permit and waits; if it is interrupted then, the znode remains",
			Violates: []string{"client/waiters-served"},
			Workload: semaphoreWorkload(openLeases(mistakes{cancelled: true})),
		}, lateMutant("semaphore/within-permits", semaphoreWorkload(openLeases(mistakes{late: true})))},
	}
}

func semaphoreWorkload(open opener) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		w := lockProgram{open: open, want: somePermits, patience: often(6, 300*time.Millisecond), hold: usual}.workload(env)
		w.Final = countPermits
		return w
	}
}

// onePermit makes each client request one permit. It is for scenarios with clients in other
// languages.
func onePermit(*harness.Client) string { return "1" }

func somePermits(c *harness.Client) string {
	if c.Rand.IntN(3) == 0 {
		return strconv.Itoa(1 + c.Rand.IntN(permits))
	}
	return "1"
}

// countPermits acquires permits one by one until it holds all of them, and then attempts to acquire
// one more. If permits belong to sessions that the servers have not expired yet, countPermits waits
// for them.
func countPermits(ctx context.Context, env *harness.Env) error {
	return final(ctx, env, func(s *session.Session) error {
		const most = 10 * time.Second
		path := znode.Join(env.Root(), "lock")
		m := lock.NewSemaphore(s, path, permits, lock.Options{})
		var had []*lock.Grant // held until the session ends
		for end := time.Now().Add(most); len(had) <= permits; {
			grant, err := m.TryAcquire(ctx, 1)
			if err == nil {
				had = append(had, grant)
				continue
			}
			if !errors.Is(err, lock.ErrLocked) {
				return err
			}
			if len(had) == permits || time.Now().After(end) {
				break
			}
			times.Sleep(ctx, 100*time.Millisecond)
		}
		env.Fact(checker.FactPermits, path, strconv.Itoa(len(had)), "")
		return nil
	})
}

func openSemaphore(opts session.Options) opener {
	return inSession(opts, func(s *session.Session, path string) lockFunc {
		m := lock.NewSemaphore(s, path, permits, lock.Options{})
		return func(ctx context.Context, want string) (held, error) {
			n, err := strconv.Atoi(want)
			if err != nil {
				return held{}, err
			}
			return heldIf(m.Acquire(ctx, n))
		}
	})
}

// openLeases returns an opener of a semaphore that follows the textbook recipe: the earliest
// contenders hold the permits.
func openLeases(does mistakes) opener {
	return inSession(leased(), func(s *session.Session, path string) lockFunc {
		return (&textbook{s: s, path: path, places: permits, does: does}).lock
	})
}
