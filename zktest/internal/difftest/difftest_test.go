package difftest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/internal/zkversion"
	"github.com/zkcoord/zkcoord/zktest"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

var (
	traces  = flag.Int("traces", enough, "number of traces to compare on each ensemble")
	seed    = flag.Uint64("seed", 1, "seed of the first trace; each further trace adds 1")
	workers = flag.Int("workers", 4, "traces that are played at the same time")
	nodes   = flag.Int("nodes", 0, "number of servers; 0 is one ensemble of 1 and one of 3")
	logs    = flag.String("logs", "", "directory to keep the logs of the servers in; empty keeps none")
	against = flag.String("zookeeper", strings.Join(zkversion.Known(), ","), "versions of the real servers")
	shrunk  = flag.Int("differences", 5, "number of differences after which to stop")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const superuser = "super:pw"

// The function `options` returns options of zktest that match the real ensemble. With one server,
// both ensembles keep the default, which allows no nodes with a time to live.
func options(n int, v zktest.Version) zktest.Options {
	return zktest.Options{Version: v, Servers: n, TickTime: tick, TTLNodes: ttlNodes(n), Superuser: superuser, MaxClientConns: -1}
}

func ttlNodes(n int) bool { return n > 1 }

const tick = 2 * time.Second

// The constant `enough` is a number of traces. Together, the traces of the seeds 1 to `enough`
// contain each event that the function `missing` checks.
const enough = 100

// onEachVersion runs f for each version of real servers. A version that is not installed is
// skipped, or fails the test if CI is set.
func onEachVersion(t *testing.T, f func(t *testing.T, version string)) {
	for version := range strings.SplitSeq(*against, ",") {
		t.Run(version, func(t *testing.T) {
			_, _, err := process.Find(t.Context(), version)
			needs.Installed(t, err)
			f(t, version)
		})
	}
}

// startReal starts ZooKeeper and returns its release. It makes the interval at which the servers
// delete containers so long that no trace is affected.
func startReal(t *testing.T, version string, n int) (s *trace.Servers, release zktest.Version) {
	t.Helper()
	return startLogged(t, version, n, *logs)
}

// startLogged does the same as startReal. The servers store their logs in the directory `logs`.
func startLogged(t *testing.T, version string, n int, logs string) (s *trace.Servers, release zktest.Version) {
	t.Helper()
	e, err := process.Start(t.Context(), process.Options{Config: ensemble.Config{Version: version, Nodes: n, TickTime: tick, LogDir: logs, JVMFlags: []string{
		fmt.Sprintf("-Dzookeeper.extendedTypesEnabled=%v", ttlNodes(n)), "-Dznode.container.checkIntervalMs=1000000000",
		"-Dzookeeper.DigestAuthenticationProvider.superDigest=" + trace.Digest("super").ID,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	leader := 0
	if n > 1 {
		if leader, err = e.Leader(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	said, err := ensemble.FourLetters(t.Context(), e.DialContext, e.Servers()[0], "srvr")
	if err != nil {
		t.Fatal(err)
	}
	return from(e.Servers(), leader, e.DialContext), releaseOf(t, said)
}

// releaseOf returns the release that the reply of srvr contains. If zktest does not support this
// release, releaseOf returns the newest release that zktest supports.
func releaseOf(t *testing.T, said string) zktest.Version {
	t.Helper()
	var minor, patch int
	fmt.Sscanf(said, "Zookeeper version: 3.%d.%d", &minor, &patch)
	release := fmt.Sprintf("3.%d.%d", minor, patch)
	if _, err := tree.RulesOf(release); err != nil {
		release = tree.Newest[string(zktest.V39)]
		t.Logf("%v: compared with %s", err, release)
	}
	return zktest.Version(release)
}

func rulesOf(t *testing.T, release zktest.Version) tree.Rules {
	t.Helper()
	rules, err := tree.RulesOf(string(release))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func limits(n int, releases ...zktest.Version) (l trace.Limits) {
	for _, r := range releases {
		l.Modes = l.Modes || r == "3.8.0" || r == "3.8.1"
		l.CutWrites = l.CutWrites || n > 1 && !strings.HasPrefix(string(r), "3.8")
	}
	return l
}

// The function `from` rotates the addresses so that the leader is first.
func from(addresses []string, leader int, dial ensemble.DialFunc) *trace.Servers {
	rotated := slices.Concat(addresses[leader:], addresses[:leader])
	return &trace.Servers{Addresses: rotated, Dial: dial}
}

// onZktest returns a player that plays each trace on a new ensemble.
func onZktest(opts zktest.Options) trace.Player {
	return func(ctx context.Context, root string, steps []trace.Step, t trace.Tally) (trace.Transcript, error) {
		e, err := zktest.New(opts)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		return trace.Play(ctx, from(e.Servers(), e.Leader(), e.DialContext), root, steps, t)
	}
}

func compared(zookeeper, zktest trace.Player, limits trace.Limits) *trace.Comparison {
	return &trace.Comparison{WantName: "ZooKeeper", Want: zookeeper, GotName: "zktest", Got: zktest, Limits: limits}
}

// The function `missing` returns the events that a set of traces has not shown: successful
// operations, watch events, and changes of connections.
func missing(t trace.Tally, ttl bool, rules tree.Rules) []string {
	var none []string
	want := func(what, outcome string) {
		if t[what][outcome] == 0 {
			none = append(none, what+" "+outcome)
		}
	}
	ops, _ := trace.Operations()
	for _, op := range ops {
		switch {
		case op == wire.OpCheck: // no trace contains a check that succeeds outside of a multi, see the package comment
			want("part of a multi", "check ok")
			if !rules.CheckAlone {
				want(op.String(), wire.Unimplemented.String())
			}
		case op == wire.OpReconfig:
			want(op.String(), wire.ReconfigDisabled.String())
		case op == wire.OpCreateTTL && !ttl, op == trace.Unknown:
			want(op.String(), wire.Unimplemented.String())
		default:
			want(op.String(), "ok")
		}
	}
	for e := wire.EventCreated; e <= wire.EventChildrenChanged; e++ {
		want("event", fmt.Sprintf("event %d", e))
	}
	for _, turn := range []string{"resume", "take", "closeAfar"} {
		want(turn, "connected")
	}
	want("impostor", "refused")
	want("prophet", "refused")
	return none
}

// ZooKeeper and zktest reply in the same way to the same random traces.
func TestZktestAnswersAsZooKeeper(t *testing.T) {
	sizes := []int{1, 3}
	if *nodes > 0 {
		sizes = []int{*nodes}
	}
	onEachVersion(t, func(t *testing.T, version string) {
		for _, n := range sizes {
			t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) { compareWith(t, version, n) })
		}
	})
}

// compareWith plays traces on n real servers of a version and on zktest. On a busy machine, a
// server of 3.8.0 sometimes ends by itself. If that happens in the first attempt, compareWith does
// not report a difference, but plays the traces once more on new servers.
func compareWith(t *testing.T, version string, n int) {
	for first := true; ; first = false {
		logs := *logs
		if logs == "" {
			logs = t.TempDir()
		}
		ended := false
		t.Cleanup(func() { // runs after the ensemble's Close, because Close stores the logs
			if ended {
				t.Logf("a server ended by itself; what it wrote last:\n%s", lastErrors(logs))
			}
		})
		real, release := startLogged(t, version, n, logs)
		c := compared(trace.On(real), onZktest(options(n, release)), limits(n, release))
		start := time.Now()
		found, tried := c.All(t.Context(), *seed, *traces, *workers, *shrunk)
		if ended = first && slices.ContainsFunc(found, serverEnded); ended {
			continue
		}
		for _, d := range found {
			t.Errorf("zktest and ZooKeeper answer differently: %v", d)
		}
		t.Logf("%d traces in %v\n%v", *traces, time.Since(start).Round(time.Second), tried)
		if missing := missing(tried, ttlNodes(n), rulesOf(t, release)); *seed == 1 && *traces >= enough && len(found) == 0 && len(missing) > 0 {
			t.Errorf("these never occurred: %q, want each at least once", missing)
		}
		return
	}
}

// serverEnded reports whether a trace could not be played because a server accepts no connection.
func serverEnded(d trace.Difference) bool { return errors.Is(d.Err, syscall.ECONNREFUSED) }

// lastErrors returns the last errors and warnings, and the last line, of each log in a directory.
func lastErrors(dir string) string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		last := lines[len(lines)-1]
		lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, " ERROR ") && !strings.Contains(l, " WARN ") })
		fmt.Fprintf(&b, "%s:\n%s\n%s\n", filepath.Base(file), strings.Join(lines[max(0, len(lines)-8):], "\n"), last)
	}
	return b.String()
}

// This test shows that TestZktestAnswersAsZooKeeper can fail. It compares two ensembles with
// different settings. The comparison finds different replies, and minimizes each trace to the steps
// that are necessary for the difference.
func TestADifferenceIsFoundAndShrunk(t *testing.T) {
	with, without := options(3, ""), options(3, "")
	without.TTLNodes = false
	same := compared(onZktest(with), onZktest(with), trace.Limits{})
	if found, _ := same.All(t.Context(), *seed, 50, *workers, 1); len(found) > 0 {
		t.Fatalf("zktest differs from itself: %v", found[0])
	}
	other := compared(onZktest(with), onZktest(without), trace.Limits{})
	found, _ := other.All(t.Context(), *seed, 10, *workers, 10)
	if len(found) < 3 {
		t.Errorf("%d of 10 traces differ, want at least 3", len(found))
	}
	for _, d := range found {
		if len(d.Steps) > 3 || d.NotRepeated {
			t.Errorf("got a difference that is not minimized: %v", d)
		}
	}
}
