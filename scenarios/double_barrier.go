package scenarios

import (
	"context"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// The constant `members` is the number of members in a round, and also the number of clients of
// DoubleBarrier. So all clients take part in each round, and one round is over before the next can
// open.
const members = 4

// DoubleBarrier runs a double barrier under every fault. Members sometimes give up waiting.
func DoubleBarrier() harness.Scenario {
	return harness.Scenario{
		Name:       "double-barrier",
		Claim:      "Under every fault no member enters a round before all have arrived or leaves before all have finished, and new rounds open after the faults.",
		Guarantees: []string{"D1", "D2", "D3", "D4", "D5", "D6"},
		Clients:    members,
		Workload:   doubleWorkload(doubleProgram{size: members}),
		Faults:     faults("all"),
		Checkers:   append(checker.Double(members, 8*time.Second), checker.NothingLeft("znodes", "goroutines")),
		Guards:     []checker.Checker{entered(20)},
		Calm:       15 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "ghost",
			Report:   "CURATOR-318: the znode of a member that timed out remains, and the others pass because of it",
			Violates: []string{"double-barrier/enter-together", "double-barrier/no-quitter-counts"},
			Workload: doubleWorkload(doubleProgram{size: members, ghost: true}),
		}, {
			Name:     "early",
			Report:   "Curator GH-1290: enter returns early",
			Violates: []string{"double-barrier/enter-together", "double-barrier/no-quitter-counts"},
			Workload: doubleWorkload(doubleProgram{size: members - 1}),
		}, {
			Name:     "leaves",
			Report:   "Curator's DistributedDoubleBarrier: leave returns before all have left",
			Violates: []string{"double-barrier/leave-together"},
			Workload: doubleWorkload(doubleProgram{size: members, leaves: true}),
		}, {
			Name:     "late",
			Report:   "a member deletes its znode first, and ends its work afterwards",
			Violates: []string{"double-barrier/leave-together"},
			Workload: doubleWorkload(doubleProgram{size: members, late: true}),
		}},
	}
}

// The function `entered` requires n successful Enter operations.
func entered(n int) checker.Checker {
	return checker.AtLeast("run/entries", n, "members that entered", func(h *history.History) (found int) {
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op == checker.OpEnter && o.Outcome() == session.OK {
				found++
			}
		}
		return found
	})
}

// A doubleProgram describes the clients' behavior.
type doubleProgram struct {
	size   int
	ghost  bool // does not withdraw an entry when it gives up
	leaves bool // does not wait for the others to leave
	late   bool // begins to leave before its own work has ended

	path string
}

func doubleWorkload(p doubleProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := p
		p.path = znode.Join(env.Root(), "double")
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			s, err := c.Open(ctx, leased())
			if err != nil {
				return err
			}
			var ghosts sync.WaitGroup
			defer ghosts.Wait()
			defer s.Close()
			d := barrier.NewDouble(s, p.path, p.size)
			for c.Next(ctx) && s.Err() == nil {
				p.round(ctx, c, d, &ghosts)
			}
			if c.Next(ctx) {
				return s.Err()
			}
			return nil
		}}
	}
}

// The method `round` enters the barrier and leaves it once. Round numbers in the history start at
// 1, because 0 means unknown.
func (p *doubleProgram) round(ctx context.Context, c *harness.Client, d *barrier.Double, ghosts *sync.WaitGroup) {
	patience := 6 * time.Second
	if few := often(3, time.Second)(c); few > 0 {
		patience = few
	}
	c.Pause(ctx, upTo(100*time.Millisecond)(c))
	var r *barrier.Round
	_, err := c.Do(ctx, history.Event{Op: checker.OpEnter, Object: p.path}, func(ctx context.Context) (e history.Event, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if r, err = p.enter(ctx, d, ghosts); err == nil {
			e.Round = int32(r.Number()) + 1
		}
		return e, err
	})
	if err != nil {
		return
	}
	leave := r.Leave
	if p.late {
		left := make(chan error, 1)
		ghosts.Go(func() { left <- r.Leave(ctx) })
		leave = func(context.Context) error { return <-left }
	}
	times.Sleep(ctx, usual(c)/4)
	c.Do(ctx, history.Event{Op: checker.OpLeave, Object: p.path, Round: int32(r.Number()) + 1}, func(ctx context.Context) (e history.Event, err error) {
		if !p.leaves {
			return e, leave(ctx)
		}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_ = r.Leave(ctx)
		return e, nil
	})
}

// The method `enter` calls Enter. If p.ghost is set, the call continues in the background after ctx
// has ended.
func (p *doubleProgram) enter(ctx context.Context, d *barrier.Double, ghosts *sync.WaitGroup) (*barrier.Round, error) {
	if !p.ghost {
		return d.Enter(ctx)
	}
	entered := make(chan *barrier.Round, 1)
	failed := make(chan error, 1)
	on := context.WithoutCancel(ctx)
	ghosts.Go(func() {
		r, err := d.Enter(on)
		if err != nil {
			failed <- err
			return
		}
		if ctx.Err() != nil {
			_ = r.Leave(on)
		}
		entered <- r
	})
	select {
	case r := <-entered:
		return r, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
