package difftest

import (
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/zktest"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// The list `untraced` has the name of each change between releases that no trace on one server can
// show. The package comment says why.
var untraced = []string{"clients-delete", "session-first"}

// The function `inverted` returns a variant of release in which the rules of the given changes are
// inverted. It does not invert the rule of the change that has the name `except`.
func inverted(release zktest.Version, changes []tree.Change, except string) zktest.Version {
	names := []string{string(release)}
	for _, c := range changes {
		if c.Name != except {
			names = append(names, c.Name)
		}
	}
	return zktest.Version(strings.Join(names, "~"))
}

// The function `like` returns a player that plays traces on one server of zktest.
func like(v zktest.Version) trace.Player { return onZktest(options(1, v)) }

// mostTraces is a number of traces that is enough to show each change between
// releases.
const mostTraces = 1000

// The table tree.Changes lists the differences between releases. Random traces of requests find
// each of these differences, except those in `untraced`.
func TestTracesShowEachChangeOfReleases(t *testing.T) {
	newest := zktest.Version(tree.Newest["3.9"])
	for _, change := range tree.Changes {
		t.Run(change.Name, func(t *testing.T) {
			older := newest + zktest.Version("~"+change.Name)
			c := compared(like(newest), like(older), limits(1, newest, older))
			found, _ := c.All(t.Context(), *seed, mostTraces, *workers, 1)
			if want := !slices.Contains(untraced, change.Name); len(found) > 0 != want {
				t.Fatalf("found a difference: %v, want %v", !want, want)
			}
			for _, d := range found {
				if d.Err != nil {
					t.Errorf("a trace could not be played: %v", d)
				}
				t.Log(d)
			}
		})
	}
}

// This test compares real servers of one line, 3.8 or 3.9, with zktest as the newest release of the
// other line. The table tree.Changes lists the changes between these two releases. If zktest
// inverts the rules of all these changes, it must answer like the real servers: the test fails if a
// trace shows a difference. Then, for each change in turn, zktest inverts the rules of all other
// changes. Now a trace must show a difference, or else the test fails. The changes in `untraced`
// get no such turn, because no trace on one server can show them.
//
// Regression: each comparison numbered its traces from 1. So the root nodes of the traces already
// existed on the servers, from an earlier comparison. The resulting error counted as a difference,
// and three of the changes were never compared.
func TestTheOtherLineDiffersAsListed(t *testing.T) {
	onEachVersion(t, func(t *testing.T, version string) {
		real, release := startReal(t, version, 1)
		other := zktest.Version(tree.Newest["3.9"])
		if !strings.HasPrefix(string(release), "3.8") {
			other = zktest.Version(tree.Newest["3.8"])
		}
		changes := tree.Between(rulesOf(t, release), rulesOf(t, other))
		compare := func(as zktest.Version, traces int) []trace.Difference {
			found, _ := compared(trace.On(real), like(as), limits(1, release, other)).All(t.Context(), *seed, traces, *workers, 1)
			return found
		}
		if found := compare(inverted(other, changes, ""), *traces); len(found) > 0 {
			t.Errorf("%s as %s: found a difference that is not in the table: %v", release, other, found[0])
		}
		for _, change := range changes {
			if slices.Contains(untraced, change.Name) {
				continue
			}
			found := compare(inverted(other, changes, change.Name), mostTraces)
			if len(found) == 0 {
				t.Errorf("%s as %s: %d traces do not show the difference %q", release, other, mostTraces, change.What)
				continue
			}
			if found[0].Err != nil {
				t.Errorf("%s as %s: a trace that should show %q could not be played: %v", release, other, change.What, found[0])
				continue
			}
			t.Logf("%s: %v", change.What, found[0])
		}
	})
}
