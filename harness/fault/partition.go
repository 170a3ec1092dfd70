package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/netfault"
)

// partitionFaults returns the faults that cut edges between servers. Clients still reach every
// node, except the client that partition-clients pins to one node.
func partitionFaults(s *standing) []harness.Fault {
	canCut := able[ensemble.Partitioner]("cut links between nodes", 3)
	one := func(name, does string, draw func(*rand.Rand, *harness.Env) harness.Step, edges func(target int, nodes []int, arg string) []ensemble.Edge) harness.Fault {
		return fault{name: name, does: does, able: canCut,
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				step := draw(r, env)
				step.For = between(r, time.Second, 8*time.Second)
				return step
			},
			inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
				target, nodes, err := order(ctx, env, step.Target)
				if err != nil {
					return harness.Injected{}, err
				}
				return s.partition(ctx, env, edges(target, nodes, step.Arg))
			}}
	}
	at := func(role string) func(*rand.Rand, *harness.Env) harness.Step {
		return func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{Target: drawRole(r, env, role)}
		}
	}
	return []harness.Fault{
		one("partition-one", "one follower is cut off from all others", at(follower), func(t int, nodes []int, _ string) []ensemble.Edge { return around(t, nodes) }),
		one("partition-leader", "the leader is cut off from all others", at(leader), func(t int, nodes []int, _ string) []ensemble.Edge { return around(t, nodes) }),
		one("partition-halves", "two groups are cut off from each other; the leader is in the smaller one if the sizes differ", at(leader), func(_ int, nodes []int, _ string) []ensemble.Edge { return halves(nodes) }),
		one("partition-bridge", "two halves are connected only through one node", at(leader), func(_ int, nodes []int, _ string) []ensemble.Edge { return bridge(nodes) }),
		one("partition-ring", "every node is connected to a majority, and no two to the same one", at(leader), func(_ int, nodes []int, _ string) []ensemble.Edge { return ring(nodes) }),
		one("partition-one-way", "one node receives from the others but cannot send to them, or the reverse", func(r *rand.Rand, env *harness.Env) harness.Step {
			step := harness.Step{Target: leader, Arg: "mute"}
			if r.IntN(2) == 0 {
				step.Target = drawFollower(r, env)
			}
			if r.IntN(2) == 0 {
				step.Arg = "deaf"
			}
			return step
		}, func(t int, nodes []int, arg string) []ensemble.Edge {
			if arg == "deaf" {
				return deafen(t, nodes)
			}
			return mute(t, nodes)
		}),
		partitionClients(s, canCut),
	}
}

// The function `order` returns the node that a target means, and all nodes with the leader first.
// It reads the leader only once, because a second read may return another leader.
func order(ctx context.Context, env *harness.Env, target string) (node int, nodes []int, err error) {
	nodes, err = resolve(ctx, env, all)
	if err != nil {
		return 0, nil, err
	}
	hit, err := resolveAt(target, len(nodes), func() int { return nodes[0] })
	if err != nil {
		return 0, nil, err
	}
	return hit[0], nodes, nil
}

// Cut is for faults of other packages. It cuts edges between nodes of an ensemble, which must be a
// Partitioner. The heal restores the edges and returns the evidence of the cut.
func Cut(ctx context.Context, env *harness.Env, edges []ensemble.Edge) (harness.Injected, error) {
	return (&standing{cuts: map[key]int{}}).partition(ctx, env, edges)
}

// The method `partition` cuts edges. The heal restores those edges that no other active fault has
// cut.
func (s *standing) partition(ctx context.Context, env *harness.Env, edges []ensemble.Edge) (harness.Injected, error) {
	p := env.Ensemble.(ensemble.Partitioner)
	s.cut(env, edges)
	mend := func(ctx context.Context) error {
		if free := s.mend(env, edges); len(free) > 0 {
			return p.Mend(ctx, free...)
		}
		return nil
	}
	before, _ := dropped(ctx, env)
	if err := p.Cut(ctx, edges...); err != nil {
		return harness.Injected{}, errors.Join(err, mend(context.WithoutCancel(ctx)))
	}
	return harness.Injected{Target: cutLabel(edges), Heal: func(ctx context.Context) (string, error) {
		evidence, err := cutEvidence(ctx, env, edges, before)
		return evidence, errors.Join(err, mend(ctx))
	}}, nil
}

