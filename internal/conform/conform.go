package conform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// Options select the servers to check and how to check them.
type Options struct {
	// Servers are the addresses of one ensemble, the leader first if it is known.
	Servers []string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)

	// Root is the path below which the checks create znodes. It must exist, and every client must
	// have all permissions on it. The traces give their znodes various ACLs, and each of these ACLs
	// also gives all permissions to Owner. So Owner can delete everything that remains below Root.
	Root  string
	Owner wire.ID

	// Release is the version that zktest models. The servers' answers to the traces are compared
	// with those of zktest. "" means the newest version.
	Release zktest.Version
	Traces  int
	Seed    uint64 // seed of the first trace

	// Patience is the time limit for an answer; 0 means 30 seconds.
	Patience time.Duration
}

// A Step is one operation and its answer.
type Step struct {
	Operation string `json:"operation"`
	Answer    string `json:"answer"`
	Expected  string `json:"expected"`
	OK        bool   `json:"ok"`
}

// A Finding says whether servers meet a requirement. If this could not be checked, the verdict is
// Unknown, and Reason says why.
type Finding struct {
	Requirement string          `json:"requirement"`
	What        string          `json:"what"`
	Verdict     checker.Verdict `json:"verdict"`
	Reason      string          `json:"reason,omitempty"`
	Steps       []Step          `json:"steps"`
	Guarantees  []string        `json:"guarantees"` // guarantees that depend on the requirement
	Recipes     []string        `json:"recipes"`    // packages of these guarantees
}

// A requirement is a property that servers must have.
type requirement struct {
	name, what string
	guarantees []string
	check      func(*probe) error // the error says why it could not be checked
}

// packages are the packages with guarantees, in the order of the summary.
var packages = []struct {
	name    string
	letters string // the number of each guarantee begins with one of these letters
}{
	{"session", "S"}, {"lock", "L"}, {"election", "E"}, {"group", "G"}, {"queue", "Q"}, {"barrier", "BD"}, {"counter", "C"}, {"watch", "W"}, {"fence", "F"},
}

// packageOf returns the package of a guarantee.
func packageOf(guarantee string) string {
	for _, p := range packages {
		if strings.Contains(p.letters, guarantee[:1]) {
			return p.name
		}
	}
	return "" // a test finds guarantees without a package
}

// recipesOf returns the packages of the guarantees. It leaves out session, which all packages use.
func recipesOf(guarantees []string) (names []string) {
	for _, g := range guarantees {
		if name := packageOf(g); name != "session" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// requirements returns all requirements except the traces, in the order of their checks.
func requirements() []requirement {
	return slices.Concat(ofSessions(), ofWrites(), ofReads())
}

// Run checks one requirement after the other, and calls `report` with each finding. Only znodes
// below the root remain afterwards. An error means that Run could not continue. If `report` returns
// an error, Run returns that error at once.
func Run(ctx context.Context, o Options, report func(Finding) error) error {
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	for i, r := range requirements() {
		f, err := o.look(ctx, r, fmt.Sprintf("%s/%02d", o.Root, i))
		if err != nil {
			return err
		}
		if err := report(f); err != nil {
			return err
		}
	}
	return o.traces(ctx, report)
}

func (o *Options) servers() *trace.Servers {
	return &trace.Servers{Addresses: o.Servers, Dial: o.Dial, Patience: o.Patience}
}

// look checks one requirement in a new directory.
func (o *Options) look(ctx context.Context, r requirement, dir string) (Finding, error) {
	p := &probe{ctx: ctx, servers: o.servers(), dir: dir}
	defer p.end()
	err := p.mkdir()
	if err == nil {
		err = r.check(p)
	}
	if ctx.Err() != nil {
		return Finding{}, context.Cause(ctx)
	}
	f := Finding{Requirement: r.name, What: r.what, Steps: p.steps, Guarantees: r.guarantees, Recipes: recipesOf(r.guarantees)}
	f.judge(err)
	return f, nil
}

// The method `judge` derives the verdict from the steps. A wrong step counts even if later steps
// could not be done.
func (f *Finding) judge(err error) {
	f.Verdict = checker.Valid
	switch {
	case slices.ContainsFunc(f.Steps, func(s Step) bool { return !s.OK }):
		f.Verdict = checker.Invalid
	case err != nil || len(f.Steps) == 0:
		f.Verdict = checker.Unknown
		f.Reason = cmp.Or(err, errors.New("no operation was tried")).Error()
	}
}
