package difftest

import (
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/zktest"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// untraced are the changes between releases that no trace shows, see the package's comment.
var untraced = []string{"clients-delete"}

// but returns a release with the rules of these changes the other way round, except one.
func but(release zktest.Version, changes []tree.Change, except string) zktest.Version {
	names := []string{string(release)}
	for _, c := range changes {
		if c.Name != except {
			names = append(names, c.Name)
		}
	}
	return zktest.Version(strings.Join(names, "~"))
}

// like plays traces on one server of zktest.
func like(v zktest.Version) trace.Player { return onZktest(options(1, v)) }

// mostTraces is a number in which each change between releases shows itself.
const mostTraces = 1000

// Each change in the table of rules is one that traces find, and the only one that they find.
func TestTracesShowEachChangeOfReleases(t *testing.T) {
	newest := zktest.Version(tree.Newest["3.9"])
	for _, change := range tree.Changes {
		t.Run(change.Name, func(t *testing.T) {
			older := newest + zktest.Version("~"+change.Name)
			c := compared(like(newest), like(older), limits(1, newest, older))
			found, _ := c.All(t.Context(), *seed, mostTraces, *workers, 1)
			if want := !slices.Contains(untraced, change.Name); len(found) > 0 != want {
				t.Fatalf("a difference was found: %v, want %v", !want, want)
			}
			for _, d := range found {
				t.Log(d)
			}
		})
	}
}

// Real servers of one line differ from zktest as the other line in what the table of rules lists between the two, in each of
// the changes, and in nothing else.
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
		if found := compare(but(other, changes, ""), *traces); len(found) > 0 {
			t.Errorf("%s as %s, not in the table: %v", release, other, found[0])
		}
		for _, change := range changes {
			if slices.Contains(untraced, change.Name) {
				continue
			}
			found := compare(but(other, changes, change.Name), mostTraces)
			if len(found) == 0 {
				t.Errorf("%s as %s: %d traces do not show that %s", release, other, mostTraces, change.What)
				continue
			}
			t.Logf("%s: %v", change.What, found[0])
		}
	})
}
