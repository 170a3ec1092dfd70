package owncode_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/examples/owncode"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/history"
)

// The function `cron` returns the scenario: the statement to test, the workload, the faults, the
// checkers and a mutant.
func cron(t *testing.T) harness.Scenario {
	faults, err := fault.Named("kill,pause,partition")
	if err != nil {
		t.Fatal(err)
	}
	return harness.Scenario{
		Name:     "cron",
		Claim:    "A tick's job runs at most once, and after the heal jobs run again.",
		Clients:  3,
		Faults:   faults,
		Workload: workload(owncode.Once),
		Checkers: []checker.Checker{atMostOnce(), again()},
		Calm:     10 * time.Second,
		Mutants: []harness.Mutant{{
			Name: "trusting", Report: "the leader believes its connection", Violates: []string{"cron/at-most-once"}, Faults: []string{"partition-clients"},
			Workload: workload(owncode.Trusting),
		}},
	}
}

// The function `workload` returns a constructor of workloads. Such a workload runs the unchanged
// program, with `claim` as Cron.Claim. The workload only has to dial through the client's proxy,
// and to record the operations.
func workload(claim func(*owncode.Cron, string, int64) error) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			conn, _, err := zk.Connect(c.Env().Servers(), 4*time.Second, zk.WithLogger(silent{}),
				zk.WithDialer(func(network, address string, _ time.Duration) (net.Conn, error) { return c.Dial(ctx, network, address) }))
			if err != nil {
				return err
			}
			defer conn.Close()
			working, stop := context.WithCancel(ctx)
			defer stop()
			go func() {
				for c.Pause(working, 100*time.Millisecond) {
				}
				stop()
			}()
			program := &owncode.Cron{Conn: conn, Path: env.Root() + "/cron", Every: 500 * time.Millisecond, Job: func(int64) {}, Claim: claim}
			program.Trace = func(operation, object string, f func() error) error {
				_, err := c.Do(ctx, history.Event{Op: operation, Object: object}, func(context.Context) (history.Event, error) {
					err := f()
					if errors.Is(err, owncode.ErrTaken) {
						err = harness.Failed(err)
					}
					return history.Event{}, err
				})
				return err
			}
			if err := program.Run(working); c.Next(ctx) {
				return err
			}
			return nil
		}}
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func atMostOnce() checker.Checker {
	return checker.New("cron/at-most-once", "a tick's job runs at most once", func(h *history.History, j *checker.Judge) {
		first := map[string]history.Event{}
		for _, e := range h.Events {
			if e.Op != "job" || e.Kind != history.OK {
				continue
			}
			j.Checked(1)
			if earlier, twice := first[e.Object]; twice {
				j.Violation([]history.Event{earlier, e}, "the job of tick %s was run by %s and by %s", e.Object, earlier.Who(), e.Who())
			}
			first[e.Object] = e
		}
	})
}

func again() checker.Checker {
	return checker.New("cron/runs-again", "after the heal jobs run again", func(h *history.History, j *checker.Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.NotExercised("the ensemble was not healed")
			return
		}
		for _, e := range h.Events[healed.Index:] {
			if e.Op == "job" && e.Kind == history.OK {
				j.Checked(1)
				return
			}
		}
		j.Violation([]history.Event{*healed}, "no job was run after the heal")
	})
}

// The function `options` returns the options that run the scenario on the model of ZooKeeper in
// this process, on a virtual clock. To run it on real servers, set Ensemble to the starter of
// package container.
func options(seed uint64) harness.Options {
	return harness.Options{Seed: seed, Time: 90 * time.Second, Ensemble: embedded.Starter(embedded.Options{})}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCronUnderFaults(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) { harness.RunT(t, cron(t), options(seed)) })
	}
}

func TestATrustingCronIsFoundOut(t *testing.T) {
	s := cron(t)
	kill, err := harness.Hunt(s, s.Mutants[0], 10, func(s harness.Scenario, seed uint64) (result *harness.Result, err error) {
		synctest.Test(t, func(t *testing.T) { result, err = harness.Run(t.Context(), s, options(seed)) })
		return result, err
	})
	if err != nil || !kill.Killed() {
		t.Errorf("got %+v and error %v, want the mutant killed within 10 plans of faults", kill, err)
	}
}
