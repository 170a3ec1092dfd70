package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/scenarios/peers"
	"github.com/zkcoord/zkcoord/session"
)

// Interop lets processes of three languages share one lock: zkcoord's Mutex,
// Curator's InterProcessMutex and kazoo's Lock. It needs the two libraries:
// peers.Library.Installed tells whether they are there.
func Interop() harness.Scenario {
	const timeout = 6 * time.Second
	return harness.Scenario{
		Name:       "interop",
		Claim:      "Contenders of Go, Java and Python on one path exclude each other and take turns.",
		Guarantees: []string{"L1", "L2", "L3"},
		Clients:    6,
		Workload: func(env *harness.Env) harness.Workload {
			all := func(*harness.Client) []string { return env.Servers() }
			open := []func(context.Context, *harness.Client, string) (locker, error){
				openMutex(session.Options{Timeout: timeout}),
				openPeer(peers.Curator, timeout, all),
				openPeer(peers.Kazoo, timeout, all),
			}
			p := lockProgram{
				resource: harness.NewResource("account"),
				open: func(ctx context.Context, c *harness.Client, path string) (locker, error) {
					return open[c.ID%len(open)](ctx, c, path)
				},
				hold: upTo(20 * time.Millisecond),
			}
			return p.workload(env)
		},
		Checkers: append(checker.Mutex(checker.Envelope{}, 20*time.Second), checker.M9(checker.Envelope{})),
		Guards:   []checker.Checker{checker.Contention(20), checker.Grants(50)},
	}
}
