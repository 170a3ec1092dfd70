package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
)

// GoTest is the source of a test, to be pasted beside the scenarios, that fails for as long as the plan makes s violate the
// property with that id. It runs on the embedded ensemble, on the virtual clock.
func GoTest(s harness.Scenario, seed uint64, id string, p harness.Plan, clients int, length time.Duration) string {
	name, mutant, _ := strings.Cut(s.Name, "+")
	plan := literal(p)
	if plan == "" {
		plan = "harness.Plan{}"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "func TestShrunk%s(t *testing.T) {\n\tsynctest.Test(t, func(t *testing.T) {\n", camel(s.Name))
	fmt.Fprintf(&b, "\t\ts, err := scenarios.Named(%q)\n\t\tif err != nil {\n\t\t\tt.Fatal(err)\n\t\t}\n", name)
	if mutant != "" {
		fmt.Fprintf(&b, "\t\ti := slices.IndexFunc(s.Mutants, func(m harness.Mutant) bool { return m.Name == %q })\n\t\ts = s.Mutate(s.Mutants[i])\n", mutant)
	}
	fmt.Fprintf(&b, "\t\tstart, err := kinds.Starter(\"embedded\", \"\", nil)\n\t\tif err != nil {\n\t\t\tt.Fatal(err)\n\t\t}\n")
	fmt.Fprintf(&b, "\t\tr, err := harness.Run(t.Context(), s, harness.Options{\n\t\t\tEnsemble: start, Seed: %d, Clients: %d, Time: %d * time.Millisecond,\n", seed, clients, length.Milliseconds())
	fmt.Fprintf(&b, "\t\t\tLink: func(_ int, dial ensemble.DialFunc) harness.Link { return link.New(dial) },\n")
	fmt.Fprintf(&b, "\t\t\tPlan: %s,\n\t\t})\n", strings.ReplaceAll(plan, "\n", "\n\t\t\t"))
	fmt.Fprintf(&b, "\t\tif err != nil {\n\t\t\tt.Fatal(err)\n\t\t}\n")
	fmt.Fprintf(&b, "\t\tif one, _ := r.Of(%q); one.Verdict == checker.Invalid {\n\t\t\tt.Error(r.Summary())\n\t\t}\n\t})\n}", id)
	return b.String()
}

// camel makes a name for a Go function.
func camel(s string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '+' || r == '_' }) {
		b.WriteString(capital(part))
	}
	return b.String()
}
