package trace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// A Player plays steps on one ensemble. The paths of the steps are below root. The error has the
// same meaning as the error of Play.
type Player func(ctx context.Context, root string, steps []Step, t Tally) (Transcript, error)

// On returns a player for the servers.
func On(s *Servers) Player {
	return func(ctx context.Context, root string, steps []Step, t Tally) (Transcript, error) {
		return Play(ctx, s, root, steps, t)
	}
}

// A Difference is a minimized trace to which two ensembles reply differently.
type Difference struct {
	Seed        uint64
	Steps       []Step
	Want, Got   Transcript
	Err         error // set if an ensemble could not play the trace
	NotRepeated bool  // set if no shorter trace that the minimization played gave a difference with the same Name

	names [2]string
}

// First returns the index of the first step with different replies, or -1 if there is none.
func (d Difference) First() int {
	for i := range min(len(d.Want), len(d.Got)) {
		if d.Want[i] != d.Got[i] {
			return i
		}
	}
	return -1
}

// Name returns the name of the first step with different replies, or "" if there is none.
func (d Difference) Name() string {
	if i := d.First(); i >= 0 {
		return d.Steps[i].Name()
	}
	return ""
}

// String shows each step with its reply, or with both replies if they differ.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d:\n", d.Seed)
	for i, s := range d.Steps {
		fmt.Fprintf(&b, "%2d. %s\n", i, s)
		switch {
		case i >= len(d.Want) || i >= len(d.Got):
			b.WriteString("    -\n")
		case d.Want[i] == d.Got[i]:
			b.WriteString(indent("    ", d.Want[i]))
		default:
			b.WriteString(indent("  "+d.names[0]+": ", d.Want[i]) + indent("  "+d.names[1]+": ", d.Got[i]))
		}
	}
	if d.Err != nil {
		fmt.Fprintf(&b, "  %v\n", d.Err)
	}
	if d.NotRepeated {
		b.WriteString("  (the same trace gave no difference when played again)\n")
	}
	return b.String()
}

func indent(by, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}

// A Comparison plays traces on two ensembles.
type Comparison struct {
	Want, Got         Player
	WantName, GotName string // of the ensembles, in differences
	Limits            Limits
	Root              string // of all traces; it has to exist; "" is the root of all znodes

	// Known, if not nil, reports whether a difference is like an earlier one. If so, the difference
	// is neither minimized nor returned. Only one goroutine calls Known at a time.
	Known func(Difference) bool

	mu sync.Mutex // guards Known
}

// The variable `roots` is the number of roots so far. Each trace of this process has a different
// root, because several comparisons can use the same servers.
var roots atomic.Int64

// The method `once` plays a part of a seed's trace on both ensembles.
func (c *Comparison) once(ctx context.Context, seed uint64, part func([]Step) []Step, t Tally) (d Difference, differs bool) {
	root := fmt.Sprintf("%s/trace%x-%d", c.Root, seed, roots.Add(1))
	d = Difference{Seed: seed, Steps: part(Generate(seed, root, c.Limits)), names: [2]string{c.WantName, c.GotName}}
	var wantErr, gotErr error
	d.Want, wantErr = c.Want(ctx, root, d.Steps, nil)
	d.Got, gotErr = c.Got(ctx, root, d.Steps, t)
	if wantErr != nil {
		wantErr = fmt.Errorf("%s: %w", c.WantName, wantErr)
	}
	if gotErr != nil {
		gotErr = fmt.Errorf("%s: %w", c.GotName, gotErr)
	}
	d.Err = errors.Join(wantErr, gotErr)
	if ctx.Err() != nil {
		return d, false // the replies prove nothing
	}
	return d, d.Err != nil || !slices.Equal(d.Want, d.Got)
}

// The method `trace` plays the trace of a seed on both ensembles. If their replies differ, the
// method minimizes the trace.
func (c *Comparison) trace(ctx context.Context, seed uint64, t Tally) (Difference, bool) {
	whole, differs := c.once(ctx, seed, func(all []Step) []Step { return all }, t)
	if !differs || c.known(whole) {
		return whole, false
	}
	least, found := whole, false
	indices := make([]int, len(whole.Steps))
	for i := range indices {
		indices[i] = i
	}
	minimize(indices, func(part []int) bool {
		d, differs := c.once(ctx, seed, func(all []Step) []Step {
			var some []Step
			for _, i := range part {
				some = append(some, all[i])
			}
			return some
		}, nil)
		same := differs && d.Name() == whole.Name()
		if same {
			least, found = d, true
		}
		return same
	})
	least.NotRepeated = !found
	return least, true
}

func (c *Comparison) known(d Difference) bool {
	if c.Known == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Known(d)
}

// All compares the traces of n consecutive seeds, beginning with the seed `first`. It plays up to
// `workers` traces at the same time. Once it has found at least `most` differences, it begins no
// more traces. The tally counts the outcomes on the ensemble of c.Got.
func (c *Comparison) All(ctx context.Context, first uint64, n, workers, most int) ([]Difference, Tally) {
	var (
		mu    sync.Mutex
		found []Difference
		total = Tally{}
		group errgroup.Group
	)
	group.SetLimit(workers)
	for seed := first; seed < first+uint64(n); seed++ {
		group.Go(func() error {
			mu.Lock()
			over := len(found) >= most
			mu.Unlock()
			if over || ctx.Err() != nil {
				return nil
			}
			t := Tally{}
			d, differs := c.trace(ctx, seed, t)
			mu.Lock()
			defer mu.Unlock()
			if differs {
				found = append(found, d)
			}
			total.merge(t)
			return nil
		})
	}
	group.Wait()
	return found, total
}

func (t Tally) merge(other Tally) {
	for op, outcomes := range other {
		for outcome, n := range outcomes {
			t.add(op, outcome)
			t[op][outcome] += n - 1
		}
	}
}

// String lists the outcomes of each operation, the most frequent first.
func (t Tally) String() string {
	var b strings.Builder
	for _, op := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, "%s:", op)
		outcomes := slices.SortedFunc(maps.Keys(t[op]), func(x, y string) int {
			if t[op][x] != t[op][y] {
				return t[op][y] - t[op][x]
			}
			return strings.Compare(x, y)
		})
		for _, o := range outcomes {
			fmt.Fprintf(&b, " %s %d,", o, t[op][o])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
