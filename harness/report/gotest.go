package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

const goTest = `package scenarios_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/scenarios"
)

// %[2]s
func Test%[1]s(t *testing.T) {
	s, err := scenarios.Named(%[3]q)
	if err != nil {
		t.Fatal(err)
	}
	o := scenarios.VirtualOptions(s, %[4]d)
	o.Nodes, o.Clients, o.Operations = %[5]d, %[6]d, %[7]d
	o.Time = %[8]d * time.Millisecond
	o.Plan = %[9]s
	synctest.Test(t, func(t *testing.T) {
		r, err := harness.Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if one, _ := r.Of(%[10]q); one.Verdict == checker.Invalid {
			t.Error(r.Summary())
		}
	})
}
`

// GoTest returns the source of a test for package scenarios. The test fails as long as a run with
// r's plan violates the property with the given id. The test runs on the embedded ensemble in
// virtual time.
func GoTest(r *harness.Result, id string) string {
	one, _ := r.Of(id)
	return fmt.Sprintf(goTest, camel(r.Scenario)+camel(id), strings.Join(strings.Fields(one.Reason), " "), r.Scenario, r.Seed,
		r.Nodes, r.Clients, r.Operations, r.Time.Milliseconds(), strings.ReplaceAll(literal(r.Plan), "\n", "\n\t"), id)
}

// violationTest returns a function that writes the GoTest of the first violation. It returns nil if
// there is no violation, if the ensemble was not the embedded one, or if the clients were not the
// scenario's own.
func violationTest(r *harness.Result) func(io.Writer) error {
	first := r.Failed()
	if r.Ensemble != "embedded" || r.Client != "" || len(first) == 0 || first[0].Verdict != checker.Invalid {
		return nil
	}
	return asText(GoTest(r, first[0].ID))
}

// The function `camel` converts s to a part of a Go function's name.
func camel(s string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("-+_/", r) }) {
		b.WriteString(capital(part))
	}
	return b.String()
}
