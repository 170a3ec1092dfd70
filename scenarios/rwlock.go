package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// RWLock runs a read-write lock under every fault. Writers increment a fenced resource and
// sometimes downgrade.
func RWLock() harness.Scenario {
	return harness.Scenario{
		Name:       "rwlock",
		Claim:      "Under every fault a writer holds alone, readers hold together, no contender overtakes another, and the lock is granted again after the faults.",
		Guarantees: []string{"L1", "L2", "L3", "L4", "L7", "S2"},
		Clients:    6,
		Workload:   rwWorkload(openRWMutex(leased())),
		Faults:     faults("all"),
		Checkers: append(checker.RWLock(exposed()),
			checker.LockTokensRise(),
			checker.LockFencedWrites(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpAcquire, 30*time.Second),
			checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))),
		Guards: []checker.Checker{checker.Grants(10), checker.Contention(5)},
		Mutants: []harness.Mutant{trustingMutant("rwlock/writer-alone", rwWorkload(openRWMutex(trusting()))), {
			Name:     "later-writer",
			Report:   "kazoo#649: a reader waits for a writer that came later, which waits for the reader",
			Violates: []string{"client/waiters-served"},
			Workload: rwWorkload(openTextbook(leased(), mistakes{later: true})),
		}, {
			Name:     "strangers",
			Report:   "zk lock.go:110, Netflix/curator#30: contenders of other libraries, whose znodes have other names, are not counted",
			Violates: []string{"rwlock/writer-alone"},
			Workload: rwWorkload(openStrangers),
		}, lateMutant("rwlock/writer-alone", rwWorkload(openTextbook(leased(), mistakes{late: true})))},
	}
}

func rwWorkload(open opener) func(*harness.Env) harness.Workload {
	return lockProgram{
		open: open, account: harness.NewResource,
		want: readOrWrite, patience: often(6, 300*time.Millisecond), hold: usual,
	}.workload
}

func readOrWrite(c *harness.Client) string {
	if c.Rand.IntN(3) == 0 {
		return checker.ModeWrite
	}
	return checker.ModeRead
}

func openRWMutex(opts session.Options) opener {
	return inSession(opts, func(s *session.Session, path string) lockFunc {
		m := lock.NewRWMutex(s, path, lock.Options{})
		return func(ctx context.Context, want string) (held, error) {
			if want == checker.ModeRead {
				return heldIf(m.RLock(ctx))
			}
			g, err := m.Lock(ctx)
			if err != nil {
				return held{}, err
			}
			h := heldBy(&g.Grant)
			h.downgrade = g.Downgrade
			return h, nil
		}
	})
}

// openStrangers lets half of the clients give the znodes of writers a name that the other half does
// not recognize.
func openStrangers(ctx context.Context, c *harness.Client, path string) (locker, error) {
	suffix := [...]string{"__WRIT__", "-writer-"}[c.ID%2]
	return inSession(leased(), func(s *session.Session, path string) lockFunc {
		q := lockqueue.Queue{Session: s, Dir: path, Naming: lockqueue.Naming{Exclusive: []string{suffix}, Shared: []string{"__READ__"}}}
		return func(ctx context.Context, want string) (held, error) {
			r := lockqueue.Request{Name: suffix}
			if want == checker.ModeRead {
				r = lockqueue.Request{Name: "__READ__", Kind: lockqueue.Shared}
			}
			c, err := q.Join(ctx, r)
			if err != nil {
				return held{}, err
			}
			return held{Context: c.Context(), token: c.Token(), path: c.Node().Path, unlock: func(ctx context.Context) error { return c.Leave(ctx, lock.ErrReleased) }, ends: true}, nil
		}
	})(ctx, c, path)
}
