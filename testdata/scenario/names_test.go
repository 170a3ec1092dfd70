// Package elsewhere has a scenario in another module. Its property: no name is given twice.
package elsewhere

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// names returns a workload that gives names. It calls name with the paths of sequential znodes.
func names(name func(path string) string) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			s, err := c.Open(ctx, session.Options{Timeout: fault.SessionTimeout})
			if err != nil {
				return err
			}
			defer s.Close()
			for c.Pause(ctx, 50*time.Millisecond) && s.Err() == nil {
				c.Do(ctx, history.Event{Op: "name", Object: env.Root()}, func(ctx context.Context) (history.Event, error) {
					path, err := s.Create(ctx, env.Root()+"/", nil, session.EphemeralSequential)
					return history.Event{Result: name(path)}, err
				})
			}
			return s.Err()
		}}
	}
}

var unique = checker.New("names/unique", "no name is given twice", func(h *history.History, j *checker.Judge) {
	first := make(map[string]history.Event)
	for _, e := range h.Events {
		if e.Op == "name" && e.Kind == history.OK {
			j.Checked(1)
			if first[e.Result].Kind != 0 {
				j.Violation([]history.Event{first[e.Result], e}, "%s was given twice", e.Result)
			}
			first[e.Result] = e
		}
	}
})

func TestNames(t *testing.T) {
	s := harness.Scenario{Name: "names", Faults: fault.All(), Checkers: []checker.Checker{unique}}
	s.Workload = names(func(path string) string { return path })
	cut := harness.Mutant{Name: "cut", Violates: []string{"names/unique"}, Workload: names(func(path string) string { return strings.TrimRight(path, "0123456789") })}
	o := harness.Options{Seed: 7, Time: 30 * time.Second, Ensemble: embedded.Starter(embedded.Options{})}
	synctest.Test(t, func(t *testing.T) { harness.RunT(t, s, o) })
	synctest.Test(t, func(t *testing.T) { harness.RunMutant(t, s, cut, o) })
}
