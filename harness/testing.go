package harness

import "context"

// TB is what RunT needs of a *testing.T. Package harness does not link package
// testing.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

// RunT runs s from a test and fails the test unless the verdict is Valid. A run
// that could not begin fails too; skipping is the caller's decision.
func RunT(t TB, s Scenario, o Options) *Result {
	t.Helper()
	result, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Verdict.Passed() {
		t.Errorf("%s", result.Summary())
	}
	return result
}

// RunMutant runs the mutant m of s and fails the test unless the run is Invalid by
// one of the properties that m violates: killed by accident is not killed.
//
// A run in which such a property was exposed decides nothing, for example because the
// clients' process stood still at that moment. RunMutant then tries the next seed, three
// seeds in all.
func RunMutant(t TB, s Scenario, m Mutant, o Options) *Result {
	t.Helper()
	for try := 1; ; try++ {
		result, err := Run(t.Context(), s.Mutate(m), o)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case result.Killed(m):
			return result
		case try < 3 && result.exposed(m):
			o.Seed = result.Seed + 1
			continue
		}
		t.Errorf("mutant %s survived: none of %v is violated\n%s", m.Name, m.Violates, result.Summary())
		return result
	}
}
