package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// diskSize is the size in bytes of the disks that are filled. It is small, so that a disk is filled
// quickly.
const diskSize = 64 << 20

// diskFaults returns the faults that fill a node's disk, so that its server cannot write. The heal
// frees the disk and restarts the server, like an operator.
func diskFaults() (faults []harness.Fault) {
	for _, role := range []string{leader, follower} {
		faults = append(faults, fault{
			name: "disk-full-" + role, does: "the disk of " + map[string]string{leader: "the leader", follower: "a follower"}[role] +
				" is full; then it is freed and the server is restarted",
			able:      able[ensemble.Disk]("fill disks", 3),
			configure: func(c *ensemble.Config) { c.Disk = diskSize },
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawRole(r, env, role), For: between(r, 2*time.Second, 6*time.Second)}
			},
			inject: fill,
		})
	}
	return faults
}

func fill(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	node, disk := nodes[0], env.Ensemble.(ensemble.Disk)
	if err := disk.Fill(ctx, node); err != nil {
		return harness.Injected{}, errors.Join(err, disk.Free(context.WithoutCancel(ctx), node))
	}
	before := noSpace(ctx, env, node)
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (evidence string, err error) {
		if s, err := ensemble.Ask(ctx, env.Dial, env.Servers()[node]); err != nil || !s.Serves() {
			evidence = fmt.Sprintf("%s stopped serving", label(nodes))
		} else if n := noSpace(ctx, env, node) - before; n > 0 {
			evidence = fmt.Sprintf("%s failed to write %d times", label(nodes), n)
		}
		return evidence, errors.Join(disk.Free(ctx, node), restart(ctx, env, node, healPatience, nil))
	}}, nil
}

// noSpace counts how often a node's text log (not its transaction log) reports a full disk. A
// follower with a full disk does not exit. It cannot write its transaction log, but answers from
// memory, and repeatedly rejoins the quorum. So the heal may find it serving. Then these reports
// are the only evidence that the fault had an effect.
func noSpace(ctx context.Context, env *harness.Env, node int) int {
	source, able := env.Ensemble.(ensemble.Logs)
	if !able {
		return 0
	}
	log, err := source.Logs(ctx, node)
	if err != nil {
		return 0
	}
	defer log.Close()
	text, _ := io.ReadAll(log)
	return bytes.Count(text, []byte("No space left on device"))
}
