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

// These types are ensembles of three nodes that were never started. Their types determine which
// faults they support.
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

// columns lists the kinds in the order of the table.
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
	panic("unknown kind " + name)
}

// env returns the environment of a run on an ensemble, with three clients in separate processes.
func env(e ensemble.Ensemble) *harness.Env {
	env := harness.NewEnv(e, 3)
	env.ClientProcesses = true
	return env
}

var rewrite = flag.Bool("rewrite", false, "rewrite the generated table")

const faultsFile = "../../docs/faults.md"

// The table lists the faults that the code supports.
func TestTableOfFaultsIsUpToDate(t *testing.T) {
	table := faultTable()
	if *rewrite {
		if err := os.WriteFile(faultsFile, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(faultsFile); err != nil || string(text) != table {
		t.Errorf("docs/faults.md differs from the faults; rewrite it with: go test ./harness/fault -run Table -rewrite (%v)", err)
	}
}

func faultTable() string {
	var b strings.Builder
	b.WriteString(`# Faults

This table lists the faults and the kinds of ensemble that support them. It is generated from package
fault by ` + "`go test ./harness/fault -run Table -rewrite`" + `.

` + "`external`" + ` is an existing ensemble, given by its addresses. ` + "`compose`" + ` is an ensemble of a docker-compose
project on this machine (` + "`--ensemble external --compose FILE`" + `). Each fault is healed and proves that it took
effect. To test each fault on the embedded ensemble, run ` + "`go test ./harness/fault`" + `. To test them on real
servers, set ` + "`ZKCOORD_TEST_FAULT`" + ` to ` + "`process`" + `, ` + "`container`" + ` or ` + "`compose`" + `.

"Expected" is the result to expect from a scenario with locks under that fault alone. Faults marked * break an
assumption of the primitives. These faults, expiry storms, and those of clocks and disks, are drawn only if a
scenario or a run (--faults) names them. A fault that deletes znodes also deletes the items of a queue, a claim, or a barrier's
round: see Q2, Q3 and D3.

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
			t.Errorf("no ensemble supports %s", f.Name())
		}
	}
}

// Faults outside of the envelope excuse overlaps. One fault too many in the list would let invalid
// runs pass.
func TestFaultsOutsideOfTheEnvelope(t *testing.T) {
	want := []string{"client-pause", "data-counter", "data-delete-node", "data-delete-parent", "session-close", "timers-double"}
	if got := Exposing(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("exposing: %q, want %q", got, want)
	}
	if got := Deleting(); !slices.Equal(slices.Sorted(slices.Values(got)), want[1:4]) {
		t.Errorf("deleting: %q, want %q", got, want[1:4])
	}
}