// cutLabel names the cut edges: n0|n1 for both directions, n0>n1 for one.
func cutLabel(edges []ensemble.Edge) string {
	var names []string
	for _, l := range edges {
		back := slices.Contains(edges, ensemble.Edge{From: l.To, To: l.From})
		switch {
		case !back:
			names = append(names, fmt.Sprintf("n%d>n%d", l.From, l.To))
		case l.From < l.To:
			names = append(names, fmt.Sprintf("n%d|n%d", l.From, l.To))
		}
	}
	return strings.Join(names, ",")
}

func dropped(ctx context.Context, env *harness.Env) (int64, error) {
	if d, ok := env.Ensemble.(ensemble.DropCounter); ok {
		return d.Dropped(ctx)
	}
	return 0, nil
}

// cutEvidence reports how much the cuts have dropped since their injection. If the ensemble has no
// counter, the evidence comes from the nodes: a node does not serve, or is behind another node.
func cutEvidence(ctx context.Context, env *harness.Env, edges []ensemble.Edge, before int64) (string, error) {
	if _, ok := env.Ensemble.(ensemble.DropCounter); ok {
		now, err := dropped(ctx, env)
		if now > before {
			return fmt.Sprintf("%d dropped", now-before), err
		}
		return "", err
	}
	hit := map[int]bool{}
	for _, l := range edges {
		hit[l.From], hit[l.To] = true, true
	}
	states := ensemble.Survey(ctx, env.Dial, env.Servers(), func(int) bool { return true })
	var newest int64
	for _, s := range states {
		newest = max(newest, s.Zxid)
	}
	for n := range hit {
		switch s := states[n]; {
		case s.Answered && !s.Serves():
			return fmt.Sprintf("n%d stopped serving", n), nil
		case s.Answered && s.Zxid < newest:
			return fmt.Sprintf("n%d is behind: zxid %#x, newest %#x", n, s.Zxid, newest), nil
		}
	}
	return "", nil
}

// partitionClients pins one client to a follower, and then cuts off that follower from its peers.
// The follower answers pings and reads for up to syncLimit ticks, while the other servers expire
// the sessions of the follower's clients.
func partitionClients(s *standing, canCut func(*harness.Env) error) harness.Fault {
	return fault{
		name: "partition-clients", does: "a follower is cut off from its peers together with clients that reach only it",
		able: canCut,
		draw: func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{
				Target: drawFollower(r, env), For: between(r, 2*time.Second, 12*time.Second),
				Arg: fmt.Sprintf("c%d", r.IntN(len(env.Clients()))),
			}
		},
		inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
			node, nodes, err := order(ctx, env, step.Target)
			if err != nil {
				return harness.Injected{}, err
			}
			server := env.Servers()[node]
			c, free, err := s.claimOnline(ctx, env, step.Arg)
			if err != nil {
				return harness.Injected{}, err
			}
			l := c.Proxy()
			unpin := func() { l.Pin(""); free() }
			l.Pin(server)
			target := fmt.Sprintf("%s with c%d", label([]int{node}), c.ID)
			if !connected(ctx, l, server) { // the follower is already cut off, so the fault can affect no client
				unpin()
				return harness.Injected{Target: target}, nil
			}
			w, err := s.partition(ctx, env, around(node, nodes))
			if err != nil {
				unpin()
				return harness.Injected{}, err
			}
			heal := w.Heal
			return harness.Injected{Target: target, Heal: func(ctx context.Context) (string, error) {
				defer unpin()
				return heal(ctx)
			}}, nil
		},
	}
}

// The function `connected` waits until a client's proxy has a connection to a server, for at most
// healPatience. It reports whether the proxy has such a connection.
func connected(ctx context.Context, l *netfault.Proxy, server string) bool {
	ctx, cancel := context.WithTimeout(ctx, healPatience)
	defer cancel()
	for !slices.Contains(l.Connected(), server) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
