package conform

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/zkversion"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The function `on` checks an ensemble of zktest in virtual time.
func on(t *testing.T, opts zktest.Options, release zktest.Version, traces int) (findings []Finding) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, opts)
		o := Options{Servers: e.Servers(), Dial: e.DialContext, Root: "/conform", Owner: trace.Digest("owner"), Release: release, Traces: traces, Seed: 1}
		makeRoot(t, &o)
		err := Run(t.Context(), o, func(f Finding) error {
			findings = append(findings, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return findings
}

func makeRoot(t *testing.T, o *Options) {
	t.Helper()
	p := &probe{ctx: t.Context(), servers: o.servers(), dir: o.Root}
	defer p.end()
	if err := p.mkdir(); err != nil {
		t.Fatal(err)
	}
}

func show(f Finding) string {
	text := fmt.Sprintf("%s: %v %s", f.Requirement, f.Verdict, f.Reason)
	for _, s := range f.Steps {
		if !s.OK {
			text += fmt.Sprintf("\n\t%s: %s, want %s", s.Operation, s.Answer, s.Expected)
		}
	}
	return text
}

func TestZktestConformsVirtualTime(t *testing.T) {
	for _, v := range []zktest.Version{zktest.V38, zktest.V39} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/servers=%d", v, n), func(t *testing.T) {
				findings := on(t, zktest.Options{Version: v, Servers: n}, v, 100)
				if len(findings) < len(requirements())+20 {
					t.Errorf("got %d findings, want at least %d: one for each requirement and 20 of traces",
						len(findings), len(requirements())+20)
				}
				for _, f := range findings {
					if f.Verdict != checker.Valid {
						t.Errorf("got %s\n\twant %v", show(f), checker.Valid)
					}
				}
			})
		}
	}
}

// In this test the servers resume no session and give no session a password, like ClickHouse
// Keeper. Only requirements that need these abilities are invalid or unknown.
func TestServersThatResumeNoSessionVirtualTime(t *testing.T) {
	findings := on(t, zktest.Options{NoResume: true}, zktest.V39, 100)
	want := map[string]checker.Verdict{
		"password": checker.Invalid, "resumed": checker.Invalid,
		"moved": checker.Unknown, "ended": checker.Unknown, // a session must be resumed before it can move
		"trace/resume": checker.Invalid, "trace/take": checker.Invalid, "trace/closeAfar": checker.Invalid, "trace/impostor": checker.Invalid,
	}
	for _, f := range findings {
		expected, ok := want[f.Requirement]
		if !ok {
			expected = checker.Valid
		}
		delete(want, f.Requirement)
		if f.Verdict != expected {
			t.Errorf("got %s\n\twant %v", show(f), expected)
		}
		if f.Verdict == checker.Invalid && !slices.Contains(f.Guarantees, "S2") && !slices.Contains(f.Guarantees, "S1") {
			t.Errorf("%s: got the guarantees %v, want S1 or S2 among them", f.Requirement, f.Guarantees)
		}
	}
	for name := range want {
		t.Errorf("got no finding for %s", name)
	}
}

var against = flag.String("zookeeper", zkversion.Default, "versions of the real servers")

// This test checks that real servers conform, in real time. To select their versions, run:
//
//	go test ./internal/conform -run Real -args -zookeeper 3.8,3.9.3,3.9.6
func TestRealServersConform(t *testing.T) {
	for version := range strings.SplitSeq(*against, ",") {
		t.Run(version, func(t *testing.T) {
			_, _, err := process.Find(t.Context(), version)
			needs.Installed(t, err)
			e, err := process.Start(t.Context(), process.Options{Config: ensemble.Config{Version: version, Nodes: 3, TickTime: 2 * time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			status, err := ensemble.Ask(t.Context(), e.DialContext, e.Servers()[0])
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Servers: e.Servers(), Dial: e.DialContext, Root: "/conform", Owner: trace.Digest("owner"), Release: zktest.Version(status.Version), Traces: 50, Seed: 1}
			makeRoot(t, &o)
			err = Run(t.Context(), o, func(f Finding) error {
				// On a busy machine, the result of the requirement "kept" may be unknown.
				if f.Verdict != checker.Valid && (f.Requirement != "kept" || f.Verdict != checker.Unknown) {
					t.Errorf("got %s\n\twant %v", show(f), checker.Valid)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Each requirement names at least one guarantee that depends on it. The file docs/guarantees.md has
// each of these guarantees.
func TestGuaranteesOfRequirementsExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string][]string{}
	for _, r := range requirements() {
		named[r.name] = r.guarantees
	}
	maps.Copy(named, usedBy)
	for name, guarantees := range named {
		if len(guarantees) == 0 {
			t.Errorf("%s: got no guarantee that depends on it, want at least one", name)
		}
		for _, g := range guarantees {
			if !strings.Contains(string(text), "\n**"+g+".** ") {
				t.Errorf("%s: docs/guarantees.md has no guarantee %s", name, g)
			}
		}
	}
}

// Each guarantee belongs to a package of the summary. Each package has guarantees that depend on
// the servers.
func TestSummaryHasEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	var findings []Finding
	for _, r := range requirements() {
		findings = append(findings, Finding{Verdict: checker.Valid, Guarantees: r.guarantees})
	}
	stand := map[string][]string{}
	for _, s := range Summary(findings) {
		stand[s.Package] = s.Stand
	}
	name := ""
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			name = strings.TrimSpace(heading)
			if len(stand[name]) == 0 {
				t.Errorf("%s: got no guarantee that depends on a requirement, want at least one", name)
			}
		}
		if g, ok := strings.CutPrefix(line, "**"); ok && packageOf(g) != name {
			t.Errorf("%.5s: got package %q, want %q", g, packageOf(g), name)
		}
	}
}

// A request that was not answered proves nothing about the servers, so no step is recorded.
func TestRequestWithoutAnAnswerRecordsNoStep(t *testing.T) {
	p := &probe{}
	if err := p.sawReply(io.ErrUnexpectedEOF, "create", "ok", "no node"); err != io.ErrUnexpectedEOF || len(p.steps) > 0 {
		t.Errorf("got %v and the steps %v, want %v and none", err, p.steps, io.ErrUnexpectedEOF)
	}
	if err := p.sawReply(nil, "create", "ok", "no node"); err != nil || len(p.steps) != 1 || p.steps[0].OK {
		t.Errorf("got %v and the steps %+v, want no error and a wrong step", err, p.steps)
	}
}
