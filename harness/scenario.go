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

// Scenario is one claim and everything that is needed to test it. It is a plain value; Workload
// creates the state of a run.
type Scenario struct {
	Name  string // in the style of a file name, for example "lock-session-loss"
	Claim string // one sentence: the claim that a valid run supports
	// Guarantees are the numbers of the documented guarantees that the scenario covers.
	Guarantees []string
	// Config is the configuration of the ensemble; the zero value has defaults.
	Config ensemble.Config
	// Clients is the number of clients unless the options set it; zero means 5.
	Clients int
	// Workload creates the program of one run. It may keep state in a closure.
	Workload func(*Env) Workload
	// Faults are the faults from which plans are drawn. If there are none, nothing is broken.
	Faults []Fault
	// Outcome returns the outcome of an operation, given the error that the operation returned. Nil
	// means [OutcomeOf].
	Outcome func(error) session.Outcome
	// Checkers judge the run. Each run must exercise what the checkers check. This does not apply
	// to checkers that are wrapped in checker.IfExercised.
	Checkers []checker.Checker
	// Guards check that enough happened in the run. Every run also gets a few checks of this kind
	// that are not listed in Guards. See vacuity.go of package checker.
	Guards []checker.Checker
	// Time is how long clients work under faults unless the options set it; zero means 20 s.
	Time time.Duration
	// Calm is how long clients continue after the heal; zero means 3 s.
	Calm time.Duration
	// Grace is how long clients may take to finish when the calm is over. It also bounds other
	// waits, for example for an injection or a heal. Zero means one minute.
	Grace time.Duration
	// Needs names what a run requires in addition to an ensemble and this process, for example
	// programs of other libraries. A run with Needs cannot use virtual time.
	Needs string
	// If ClientProcesses is set, clients must run in separate processes, even if the options do not
	// request that.
	ClientProcesses bool
	// Client is the command that starts clients in another language, in place of the scenario's own
	// clients. It is empty if the clients are the scenario's own. Reports show the command.
	Client string
	// Mutants are broken variants of the code that the scenario tests. A run must find each of them
	// invalid.
	Mutants []Mutant
}

// Workload is the program of one run. Nil functions do nothing, so the zero Workload does nothing.
type Workload struct {
	// Setup runs once, before clients start and before any fault is injected.
	Setup func(ctx context.Context, env *Env) error
	// Work is one client. It performs one operation after another while Client.Next returns true,
	// then closes everything that it opened and returns nil. It also returns soon after ctx ends.
	// If Work returns an error, for example because its session was lost, the run records a crash
	// and calls Work again. The run does the same if Work panics, but a panic also makes the run
	// Unknown.
	Work func(ctx context.Context, c *Client) error
	// Final makes the last reads, after all clients have returned.
	Final func(ctx context.Context, env *Env) error
	// Close ends everything that Setup started. It is called at the end of each run that called
	// Setup, even if Setup failed.
	Close func() error
}

// Mutant is a broken variant of the code that a scenario tests. A run must kill it.
type Mutant struct {
	Name string
	// Report describes the mutant's bug. If a real library had the bug, Report names the library
	// or the number of the bug report.
	Report string
	// Violates lists properties. A run must find at least one of them violated.
	Violates []string
	// Faults are the names of the faults that reveal the mutant; nil means all faults of the
	// scenario.
	Faults   []string
	Workload func(*Env) Workload
	Needs    string // like Scenario.Needs
}

// Mutate returns the scenario with the mutant's workload in place of its own. If m.Faults is not
// nil, the scenario keeps only the faults that m.Faults names.
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

// Failed wraps err to mark that the operation provably had no effect.
func Failed(err error) error {
	if err == nil {
		return nil
	}
	return errFailed{err}
}

// OutcomeOf is the default of Scenario.Outcome. It returns session.Failed for errors marked by
// [Failed], and the result of session.OutcomeOf for others.
func OutcomeOf(err error) session.Outcome {
	if errors.As(err, new(errFailed)) {
		return session.Failed
	}
	return session.OutcomeOf(err)
}

func (s *Scenario) validate() error {
	switch {
	case s.Name == "":
		return errors.New("harness: the scenario has no name: set Scenario.Name")
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
