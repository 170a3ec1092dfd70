package harness

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
)

// Options are what a run can choose. Only Ensemble is required.
type Options struct {
	// Ensemble starts what to run on: what the scenario asks for, with that many
	// nodes. The run closes it.
	Ensemble ensemble.Starter
	Nodes    int           // zero is what the scenario asks for
	Seed     uint64        // of the plan and of each client's choices
	Time     time.Duration // of the work under faults; zero is what the scenario asks for
	Clients  int           // zero is what the scenario says
	// Operations is how many are begun, after which clients finish: zero is as
	// many as there is time for.
	Operations int
	// ClientProcesses asks for clients in processes of their own, which can be
	// stopped. Workloads that know no such thing run as ever.
	ClientProcesses bool
	// Faults are the names of the scenario's faults to draw from; nil is all, an
	// empty slice none.
	Faults []string
	// Plan is followed instead of one drawn from the seed, unless it is nil.
	Plan Plan
	// Intensity is about how many faults stand at any time; zero is 0.5.
	Intensity float64
	// Store keeps the result; nil keeps nothing.
	Store Store
	// Progress, unless nil, is called about once a second while the run goes on.
	Progress func(Status)
	// Command is the command line that does the same run again, for reports.
	Command string
	// CheckTime bounds each checker; zero is one minute.
	CheckTime time.Duration

	// admin replaces the session that prepares and tidies up, in tests.
	admin func(ctx context.Context, env *Env) (admin, error)
}

// Store keeps results of runs. Package report has the one on disk.
type Store interface {
	// Save is called twice: as soon as the history is whole, so that it is kept
	// whatever the checkers do, and again with the verdict.
	Save(r *Result) error
}

// Status is how far a run has got.
type Status struct {
	Phase            string
	Elapsed, Left    time.Duration // Left of the work; zero outside of it
	Operations       int           // begun
	OK, Fail, Info   int
	Faults, Standing int // injected so far, and not healed yet
	Holds, Lost      int // grants told of, and how many of them were lost
	Violations       int // found so far; what is not violated yet may be
}

// Result is all that is known of a run.
type Result struct {
	Scenario   string   `json:"scenario"`
	Claim      string   `json:"claim"`
	Guarantees []string `json:"guarantees,omitempty"`
	Seed       uint64   `json:"seed"`
	Ensemble   string   `json:"ensemble"`
	Nodes      int      `json:"nodes"`
	// ZooKeeper is the version that the servers said they are of at the start, such
	// as "3.9.6", or "3.8.0+3.9.6" if they differ. It is empty for the embedded
	// ensemble, and where no server said so.
	ZooKeeper  string        `json:"zookeeper,omitempty"`
	Clients    int           `json:"clients"`
	Client     string        `json:"client,omitempty"` // see Scenario
	Time       time.Duration `json:"time_ns"`
	Operations int           `json:"operations,omitempty"` // the most to be begun, see Options
	Start      time.Time     `json:"start"`
	Took       time.Duration `json:"took_ns"`

	Verdict checker.Verdict  `json:"verdict"`
	Results []checker.Result `json:"results"`
	// CouldNot names the faults that the ensemble is not able to do, those asked for by
	// name or in the plan of which none began in time, and those of which none had an
	// effect, a line for each reason.
	CouldNot []string `json:"could_not,omitempty"`
	Command  string   `json:"command,omitempty"`

	Stats checker.Stats `json:"stats"`

	Plan    Plan             `json:"-"`
	History *history.History `json:"-"`
	// Logs are the ends of the nodes' logs, by index, unless the run is valid.
	Logs map[int][]byte `json:"-"`
	// ClientLogs are the ends of what clients' own processes wrote to standard error, by number.
	ClientLogs map[int][]byte `json:"-"`
	// Checked is false while only the history is whole.
	Checked bool `json:"checked"`
}

// Failed returns the results that keep the run from being valid, Invalid first.
func (r *Result) Failed() []checker.Result {
	var invalid, other []checker.Result
	for _, one := range r.Results {
		switch {
		case one.Verdict == checker.Invalid:
			invalid = append(invalid, one)
		case one.Verdict == checker.Valid, one.Optional && one.Verdict == checker.NotExercised:
		default:
			other = append(other, one)
		}
	}
	return append(invalid, other...)
}

// Of returns the result for the property with that id.
func (r *Result) Of(id string) (checker.Result, bool) {
	for _, one := range r.Results {
		if one.ID == id {
			return one, true
		}
	}
	return checker.Result{}, false
}

// faults are those of the scenario that are asked for: by name, or by a plan.
func (o Options) faults(s Scenario) []Fault {
	return slices.DeleteFunc(slices.Clone(s.Faults), func(f Fault) bool {
		if o.Plan != nil {
			return !o.Plan.has(f.Name())
		}
		return o.Faults != nil && !slices.Contains(o.Faults, f.Name())
	})
}

// standardTime is the length of the work of a run that says nothing else.
const standardTime = 20 * time.Second

func (o Options) withDefaults(s Scenario) (Options, error) {
	if o.Ensemble == nil {
		return o, errors.New("harness: no ensemble to run on")
	}
	o.Nodes = orDefault(o.Nodes, orDefault(s.Config.Nodes, 3))
	o.Time = orDefault(o.Time, orDefault(s.Time, standardTime))
	o.Clients = orDefault(o.Clients, orDefault(s.Clients, 5))
	o.CheckTime = orDefault(o.CheckTime, time.Minute)
	if o.admin == nil {
		o.admin = newAdmin
	}
	return o, nil
}

func orDefault[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}
