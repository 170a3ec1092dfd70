package kinds

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The embedded ensemble models the requested version. Regression: a release such as 3.8.0 was
// refused.
func TestEmbeddedIsOfTheVersion(t *testing.T) {
	for version, says := range map[string]string{"": "3.9.", "3.8": "3.8.", "3.8.0": "3.8.0", "3.9.3": "3.9.3"} {
		start, err := Starter("embedded", version, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := start(t.Context(), ensemble.Config{Nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		status, err := ensemble.Ask(t.Context(), e.DialContext, e.Servers()[0])
		if err != nil || !strings.HasPrefix(status.Version, says) {
			t.Errorf("version %q: got servers of version %q, error %v; want %s",
				version, status.Version, err, says)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := Starter("embedded", "3.8+3.9.6", "", nil); err == nil || !strings.Contains(err.Error(), "one version") {
		t.Errorf("a mixed version: got error %v, want one about one version", err)
	}
	start, err := Starter("embedded", "2.0", "", nil)
	if err == nil {
		_, err = start(t.Context(), ensemble.Config{Nodes: 1})
	}
	if err == nil || !strings.Contains(err.Error(), "2.0") {
		t.Errorf("version 2.0: got error %v, want one that names it", err)
	}
}

// With the build tag nocontainer, the command links neither Docker's client nor the packages that
// only Docker's client needs.
func TestABuildWithoutContainersIsSmall(t *testing.T) {
	deps := func(tags string) (linked []string) {
		out, err := exec.Command("go", "list", "-deps", "-tags", tags, "github.com/zkcoord/zkcoord/cmd/zkcoord").Output()
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.Lines(string(out)) {
			for _, heavy := range []string{"github.com/testcontainers/", "github.com/moby/", "go.opentelemetry.io/"} {
				if strings.HasPrefix(p, heavy) {
					linked = append(linked, p)
				}
			}
		}
		return linked
	}
	if linked := deps("nocontainer"); len(linked) > 0 {
		t.Errorf("with the tag nocontainer the command links %q, want nothing of Docker's client", linked)
	}
	if len(deps("")) == 0 {
		t.Error("without the tag the command links nothing of Docker's client, so this test proves nothing")
	}
}
