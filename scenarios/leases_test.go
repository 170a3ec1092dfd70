package scenarios

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/zktest"
)

var leaseRuns = flag.Int("leases", 3, "runs of each case of TestLeasesAreBehaviorsOfTheModel")

// leaseCases returns scenarios whose faults test leases. The last two are LockFaults with one fault
// each.
func leaseCases() []harness.Scenario {
	only := func(fault string) harness.Scenario {
		s := LockFaults()
		s.Name += ", " + fault
		s.Faults = faults(fault)
		return s
	}
	return []harness.Scenario{IsolatedFollower(), IsolatedLeader(), only("pause-leader"), only("rolling-restart")}
}

// The harness records a trace of each lease. Each trace must be a behavior that the model of
// decision 0001 allows. The properties whose names begin with lease/ judge the traces.
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

// The mutant trusts-idle uses a former rule of the lease: the first write after idleness counts as
// proof of the session's earlier activity. This rule leads to two holders of a lock only if a fault
// comes at the right moment. But the trace of each run shows that a session used the rule.
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

// Assumption A4 of decision 0001 requires that a session timeout is at least two ticks, or that the
// session knows the tick. Here the timeout is shorter, which minSessionTimeout allows, and the
// session does not know the tick. So the leader can expire a session before the end of the
// session's lease. The harness reports such an expiry. On real servers a run takes three minutes:
//
//	go test ./scenarios -run TestLeaseNeedsShortTicks -ensemble process -seed 11 -timeout 0 -v
func TestLeaseNeedsShortTicks(t *testing.T) {
	const runs = 10
	s := IsolatedFollower()
	s.Config.TickTime = 4 * isolatedTimeout
	s.Config.Extra = map[string]string{"minSessionTimeout": fmt.Sprint(isolatedTimeout.Milliseconds())}
	s.Faults = []harness.Fault{isolate{length: 5 * isolatedTimeout}}
	s.Time = 2 * time.Minute
	for n := range uint64(runs) {
		r := withoutShortTicks(t, s, *seed+n)
		if one, _ := r.Of("lease/ends-before-expiry"); one.Verdict == checker.Invalid {
			t.Logf("seed %d: %s", r.Seed, one.Reason)
			return
		}
	}
	t.Errorf("got no session that expired before the end of its lease in %d runs, want one", runs)
}

// withoutShortTicks runs s on local JVMs if the flag -ensemble is "process", and otherwise in
// virtual time.
func withoutShortTicks(t *testing.T, s harness.Scenario, seed uint64) *harness.Result {
	if *kind != "process" {
		o := VirtualOptions(s, seed)
		o.Time = s.Time
		o.Ensemble = embedded.Starter(embedded.Options{Model: zktest.Options{Version: versionOf(seed), MinSessionTimeout: isolatedTimeout}})
		return virtually(t, s, o)
	}
	o := options(t, s.Time)
	o.Seed = seed
	r, err := harness.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
