package scenarios

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/session"
)

// Interop lets processes of three languages share one lock: zkcoord's Mutex, Curator's
// InterProcessMutex and kazoo's Lock. It needs Curator and kazoo: see peers.Library.Installed. The
// environment variables ZKCOORD_CURATOR and ZKCOORD_KAZOO select other versions than the installed
// ones.
func Interop() harness.Scenario {
	return shared(harness.Scenario{
		Name:       "interop",
		Claim:      "Contenders of Go, Java and Python on one path exclude each other and take turns.",
		Guarantees: []string{"L1", "L2", "L3"},
		Checkers:   append(checker.Mutex(checker.Envelope{}, 20*time.Second), checker.LockGrantsInOrder(checker.Envelope{})),
	}, lockProgram{}, openMutex, client.Lock, peers.Curator, peers.Kazoo)
}

// InteropElection lets processes of three languages share one election. The candidates use
// zkcoord's Election, Curator's LeaderLatch and kazoo's Election.
func InteropElection() harness.Scenario {
	return shared(harness.Scenario{
		Name:       "interop-election",
		Claim:      "Candidates of Go, Java and Python on one path lead one at a time and take turns.",
		Guarantees: []string{"E1", "E3"},
		Checkers:   append(checker.Mutex(checker.Envelope{}, 20*time.Second), checker.LockGrantsInOrder(checker.Envelope{})),
	}, lockProgram{}, openCandidate, client.Election, peers.Curator, peers.Kazoo)
}

// InteropRWLock lets processes of two languages share one read-write lock. The readers and writers
// use zkcoord's RWMutex and Curator's InterProcessReadWriteLock.
func InteropRWLock() harness.Scenario {
	return shared(harness.Scenario{
		Name:       "interop-rwlock",
		Claim:      "Readers and writers of Go and Java on one path exclude each other, and none overtakes another.",
		Guarantees: []string{"L1", "L2", "L3"},
		Checkers: append(checker.RWLock(checker.Envelope{}),
			checker.LockTokensRise(),
			checker.LockFencedWrites(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpAcquire, 20*time.Second)),
	}, lockProgram{want: readOrWrite}, openRWMutex, client.RWLock, peers.Curator)
}

// InteropSemaphore lets processes of two languages share one semaphore. They use zkcoord's
// Semaphore and Curator's InterProcessSemaphoreV2.
func InteropSemaphore() harness.Scenario {
	s := shared(harness.Scenario{
		Name:       "interop-semaphore",
		Claim:      "Clients of Go and Java on one path never hold more permits than exist.",
		Guarantees: []string{"L1"},
		Checkers: append(checker.Semaphore(permits,
			checker.Envelope{}),
			checker.LockTokensRise(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpAcquire, 20*time.Second)),
	}, lockProgram{want: onePermit}, openSemaphore, client.Semaphore, peers.Curator)
	inner := s.Workload
	s.Workload = func(env *harness.Env) harness.Workload {
		w := inner(env)
		w.Final = countPermits
		return w
	}
	return s
}

// The function `shared` completes the scenario s, in which clients of zkcoord and of the given
// libraries share a path.
func shared(s harness.Scenario, p lockProgram, ours func(session.Options) opener, recipe client.Recipe, libraries ...peers.Library) harness.Scenario {
	const timeout = 6 * time.Second
	var needs []string
	for _, l := range libraries {
		needs = append(needs, l.String())
	}
	s.Needs = strings.Join(needs, " and ")
	s.Clients = 6
	s.Guards = []checker.Checker{checker.Contention(20), checker.Grants(50), turns(1+len(libraries), 3)}
	open := []opener{ours(session.Options{Timeout: timeout})}
	var fleets []*fleet
	for _, l := range libraries {
		f := ofLibrary(l, recipe, timeout, allServers)
		open, fleets = append(open, f.open), append(fleets, f)
	}
	p.account, p.hold = harness.NewResource, upTo(20*time.Millisecond)
	p.open = func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		return open[c.ID%len(open)](ctx, c, path)
	}
	s.Workload = needing(p.workload, fleets...)
	return s
}

// The function `turns` requires that clients of each kind get n grants directly after a grant to a
// client of another kind. If all clients of one kind failed, they would get no such grants.
func turns(kinds, n int) checker.Checker {
	return checker.AtLeast("run/turns-of-libraries", n, "grants to each library after another one", func(h *history.History) int {
		found := make([]int, kinds)
		last := -1
		for _, hold := range h.Holds() {
			kind := int(hold.Begin.Client) % kinds
			if last >= 0 && kind != last {
				found[kind]++
			}
			last = kind
		}
		return slices.Min(found)
	})
}

// openCandidate returns an opener that opens a session and creates a candidate in it. The workload
// uses each term of the candidate as a grant.
func openCandidate(opts session.Options) opener {
	return inSession(opts, func(s *session.Session, path string) lockFunc {
		e := election.New(s, path, election.Options{})
		return func(ctx context.Context, _ string) (held, error) {
			term, err := e.Campaign(ctx)
			if err != nil {
				return held{}, err
			}
			return held{Context: term.Context(), token: int64(term.Epoch()), path: term.Path(), unlock: term.Resign, ends: true}, nil
		}
	})
}
