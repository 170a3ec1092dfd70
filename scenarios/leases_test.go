package scenarios

import (
	"flag"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
)

var leaseRuns = flag.Int("leases", 3, "runs of each case of TestLeasesAreBehaviorsOfTheModel")

// leaseCases returns scenarios whose faults test the proof of the lease. The last two are
// LockFaults with one fault each.
func leaseCases() []harness.Scenario {
	only := func(fault string) harness.Scenario {
		s := LockFaults()
		s.Name += ", " + fault
		s.Faults = faults(fault)
		return s
	}
	return []harness.Scenario{IsolatedFollower(), IsolatedLeader(), only("pause-leader"), only("rolling-restart")}
}

// Each trace of a lease is a behavior that the model of decision 0001 allows.
//
//	go test ./scenarios -run TestLeasesAre -leases 1000 -timeout 0 -v
func TestLeasesAreBehaviorsOfTheModel(t *testing.T) {
	for _, s := range leaseCases() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			checked, events, lapses := make(map[string]int), 0, 0
			for i := range uint64(*leaseRuns) {
				r := virtually(t, s, VirtualOptions(s, *seed+i))
				for _, one := range r.Results {
					if one.Verdict == checker.Invalid || strings.HasPrefix(one.ID, "lease/") && one.Verdict == checker.Unknown {
						t.Errorf("seed %d: %s: got %v (%s), want no violation, and no property "+
							"of leases %v",
							r.Seed, one.ID, one.Verdict, one.Reason, checker.Unknown)
					}
					if strings.HasPrefix(one.ID, "lease/") {
						checked[one.ID] += one.Checked
					}
				}
				events += len(r.Leases.Events)
				for _, e := range r.Leases.Events {
					if e.Kind == leasetrace.Ended && e.Cause == "session: lease lapsed" {
						lapses++
					}
				}
			}
			t.Logf("%d runs, %d events, %d holds ended by a lapse, checked %v", *leaseRuns, events, lapses, checked)
			for _, id := range []string{"lease/within-evidence", "lease/covers-holds"} {
				if checked[id] == 0 {
					t.Errorf("%s: got nothing judged in %d runs, want at least 1", id, *leaseRuns)
				}
			}
		})
	}
}

// The mutant uses the old rule for idle sessions. With that rule, two clients hold the lock at the
// same time only if a fault comes at the right moment. But the trace of each run shows that the
// session used this rule.
func TestTraceShowsTheRuleThatTrustsIdleSessions(t *testing.T) {
	s := IdleLock()
	s = s.Mutate(s.Mutants[0])
	for seed := range uint64(3) {
		r := virtually(t, s, VirtualOptions(s, seed))
		if one, _ := r.Of("lease/within-evidence"); one.Verdict != checker.Invalid || r.Verdict != checker.Invalid {
			t.Errorf("seed %d: got lease/within-evidence %v (%s) and the run %v, want %v for both",
				seed, one.Verdict, one.Reason, r.Verdict, checker.Invalid)
		}
	}
}
