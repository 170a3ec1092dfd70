// Package tutorial contains the scenario that docs/tutorial.md develops step by step.
package tutorial

import (
	"context"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// A counter is a znode that clients increment. They read it, and write it if it still has the
// version that they read.
type counter struct {
	path    string
	version func(read int32) int32 // returns the expected version of the write
}

func (c counter) increment(ctx context.Context, client *harness.Client, s *session.Session) error {
	v, err := s.Get(ctx, c.path)
	if err != nil {
		return harness.Failed(err) // nothing was written
	}
	n, err := strconv.Atoi(string(v.Data))
	if err != nil {
		return harness.Failed(err)
	}
	client.Pause(ctx, 10*time.Millisecond) // meanwhile other clients read the same value
	_, err = s.Set(ctx, c.path, []byte(strconv.Itoa(n+1)), c.version(v.Stat.Version))
	return err
}

// work is the program of one client. It increments the counter repeatedly and records each
// increment in the history.
func (c counter) work(ctx context.Context, client *harness.Client) error {
	s, err := client.Open(ctx, session.Options{Timeout: fault.SessionTimeout})
	if err != nil {
		return err
	}
	defer s.Close()
	for client.Next(ctx) {
		_, err := client.Do(ctx, history.Event{Op: "increment", Object: c.path}, func(ctx context.Context) (history.Event, error) {
			return history.Event{}, c.increment(ctx, client, s)
		})
		if err != nil && s.Err() != nil {
			return err // this session is over; the harness calls work again
		}
		client.Pause(ctx, 100*time.Millisecond)
	}
	return nil
}

// workload creates the counter before the work and reads it afterwards.
func workload(version func(int32) int32) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		c := counter{path: env.Root() + "/counter", version: version}
		return harness.Workload{
			Setup: func(ctx context.Context, env *harness.Env) error {
				return with(ctx, env, func(s *session.Session) error {
					_, err := s.Create(ctx, c.path, []byte("0"), session.Persistent)
					return err
				})
			},
			Work: c.work,
			Final: func(ctx context.Context, env *harness.Env) error {
				return with(ctx, env, func(s *session.Session) error {
					if err := s.Sync(ctx, c.path); err != nil {
						return err
					}
					v, err := s.Get(ctx, c.path)
					env.Fact("counter", c.path, string(v.Data), "")
					return err
				})
			},
		}
	}
}

// The function `with` opens a session that no fault affects, and passes it to the function `do`.
func with(ctx context.Context, env *harness.Env, do func(*session.Session) error) error {
	s, err := session.Open(ctx, session.Options{Servers: env.Servers(), Dial: env.Dial})
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// noneLost compares the acknowledged increments with the final value of the counter.
func noneLost() checker.Checker {
	return checker.New("counter/no-increment-lost", "no acknowledged increment is lost, and none is counted twice", func(h *history.History, j *checker.Judge) {
		ops, _ := h.Operations()
		done, maybe := 0, 0
		for _, op := range ops {
			switch op.Outcome() {
			case session.OK:
				done++
			case session.Indeterminate:
				maybe++
			}
		}
		last, err := strconv.Atoi(final(h))
		if err != nil {
			j.Unknown("the final value of the counter was not read: %v", err)
			return
		}
		j.Checked(done)
		switch {
		case last < done:
			j.Violation(nil, "%d increments were acknowledged, but the counter is %d", done, last)
		case last > done+maybe:
			j.Violation(nil, "the counter is %d after at most %d increments", last, done+maybe)
		}
	})
}

func final(h *history.History) (value string) {
	for _, e := range h.Events {
		if e.Kind == history.Fact && e.Op == "counter" {
			value = e.Result
		}
	}
	return value
}

// Counter is the scenario: claim, workload, faults, checkers and a mutant.
func Counter() harness.Scenario {
	faults, err := fault.Named("link-stall,kill,partition")
	if err != nil {
		panic(err) // a name above is wrong
	}
	return harness.Scenario{
		Name:     "counter",
		Claim:    "A conditional write neither loses nor doubles an increment, even if requests and replies are lost.",
		Clients:  3,
		Workload: workload(func(read int32) int32 { return read }),
		Faults:   faults,
		Checkers: []checker.Checker{noneLost()},
		Guards:   []checker.Checker{checker.AtLeast("run/increments", 100, "increments", increments)},
		Mutants: []harness.Mutant{{
			Name:     "unconditional",
			Report:   "read, add, write: increments in between are overwritten",
			Violates: []string{"counter/no-increment-lost"},
			Workload: workload(func(int32) int32 { return session.AnyVersion }),
		}},
	}
}

func increments(h *history.History) (n int) {
	for _, e := range h.Events {
		if e.Kind == history.OK && e.Op == "increment" {
			n++
		}
	}
	return n
}
