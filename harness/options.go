package harness

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/leases"
	"github.com/zkcoord/zkcoord/harness/witness"
)

// Options are the options of a run. Only Ensemble is required.
type Options struct {
	// Ensemble starts the ensemble, with the scenario's configuration and the given number of
	// nodes. The run closes it, unless KeepEnsemble is set.
	Ensemble ensemble.Starter
	// If KeepEnsemble is set, the run does not close the ensemble. The caller closes it, and may
	// first use it for further runs, one after another.
	KeepEnsemble bool
	Nodes        int           // number of nodes; zero means the scenario's
	Seed         uint64        // of the plan and of each client's choices
	Time         time.Duration // of the work under faults; zero is the scenario's
	Clients      int           // number of clients; zero means the scenario's
	// Operations limits the number of operations that begin; after that, clients finish. Zero means
	// no limit.
	Operations int
	// If ClientProcesses is set, clients run in separate processes, which faults can stop. If a
	// workload does not support separate processes, its clients run in this process.
	ClientProcesses bool
	// Faults are the names of the scenario's faults from which the plan is drawn. Nil means all of
	// them, an empty slice means none.
	Faults []string
	// If Plan is not nil, the run follows it. Otherwise the run draws a plan from the seed.
	Plan Plan
	// Intensity is the average number of faults that are active at any time; zero means 0.5.
	Intensity float64
	// Store stores the result; nil stores nothing.
	Store Store
	// TxnLogs is a directory for the command zkcoord audit. The run stores the transaction logs
	// there, in one directory for each server. It also stores the file clients.log, which has the
	// holds that clients recorded. If TxnLogs is empty, nothing is stored.
	TxnLogs string
	// Progress, unless nil, is called about once a second during the run.
	Progress func(Status)
	// Command is the command line that repeats the run, for reports.
	Command string

	// Tests set the function `admin` to replace newAdmin, which opens the session that creates and
	// removes the root.
	admin func(ctx context.Context, env *Env) (admin, error)
}

// Store stores results of runs. Package report has an implementation on disk.
type Store interface {
	// Save is called twice: first when the history is complete, so that the history is kept
	// even if a checker fails, and again with the verdict.
	Save(r *Result) error
}

// Status is the progress of a run.
type Status struct {
	Phase            string
	Elapsed, Left    time.Duration // Left is the time left for the work; zero in other phases
	Operations       int           // begun
	OK, Fail, Info   int
	Faults, Standing int // injected so far, and those that are not healed yet
	Holds, Lost      int // grants recorded so far, and those that were lost
	Violations       int // found so far; the final number may be higher
}

// Result is the result of a run.
type Result struct {
	Scenario   string   `json:"scenario"`
	Claim      string   `json:"claim"`
	Guarantees []string `json:"guarantees,omitempty"`
	Seed       uint64   `json:"seed"`
	Ensemble   string   `json:"ensemble"`
	Nodes      int      `json:"nodes"`
	// ZooKeeper is the version that the servers reported at the start, such as "3.9.6", or
	// "3.8.0+3.9.6" if they differ. It is empty for the embedded ensemble, and if no server
	// reported a version.
	ZooKeeper  string        `json:"zookeeper,omitempty"`
	Clients    int           `json:"clients"`
	Client     string        `json:"client,omitempty"` // see Scenario.Client
	Time       time.Duration `json:"time_ns"`
	Operations int           `json:"operations,omitempty"` // the limit, see Options.Operations; zero means no limit
	Start      time.Time     `json:"start"`
	Took       time.Duration `json:"took_ns"`

	Verdict checker.Verdict  `json:"verdict"`
	Results []checker.Result `json:"results"`
	// CouldNot names the faults that had no effect, one line for each reason. The reasons are:
	//   - The ensemble cannot inject the fault.
	//   - The fault was requested by name or by the plan, but the run ended before the fault began.
	//   - No injection of the fault had an effect.
	CouldNot []string `json:"could_not,omitempty"`
	Command  string   `json:"command,omitempty"`

	Stats checker.Stats `json:"stats"`

	Plan    Plan             `json:"-"`
	History *history.History `json:"-"`
	// TxnLog is what the servers committed. It is nil if the ensemble has no transaction logs.
	TxnLog *witness.Log `json:"-"`
	// Leases is what the sessions of clients in this process reported about their leases.
	Leases *leases.Trace `json:"-"`
	// Logs are the last parts of the nodes' logs, by index. They are nil if the run is valid.
	Logs map[int][]byte `json:"-"`
	// ClientLogs are the last parts of the standard error of clients' own processes, by number.
	ClientLogs map[int][]byte `json:"-"`
	// Checked is false while the result has only the history and no verdict yet.
	Checked bool `json:"checked"`
}

// Failed returns the results because of which the run is not valid, the Invalid results first.
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

// The method `faults` returns the faults of the scenario that the plan contains. Without a plan, it
// returns the faults that o.Faults names, or all if o.Faults is nil.
func (o Options) faults(s Scenario) []Fault {
	return slices.DeleteFunc(slices.Clone(s.Faults), func(f Fault) bool {
		if o.Plan != nil {
			return !o.Plan.has(f.Name())
		}
		return o.Faults != nil && !slices.Contains(o.Faults, f.Name())
	})
}

// standardTime is the default length of the work of a run.
const standardTime = 20 * time.Second

func (o Options) withDefaults(s Scenario) (Options, error) {
	if o.Ensemble == nil {
		return o, errors.New("harness: no ensemble to run on: set Options.Ensemble")
	}
	o.Nodes = orDefault(o.Nodes, orDefault(s.Config.Nodes, 3))
	o.Time = orDefault(o.Time, orDefault(s.Time, standardTime))
	o.Clients = orDefault(o.Clients, orDefault(s.Clients, 5))
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
