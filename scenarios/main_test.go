package scenarios

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/shrink"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

var (
	kind      = flag.String("ensemble", "container", "kind of ensemble to run on; embedded runs in virtual time")
	zookeeper = flag.String("zookeeper", "", "version of ZooKeeper, or several joined by +, assigned to the nodes in turn; empty means the default")
	nodes     = flag.Int("nodes", 0, "nodes of the ensemble; 0 means the scenario's default")
	seed      = flag.Uint64("seed", 1, "seed of the plan and of the clients' choices; the first one if there are several")
	seeds     = flag.Int("seeds", 3, "seeds of each scenario on the embedded ensemble, in virtual time")
	length    = flag.Duration("time", 0, "length of the work under faults; 0 means the scenario's default")
	faulty    = flag.String("faults", "", "comma-separated names of faults or families of faults to draw from; empty means all of the scenario's")
	plan      = flag.String("plan", "", "file of a plan of faults to follow instead of one drawn from the seed")
	store     = flag.String("store", filepath.Join("..", "store"), "directory of the results; empty stores none")
	junit     = flag.String("junit", "", "file for the results as JUnit XML, with a suite for each run")
	soak      = flag.Duration("soak", 0, "duration of TestSoak, with new seeds; needs -timeout 0 as well")
	shrinking = flag.Duration("shrink", time.Minute, "time limit to minimize an invalid run on the embedded ensemble")
	libraries = flag.Bool("libraries", false, "also run the isolated holder with Curator and kazoo, which takes minutes")
)

func TestMain(m *testing.M) {
	peers.Work()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		peers.CleanUp()
		os.RemoveAll(builtDir)
		if err := all.write(*junit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// The variable `all` collects the runs of this process for the file of -junit.
var all runs

type runs struct {
	mu   sync.Mutex
	file report.JUnit
}

func (r *runs) add(result *harness.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file.Add(result)
}

func (r *runs) write(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.file.Write(f), f.Close())
}

// The function `options` returns the options that the flags select. The argument `standard` is the
// length of the run if no flag sets it. The test is skipped if the selected ensemble is not
// available.
func options(t *testing.T, standard time.Duration) harness.Options {
	t.Helper()
	if *kind == "container" {
		needs.Installed(t, container.Available(t.Context()))
	}
	start, err := kinds.Starter(*kind, *zookeeper, "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	o := harness.Options{Ensemble: start, Nodes: *nodes, Seed: *seed, Time: cmp.Or(*length, standard), Command: command(t)}
	if *store != "" {
		o.Store = report.Open(*store)
	}
	return o
}

// The function `flagged` applies the flags to s and o. It calls With to add the faults that the
// flag -faults names and that s does not have. If s then still has none of the named faults,
// `flagged` skips the test.
func flagged(t *testing.T, s harness.Scenario, o harness.Options) (harness.Scenario, harness.Options) {
	t.Helper()
	o.Nodes, o.Time = *nodes, cmp.Or(*length, o.Time)
	if *faulty != "" {
		s, o.Faults = With(s, strings.Split(*faulty, ",")...)
		if !slices.ContainsFunc(s.Faults, func(f harness.Fault) bool { return slices.Contains(o.Faults, f.Name()) }) {
			t.Skipf("%s has none of the faults %s", s.Name, *faulty)
		}
	}
	if *plan != "" {
		var err error
		if o.Plan, err = report.ReadPlan(*plan); err != nil {
			t.Fatal(err)
		}
	}
	return s, o
}

// The function `command` returns the command line that repeats the test.
func command(t *testing.T) string {
	parts := []string{"go test ./scenarios -run", "'^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$'"}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			parts = append(parts, "-"+f.Name, f.Value.String())
		}
	})
	return strings.Join(parts, " ")
}

// virtualCommand returns the command line that repeats a run in virtual time.
func virtualCommand(s harness.Scenario, o harness.Options) string {
	name, mutant, _ := strings.Cut(s.Name, "+")
	c := fmt.Sprintf("zkcoord run %s --virtual --time %v --seed %d", name, o.Time, o.Seed)
	if mutant != "" {
		c += " --mutant " + mutant
	}
	if o.Nodes != 0 {
		c += fmt.Sprintf(" --nodes %d", o.Nodes)
	}
	if o.Faults != nil {
		c += " --faults " + strings.Join(o.Faults, ",")
	}
	return c
}

// The function `run` runs s on the ensemble that the flags select. It fails the test unless the
// result passes.
func run(t *testing.T, s harness.Scenario, standard time.Duration) {
	t.Helper()
	if *kind == "embedded" && s.Needs == "" {
		s, o := flagged(t, s, VirtualOptions(s, *seed))
		tell(t, s, virtually(t, s, o), nil)
		return
	}
	s, o := flagged(t, s, options(t, standard))
	result, err := harness.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, result, o.Store)
}

// The function `virtually` runs s once in virtual time. The run stores nothing, because its times
// would be in the year 2000.
func virtually(t *testing.T, s harness.Scenario, o harness.Options) (result *harness.Result) {
	t.Helper()
	begun := time.Now().UTC()
	o.Store = nil
	if o.Plan == nil {
		o.Command = virtualCommand(s, o)
	}
	virtual.Test(t, func(t *testing.T) {
		var err error
		if result, err = harness.Run(t.Context(), s, o); err != nil {
			t.Fatalf("%s with seed %d: %v", s.Name, o.Seed, err)
		}
	})
	result.Start = begun
	return result
}

// The function `tell` fails the test unless r passes. The failure contains the summary, the path of
// the report, and on the embedded ensemble a smaller run that fails the same way.
func tell(t *testing.T, s harness.Scenario, r *harness.Result, kept harness.Store) {
	t.Helper()
	all.add(r)
	if r.Verdict.Passed() {
		t.Log(r.Summary())
		return
	}
	t.Errorf("%s%s", r.Summary(), where(t, r, kept))
	if r.Verdict == checker.Invalid && r.Ensemble == "embedded" && *shrinking > 0 {
		t.Log(smaller(t, s, r))
	}
}

// The function `where` returns a line with the path of the report of r. It stores r first if
// necessary.
func where(t *testing.T, r *harness.Result, kept harness.Store) string {
	on, _ := kept.(*report.Store)
	if on == nil && *store != "" {
		on = report.Open(*store)
	}
	if on == nil {
		return ""
	}
	if on.Dir(r) == "" {
		if err := on.Save(r); err != nil {
			t.Error(err)
		}
	}
	return "report: " + filepath.Join(on.Dir(r), report.HTMLFile)
}

// The function `smaller` minimizes r and describes the result.
func smaller(t *testing.T, s harness.Scenario, r *harness.Result) string {
	ctx, cancel := context.WithTimeout(t.Context(), *shrinking)
	defer cancel()
	small, err := shrink.Run(ctx, r, 2, func(_ context.Context, tr shrink.Trial) (*harness.Result, error) {
		o := VirtualOptions(s, r.Seed)
		o.Nodes = r.Nodes
		return virtually(t, s, tr.Options(o)), nil
	})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s is also violated with %d faults, %d clients and %v (%d tried)\n%s\n%s", small.Property,
		len(small.Plan), small.Clients, small.Time, small.Tried, where(t, small.Result, nil), report.GoTest(small.Result, small.Property))
}
