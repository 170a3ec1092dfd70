package harness

import "context"

// TB is the part of a *testing.T that RunT needs. RunT takes a TB so that package harness need not
// import package testing.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

// RunT runs s from a test and fails the test unless the verdict is Valid. It also fails the test if
// Run returns an error. A test that must be skipped in some environments has to skip before it
// calls RunT.
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

// RunMutant runs the mutant m of s. It fails the test unless the run finds one of the properties in
// m.Violates violated; a violation of another property does not count.
//
// A run without such a violation is inconclusive if a property in m.Violates has exposure (see
// checker.Result.Exposure), for example because the clients' process paused. In that case RunMutant
// tries the next seed. It tries at most three seeds in all.
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
		t.Errorf("mutant %s survived: got no violation, want one of %v\n%s", m.Name, m.Violates, result.Summary())
		return result
	}
}
