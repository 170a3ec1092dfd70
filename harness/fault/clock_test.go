package fault

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

func TestRates(t *testing.T) {
	for text, want := range map[string]float64{"1.04": 1.04, "0.01": 0.01, "100": 100} {
		if got, err := rateOf(text); err != nil || got != want {
			t.Errorf("rateOf(%q): got %v and the error %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "0.009", "101", "NaN", "Inf", "fast"} {
		if got, err := rateOf(text); err == nil {
			t.Errorf("rateOf(%q): got %v, want an error", text, got)
		}
	}
	if _, _, err := clockArg("x0"); err == nil {
		t.Error(`clockArg("x0"): got no error, want one`)
	}
}

// A wrong argument in a plan is an error. A typing error must not select another fault, or a fault
// without an effect.
func TestWrongArgumentsOfLinksAndEdgesAreErrors(t *testing.T) {
	faults := map[string][]string{
		"link-one-way": {"", "upp", "both"},
		"link-delay":   {"", "20", "0s", "-1s"},
		"link-cut":     {"", "creates 1 reply", "create 0 reply", "create x reply", "create 1 answer", "create 1", "create 1 reply 2"},
	}
	for _, f := range Every() {
		args := faults[f.Name()]
		delete(faults, f.Name())
		for _, arg := range args {
			virtual.Test(t, func(t *testing.T) {
				o := options(startEmbedded)
				o.Time = 3 * time.Second
				o.Plan = harness.Plan{{Fault: f.Name(), At: time.Second, For: time.Second, Target: "c0", Arg: arg}}
				r, err := harness.Run(t.Context(), scenario(Every()), o)
				if err != nil {
					t.Fatalf("%s %q: %v", f.Name(), arg, err)
				}
				if !slices.ContainsFunc(r.History.Events, func(e history.Event) bool {
					return e.Kind == history.Fault && strings.Contains(e.Error, "must be")
				}) {
					t.Errorf("%s %q: got no error, want one that says what the argument must be", f.Name(), arg)
				}
			})
		}
	}
	if len(faults) > 0 {
		t.Errorf("faults without a test: got %v, want none", faults)
	}
	for _, arg := range []string{"?", "down 1s 1s 1", "from 1 1s 1", "both 1s 1s 1 1", "both -1s 0s 0", "both 0s -1s 0", "both 0s 0s -1"} {
		if _, _, err := paceArg(arg); err == nil {
			t.Errorf("paceArg(%q): got no error, want one", arg)
		}
	}
}

// A plan that a person wrote can have any target, any argument, and faults that the ensemble cannot
// inject. In these cases the fault fails, and the program does not panic.
func TestWrongPlansMakeNoPanic(t *testing.T) {
	wrong := []string{"", "?", "-1", "0", "x-1", "both -1s -1s -1", "from 1s 1s 1", "create -1 reply", "c99"}
	for _, f := range Every() {
		virtual.Test(t, func(t *testing.T) {
			o := options(startEmbedded)
			o.Time = time.Duration(len(wrong)) * 2 * time.Second
			for i, arg := range wrong {
				step := harness.Step{Fault: f.Name(), At: time.Duration(2*i) * time.Second, For: 100 * time.Millisecond, Target: "c0", Arg: arg}
				if i%2 == 0 {
					step.Target = [...]string{leader, "follower+-1", "n3", "nobody"}[i/2%4]
				}
				o.Plan = append(o.Plan, step)
			}
			r, err := harness.Run(t.Context(), scenario(Every()), o)
			if err != nil {
				t.Fatalf("%s: %v", f.Name(), err)
			}
			stops := slices.DeleteFunc(slices.Clone(r.History.Events), func(e history.Event) bool { return e.Kind != history.Fault || e.Op != history.FaultStop })
			if len(stops) == 0 {
				t.Errorf("%s: got 0 of %d steps that ended, want at least 1", f.Name(), len(wrong))
			}
		})
	}
}
