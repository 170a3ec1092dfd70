package fault

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/external"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
)

// Ensembles of three nodes that nobody has started: what one is able to do is in its type.
type (
	anEmbedded  struct{ *embedded.Ensemble }
	aProcess    struct{ *process.Ensemble }
	aContainer  struct{ *container.Ensemble }
	aCompose    struct{ *container.Compose }
	anAddresses struct{ *external.Ensemble }
)

var three = make([]string, 3)

func (anEmbedded) Servers() []string  { return three }
func (aProcess) Servers() []string    { return three }
func (aContainer) Servers() []string  { return three }
func (aCompose) Servers() []string    { return three }
func (anAddresses) Servers() []string { return three }
func (aContainer) Kind() string       { return "container" }
func (aCompose) Kind() string         { return "external" }

// columns are the kinds in the order of the table.
var columns = []struct {
	name string
	ensemble.Ensemble
}{
	{"embedded", anEmbedded{}}, {"process", aProcess{}}, {"container", aContainer{}},
	{"compose", aCompose{}}, {"external", anAddresses{}},
}

// kind returns the ensemble of a column.
func kind(name string) ensemble.Ensemble {
	for _, c := range columns {
		if c.name == name {
			return c.Ensemble
		}
	}
	panic("there is no kind " + name)
}

// env is that of a run on an ensemble, with three clients in processes of their own.
func env(e ensemble.Ensemble) *harness.Env {
	env := harness.NewEnv(e, 3)
	env.ClientProcesses = true
	return env
}

var rewrite = flag.Bool("rewrite", false, "write the generated table anew")

const faultsFile = "../../docs/faults.md"

// The table is what the code is able to do.
func TestTableOfFaultsIsUpToDate(t *testing.T) {
	table := faultTable()
	if *rewrite {
		if err := os.WriteFile(faultsFile, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(faultsFile); err != nil || string(text) != table {
		t.Errorf("docs/faults.md is not what the faults say; write it anew with: go test ./harness/fault -run Table -rewrite (%v)", err)
	}
}

func faultTable() string {
	var b strings.Builder
	b.WriteString(`# Faults

What can be broken, and on what. Generated from package fault by ` + "`go test ./harness/fault -run Table -rewrite`" + `.

` + "`external`" + ` is an ensemble of somebody else's, known by its addresses; ` + "`compose`" + ` is one of a docker-compose project on this
machine (` + "`--ensemble external --compose FILE`" + `). Each fault proves that it had an effect, and each is healed. To try each on a kind that
can do it: ` + "`go test ./harness/fault`" + ` on the embedded one; with ` + "`ZKCOORD_TEST_FAULT=process`" + `, ` + "`container`" + ` or
` + "`compose`" + ` on real servers.

"Expected" is what a scenario with locks should give under that fault alone. Faults marked * go beyond what primitives
assume. They, and those of clocks and disks, are drawn only where a scenario or a run (--faults) names them. Whoever deletes znodes
deletes what is in a queue, a claim, or a barrier's round with them: Q2, Q3 and D3 say so.

| fault | what it does |`)
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString(" expected |\n| --- | --- |" + strings.Repeat(" :-: |", len(columns)) + " --- |\n")
	for _, f := range Every() {
		does, expect := About(f)
		name := f.Name()
		if Beyond(f) {
			name += " *"
		}
		fmt.Fprintf(&b, "| %s | %s |", name, does)
		for _, c := range columns {
			mark := ""
			if f.Able(env(c.Ensemble)) == nil {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		fmt.Fprintf(&b, " %s |\n", expect)
	}
	return b.String()
}

func TestEveryFaultIsDescribedAndSomebodyCanDoIt(t *testing.T) {
	for _, f := range Every() {
		if does, _ := About(f); does == "" {
			t.Errorf("%s has no description", f.Name())
		}
		able := 0
		for _, c := range columns {
			if f.Able(env(c.Ensemble)) == nil {
				able++
			}
		}
		if able == 0 {
			t.Errorf("no ensemble can do %s", f.Name())
		}
	}
}

// What is outside of the envelope excuses overlaps: a fault more in the list would
// let runs pass that should not.
func TestFaultsOutsideOfTheEnvelope(t *testing.T) {
	want := []string{"client-pause", "data-counter", "data-delete-node", "data-delete-parent", "session-close", "timers-double"}
	if got := Exposing(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("exposing: %q, want %q", got, want)
	}
	if got := Deleting(); !slices.Equal(slices.Sorted(slices.Values(got)), want[1:4]) {
		t.Errorf("deleting: %q, want %q", got, want[1:4])
	}
}
