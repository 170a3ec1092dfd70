package scenarios

import (
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/harness/fault"
)

func TestEachFaultHasASharpestScenario(t *testing.T) {
	for _, f := range fault.Every() {
		s, err := Sharpest(f.Name())
		if err != nil {
			t.Errorf("%s: got error %v, want a scenario", f.Name(), err)
			continue
		}
		if got := fault.Names(s.Faults); !slices.Equal(got, []string{f.Name()}) {
			t.Errorf("%s: scenario %s has the faults %q, want only %s", f.Name(), s.Name, got, f.Name())
		}
	}
	if s, err := Sharpest("link"); err == nil {
		t.Errorf("the family link: got scenario %s, want an error", s.Name)
	}
}
