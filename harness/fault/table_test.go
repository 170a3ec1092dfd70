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

// These types are ensembles of three nodes that were never started. Able inspects only the type of
// an ensemble and the number of its nodes.
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

// The variable `columns` has the kinds of ensemble in the order of the table's columns.
var columns = []struct {
	name string
	ensemble.Ensemble
}{
	{"embedded", anEmbedded{}}, {"process", aProcess{}}, {"container", aContainer{}},
	{"compose", aCompose{}}, {"external", anAddresses{}},
}

// The function `kind` returns the ensemble of a column.
func kind(name string) ensemble.Ensemble {
	for _, c := range columns {
		if c.name == name {
			return c.Ensemble
		}
	}
	panic("unknown kind " + name)
}

// The function `env` returns the environment of a run on an ensemble, with three clients in
// separate processes.
func env(e ensemble.Ensemble) *harness.Env {
	env := harness.NewEnv(e, 3)
	env.ClientProcesses = true
	return env
}

var rewrite = flag.Bool("rewrite", false, "rewrite the generated table")

const faultsFile = "../../docs/faults.md"

// The table in docs/faults.md lists the faults that the code supports.
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
project on this machine (` + "`--ensemble external --compose FILE`" + `). ` + "`embedded`" + ` is package zktest, a model of
ZooKeeper's servers in the process of the run. Each fault proves that it took effect. A fault that
is not over at once is healed. To test each fault on the embedded ensemble, run ` + "`go test ./harness/fault`" + `. To
test them on real servers, set ` + "`ZKCOORD_TEST_FAULT`" + ` to ` + "`process`" + `, ` + "`container`" + ` or ` + "`compose`" + `.

"Expected" is the result to expect from a scenario with locks under that fault alone. A plan has a
fault marked * only if the scenario or ` + "`--faults`" + ` names this fault or its family. The name of a
family is the beginning of the faults' names up to a hyphen, such as ` + "`partition`" + `. The name ` + "`all`" + `
does not include such a fault, because it needs nodes that are started for it, affects all clients
or the processes of clients, or breaks an assumption of the primitives. If the expected result
mentions exposure, the fault breaks an assumption of the lease. On local JVMs, a run with faults of
members (` + "`member-*`" + `) cannot have partitions or faults of edges. A fault that deletes znodes also
deletes the items of a queue, a claim, or a barrier's round: see Q2, Q3 and D3.

[fault-matrix.md](fault-matrix.md) has a run under each fault on containers.

| fault | what it does |`)
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString(" expected |\n| --- | --- |" + strings.Repeat(" :-: |", len(columns)) + " --- |\n")
	for _, f := range Every() {
		does, expect := About(f)
		name := f.Name()
		if apart(f) {
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
	b.WriteString(afterTable)
	return b.String()
}

// afterTable is the rest of the document.
const afterTable = `
## Ensembles in several regions

` + "`zkcoord run lock --ensemble process --regions 2,2,1 --distance 40ms`" + ` runs five nodes in three regions. Data
between two regions arrive later: by the distance, plus up to a quarter of it at random. The faults of edges add to
this. Clients reach each node at full speed.

## Faults of a client's machine

No scenario has these faults. They are tests of package session, on one session or one program:

| fault | what happens | test |
| --- | --- | --- |
| a TLS certificate expires, and is exchanged | the connection stays; the next one fails and says why; the session resumes with the new certificates | TestSessionSurvivesAnExpiredCertificate |
| a name in DNS changes, is missing, or has a dead address | the name is looked up until it is right; the session resumes | TestSessionSurvivesChangesOfANameInDNS |
| no file descriptors are left | the connection stays; the next one fails and says why; the session resumes | TestSessionSurvivesUsedUpDescriptors |
| IPv6 addresses | they work | TestSessionOverIPv6 |
| the runtime stops all goroutines of a large heap | when the runtime continues, the lease is over and the context ends; the next session holds again | TestHoldEndsAfterALongStopOfTheRuntime |
| the members of the ensemble change (the faults member-* do this in scenarios) | with FollowMembers, the session follows them | TestSessionFollowsTheMembersReal |

## Not done

- **The clock rate of a client.** libfaketime does not change the clock of a Go program, which does not read the
  clock through libc. For clients in other languages, put it into the command of ` + "`--client`" + `. The effect
  depends on the rate of the client's clock relative to those of the servers. The faults ` + "`timers-*`" + ` change the
  servers' rates instead.
- **A memory limit for a client with cgroup v2.** client-memory needs the memory controller of cgroup v1, and root. With
  v2 the kernel ends a process that reaches its limit, which is client-kill, or slows it down, which is client-pause.
- **Lost packets between local JVMs, late packets between containers**: between local JVMs, the harness relays streams,
  so packets cannot be lost, and data can only be late. Delays between containers would need tc netem, which many
  kernels do not have.
`

func TestEveryFaultIsDescribedAndSomebodyCanDoIt(t *testing.T) {
	for _, f := range Every() {
		if does, _ := About(f); does == "" {
			t.Errorf("%s: got no description, want one", f.Name())
		}
		able := 0
		for _, c := range columns {
			if f.Able(env(c.Ensemble)) == nil {
				able++
			}
		}
		if able == 0 {
			t.Errorf("%s: got no ensemble that supports it, want at least one", f.Name())
		}
	}
}

// The envelope is the set of conditions under which holds must not overlap. Exposing must return
// exactly the names of the faults outside of the envelope. Under these faults, a checker may report
// overlapping holds as exposure instead of as a violation. If Exposing returned one fault too many,
// invalid runs could pass.
func TestFaultsOutsideOfTheEnvelope(t *testing.T) {
	want := []string{"client-memory", "client-pause", "data-counter", "data-delete-node", "data-delete-parent", "session-close", "timers-double"}
	if got := Exposing(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("exposing: got %q, want %q", got, want)
	}
	if got := Deleting(); !slices.Equal(slices.Sorted(slices.Values(got)), want[2:5]) {
		t.Errorf("deleting: got %q, want %q", got, want[2:5])
	}
}
