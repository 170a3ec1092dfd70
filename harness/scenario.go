package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/session"
)

// Scenario is one claim and everything that is needed to try it. It is a plain
// value: a run gets its state from Workload.
type Scenario struct {
	Name  string // in the style of a file name: "lock-session-loss"
	Claim string // one sentence: what a valid run shows
	// Guarantees are the numbers of the documented guarantees that it covers.
	Guarantees []string
	// Config is what the ensemble should be like; the zero value has defaults.
	Config ensemble.Config
	// Clients is how many there are unless the options say otherwise; zero is 5.
	Clients int
	// Workload makes the program of one run. It may keep state in a closure.
	Workload func(*Env) Workload
	// Faults are drawn from; none means that nothing is broken.
	Faults []Fault
	// Outcome tells what an error means for the operation that returned it. Nil is
	// [OutcomeOf].
	Outcome func(error) session.Outcome
	// Checkers decide. What they judge has to be exercised by each run, unless
	// they are wrapped in checker.IfExercised.
	Checkers []checker.Checker
	// Guards are the checks for vacuity beyond those that every run gets: see
	// package checker, vacuity.go.
	Guards []checker.Checker
	// Time is for how long clients work under faults unless the options say
	// otherwise; zero is 20 s.
	Time time.Duration
	// Calm is for how long clients go on after the heal; zero is 3 s.
	Calm time.Duration
	// Grace is for how long clients may take to finish after that, and the bound
	// of waiting for anything else; zero is one minute.
	Grace time.Duration
	// Needs names what a run needs beside an ensemble and this process, programs
	// of other libraries say. Such a run cannot be in virtual time.
	Needs string
	// ClientProcesses says that its clients run in processes of their own, also
	// where the options do not ask for that.
	ClientProcesses bool
	// Client is the command of clients in another language that the run starts in place of the
	// scenario's own; empty if there is none. Reports show it.
	Client string
	// Mutants are broken variants that a run has to find invalid.
	Mutants []Mutant
}

// Workload is the program of one run. Nil functions do nothing, so the zero
// Workload is the one that does nothing at all.
type Workload struct {
	// Setup runs once, before clients start and anything is broken.
	Setup func(ctx context.Context, env *Env) error
	// Work is one client. It does one thing after another for as long as
	// Client.Next says so, then closes what it opened and returns nil; it also
	// returns soon after ctx ends. An error means that this life of the client is
	// over (its session was lost, say): it is recorded as a crash, and Work is
	// called again. A panic is recorded too, and makes the run Unknown.
	Work func(ctx context.Context, c *Client) error
	// Final makes the last reads, after all clients have returned.
	Final func(ctx context.Context, env *Env) error
	// Close ends what Setup started. It is called at the end of a run whose Setup was called, whatever came of it.
	Close func() error
}

// Mutant is a broken variant of what a scenario tests. It is there to be killed.
type Mutant struct {
	Name string
	// Report is the bug of a real library that it stands for.
	Report string
	// Violates are the properties of which at least one has to be found violated.
	Violates []string
	// Faults are the names of those that bring it out; nil is all of the scenario.
	Faults   []string
	Workload func(*Env) Workload
	Needs    string // as the scenario's
}

// Mutate returns the scenario with the mutant's workload in place of its own, and
// only the faults that it names.
func (s Scenario) Mutate(m Mutant) Scenario {
	s.Name += "+" + m.Name
	if m.Faults != nil {
		s.Faults = slices.DeleteFunc(slices.Clone(s.Faults), func(f Fault) bool { return !slices.Contains(m.Faults, f.Name()) })
	}
	s.Workload, s.Needs = m.Workload, m.Needs
	s.Mutants = nil
	return s
}

// Noop is the workload that does nothing.
func Noop(*Env) Workload { return Workload{} }

// errFailed marks errors of operations that did not take effect.
type errFailed struct{ error }

func (e errFailed) Unwrap() error { return e.error }

// Failed wraps err to say that the operation provably had no effect.
func Failed(err error) error {
	if err == nil {
		return nil
	}
	return errFailed{err}
}

// OutcomeOf is the default of Scenario.Outcome: session.Failed for errors marked by
// [Failed], and what session.OutcomeOf says of others.
func OutcomeOf(err error) session.Outcome {
	if errors.As(err, new(errFailed)) {
		return session.Failed
	}
	return session.OutcomeOf(err)
}

func (s *Scenario) validate() error {
	switch {
	case s.Name == "":
		return errors.New("harness: a scenario without a name")
	case s.Workload == nil:
		return fmt.Errorf("harness: scenario %s has no workload", s.Name)
	case len(s.Checkers) == 0:
		return fmt.Errorf("harness: scenario %s has no checkers", s.Name)
	}
	names := make(map[string]bool)
	for _, f := range s.Faults {
		if names[f.Name()] {
			return fmt.Errorf("harness: scenario %s has the fault %s twice", s.Name, f.Name())
		}
		names[f.Name()] = true
	}
	return nil
}
