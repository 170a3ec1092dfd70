package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// These roles are the targets of the faults that affect servers. A plan names a role, and the nodes
// with that role are found when the fault is injected. A plan written by hand may also name a node
// such as "n2".
const (
	leader   = "leader"
	follower = "follower" // "follower+1" is the second follower
	majority = "majority" // includes the leader
	all      = "all"
)

// The function `able` returns a check that the ensemble implements the interface C and has enough
// nodes.
func able[C any](what string, nodes int) func(*harness.Env) error {
	return func(env *harness.Env) error {
		if _, ok := env.Ensemble.(C); !ok {
			return fmt.Errorf("the ensemble (%s) cannot %s", env.Ensemble.Kind(), what)
		}
		if n := len(env.Servers()); n < nodes {
			return fmt.Errorf("needs %d nodes, but the ensemble has %d", nodes, n)
		}
		return nil
	}
}

// drawFollower draws one of the followers.
func drawFollower(r *rand.Rand, env *harness.Env) string {
	return fmt.Sprintf("%s+%d", follower, r.IntN(max(len(env.Servers())-1, 1)))
}

// leaderPatience is how long a fault waits for a leader. It is short, because the nemesis performs
// one action at a time, and the leader may depend on the heal of another fault.
const leaderPatience = 2 * time.Second

// The function `resolve` returns the nodes that a target currently means. If no node leads, for
// example because a majority is down, node 0 is treated as the leader. The fault is just as
// effective without a leader, and the history names the affected node.
func resolve(ctx context.Context, env *harness.Env, target string) ([]int, error) {
	return resolveAt(target, len(env.Servers()), func() int { return awaitLeader(ctx, env) })
}

// resolveAt resolves a target among n nodes. The function `leads` returns the leader.
func resolveAt(target string, n int, leads func() int) ([]int, error) {
	if rest, ok := strings.CutPrefix(target, "n"); ok {
		node, err := strconv.Atoi(rest)
		if err != nil || node < 0 || node >= n {
			return nil, fmt.Errorf("target %q: the nodes are n0 to n%d", target, n-1)
		}
		return []int{node}, nil
	}
	role, offset, has := strings.Cut(target, "+")
	k, err := strconv.ParseUint(offset, 10, 31)
	if has && err != nil {
		return nil, fmt.Errorf("target %q: %w", target, err)
	}
	return nodesOf(role, int(k), leads(), n)
}

// nodesOf returns the nodes that have the given role. There are n nodes, and node l is the leader.
// The argument k selects a follower.
func nodesOf(role string, k, l, n int) ([]int, error) {
	from := func(first, count int) (nodes []int) {
		for i := range count {
			nodes = append(nodes, (first+i)%n)
		}
		return nodes
	}
	switch role {
	case leader:
		return from(l, 1), nil
	case follower:
		if n == 1 {
			return nil, errors.New("target \"follower\": an ensemble of one node has no follower")
		}
		return from(l+1+k%(n-1), 1), nil
	case majority:
		return from(l, n/2+1), nil
	case all:
		return from(l, n), nil
	}
	return nil, fmt.Errorf("target %q: "+
		"want leader, follower, follower+1, majority, all, or a node such as n2", role)
}

func awaitLeader(ctx context.Context, env *harness.Env) int {
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	for {
		l, err := env.Ensemble.Leader(ctx)
		if err == nil {
			return l
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0
		}
	}
}

// The function `label` returns the names of nodes, for the history.
func label(nodes []int) string {
	var names []string
	for _, n := range nodes {
		names = append(names, fmt.Sprintf("n%d", n))
	}
	return strings.Join(names, ",")
}

// The function `silent` returns the nodes that do not answer within 200 ms.
func silent(ctx context.Context, env *harness.Env, nodes []int) (quiet []int) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	among := map[int]bool{}
	for _, n := range nodes {
		among[n] = true
	}
	states := ensemble.Survey(ctx, env.Dial, env.Servers(), func(node int) bool { return among[node] })
	for _, n := range nodes {
		if !states[n].Answered {
			quiet = append(quiet, n)
		}
	}
	return quiet
}

// The function `each` calls f for all nodes and joins the errors.
func each(nodes []int, f func(node int) error) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, f(n))
	}
	return errors.Join(errs...)
}
