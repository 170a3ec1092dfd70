package scenarios

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/fault"
)

var usualRuns = flag.Int("usual", 2, "runs of each scenario by TestBadLuckMakesNoVerdict")

// idleOne run in so many may prove nothing: its one fault of a kind met nobody.
const idleOne = 50

func TestScenariosInVirtualTime(t *testing.T) {
	for _, s := range Virtual() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel() // a bubble keeps but one core busy
			idle := 0
			for i := range uint64(*seeds) {
				s, o := flagged(t, s, VirtualOptions(s, *seed+i))
				r := virtually(t, s, o)
				if r.Verdict == checker.NotExercised && idle < *seeds/idleOne {
					idle++
					t.Logf("seed %d proves nothing:\n%s", r.Seed, r.Summary())
					continue
				}
				if !r.Verdict.Passed() {
					tell(t, s, r, nil)
					return
				}
			}
			t.Logf("%d seeds from %d on, %d proved nothing", *seeds, *seed, idle)
		})
	}
}

// Bad luck must not decide a verdict: of 200 runs of a scenario as the command runs it by default, with all of its
// faults and for its own time, at most one proves nothing.
//
//	go test ./scenarios -run TestBadLuckMakesNoVerdict -usual 200 -timeout 0 -v
func TestBadLuckMakesNoVerdict(t *testing.T) {
	for _, s := range Virtual() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			verdicts := make(map[checker.Verdict]int)
			for i := range uint64(*usualRuns) {
				o := VirtualOptions(s, *seed+i)
				o.Time, o.Faults = *length, nil
				r := virtually(t, s, o)
				switch verdicts[r.Verdict]++; {
				case r.Verdict == checker.NotExercised && verdicts[r.Verdict] > *usualRuns/200, r.Verdict != checker.Valid && r.Verdict != checker.NotExercised:
					t.Errorf("seed %d\n%s", r.Seed, r.Summary())
				case r.Verdict == checker.NotExercised:
					t.Logf("seed %d\n%s", r.Seed, r.Summary())
				}
			}
			t.Log(s.Name, verdicts)
		})
	}
}

// A cut that is over before the session has expired elsewhere shows nothing, and
// servers that are slow to elect a leader made it so.
func TestCutLastsUntilTheTakeover(t *testing.T) {
	short := isolate{with: 1, length: 100 * time.Millisecond}
	s := IsolatedLeader()
	s.Faults = []harness.Fault{short}
	o := VirtualOptions(s, 1)
	o.Time = 5 * time.Second
	o.Plan = harness.Plan{{Fault: short.Name(), At: time.Second, For: short.length}}
	if r := virtually(t, s, o); !r.Verdict.Passed() {
		t.Errorf("%v", r.Summary())
	}
}

// Nothing was known of the end of the holder's session, so that "a hold ends before the servers expire its session" was
// not exercised by any run of the scenarios that are about it.
func TestExpiryOfTheHolderIsSeenFromTheOtherSide(t *testing.T) {
	for _, s := range []harness.Scenario{IsolatedClient(), IsolatedFollower(), IsolatedLeader()} {
		t.Run(s.Name, func(t *testing.T) {
			const id = "lock/loss-before-expiry"
			if r, _ := virtually(t, s, VirtualOptions(s, 1)).Of(id); r.Verdict != checker.Valid || r.Checked == 0 {
				t.Errorf("%s is %v, %d checked: %s", id, r.Verdict, r.Checked, r.Reason)
			}
			deaf := s.Mutate(s.Mutants[0])
			if r, _ := virtually(t, deaf, VirtualOptions(deaf, 1)).Of(id); r.Verdict != checker.Invalid {
				t.Errorf("%s of %s is %v, want %v: %s", id, deaf.Name, r.Verdict, checker.Invalid, r.Reason)
			}
		})
	}
}

// A cut of followers is none of the leader: once that had moved, runs were valid
// in which it had never been cut off.
func TestCutWithoutTheLeaderShowsNothing(t *testing.T) {
	s := isolatedMutex(IsolatedLeader(), func(ctx context.Context, e ensemble.Ensemble) (int, error) {
		leader, err := e.Leader(ctx)
		return (leader + 2) % len(e.Servers()), err
	})
	r := virtually(t, s, VirtualOptions(s, 1))
	if h2, _ := r.Of("run/faults-had-effect"); h2.Verdict != checker.NotExercised {
		t.Errorf("%v", r.Summary())
	}
}

// The report: a candidate whose directory had no numbers left tried again at
// once, no time passed in virtual time, and the fault was never healed.
func TestWhatFailsAtOnceLetsVirtualTimePass(t *testing.T) {
	const endless = 18_000 // operations of 6 clients in 3 s, one a millisecond
	for _, s := range []harness.Scenario{Election(), LockFaults(), MultiLock()} {
		t.Run(s.Name, func(t *testing.T) {
			s.Faults = faults("data-counter")
			o := VirtualOptions(s, 1)
			o.Time, o.Operations = 3*time.Second, endless
			o.Plan = harness.Plan{{Fault: "data-counter", At: time.Second / 2, For: 2 * time.Second, Arg: "0"}}
			r := virtually(t, s, o)
			if r.Began() == "" {
				t.Error("nothing was used up")
			}
			if events := len(r.History.Events); events >= 2*endless {
				t.Errorf("%d events in %v\n%s", events, r.Time, r.Summary())
			}
		})
	}
}

// What an administrator deleted was held against the group that did not list it, and against the watch that told of it.
func TestWhatSomebodyElseDeletesIsNoViolation(t *testing.T) {
	for _, s := range []harness.Scenario{Group(), Watch()} {
		for _, oneFault := range fault.Deleting() {
			t.Run(s.Name+"/"+oneFault, func(t *testing.T) {
				t.Parallel()
				s := s
				s.Faults = faults(oneFault)
				o := VirtualOptions(s, 1)
				o.Time = 20 * time.Second
				r := virtually(t, s, o)
				if h2, _ := r.Of("run/faults-had-effect"); h2.Verdict != checker.Valid || r.Verdict == checker.Invalid {
					t.Errorf("%v", r.Summary())
				}
			})
		}
	}
}

// A leader that was elected while the observer compared, which takes long over a
// slow link, made the observer begin an operation within another one.
func TestObserverComparesWhileTheLeaderChanges(t *testing.T) {
	s := Election()
	workload := s.Workload
	s.Workload = func(env *harness.Env) harness.Workload {
		env.Clients()[s.Clients-1].Proxy().Delay(50*time.Millisecond, 50*time.Millisecond)
		return workload(env)
	}
	for i := range uint64(3) {
		o := VirtualOptions(s, 1+i)
		o.Time, o.Faults = 5*time.Second, []string{}
		r := virtually(t, s, o)
		if e8, _ := r.Of("election/observers-see-leaders"); e8.Verdict != checker.Valid {
			t.Errorf("seed %d: %s", o.Seed, r.Summary())
		}
	}
}

// A soak goes on with fresh seeds after a failure. It keeps the first failures
// only: the disk is not to be full when somebody looks.
//
//	go test ./scenarios -run TestSoak -soak 2h -timeout 0 -ensemble embedded
func TestSoak(t *testing.T) {
	const kept = 5
	if *soak <= 0 {
		t.Skip("see the flag -soak")
	}
	failed, done := 0, 0
	end := time.Now().Add(*soak)
	for next := *seed; time.Now().Before(end); next++ {
		for _, s := range Virtual() {
			r := soaked(t, s, next)
			if done++; r.Verdict.Passed() {
				continue
			}
			if failed++; failed <= kept {
				tell(t, s, r, nil)
			} else {
				t.Errorf("%s with seed %d is %v too", s.Name, next, r.Verdict)
			}
		}
	}
	t.Logf("%d runs from seed %d on, %d failed", done, *seed, failed)
}

// soaked is one run of s, on the ensemble of the flags, that stores nothing.
func soaked(t *testing.T, s harness.Scenario, seed uint64) *harness.Result {
	if *kind == "embedded" {
		s, o := flagged(t, s, VirtualOptions(s, seed))
		return virtually(t, s, o)
	}
	s, o := flagged(t, s, options(t, time.Minute))
	o.Seed, o.Store = seed, nil
	r, err := harness.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMutantsDieInVirtualTime(t *testing.T) {
	for _, s := range All() {
		for _, m := range s.Mutants {
			if m.Needs != "" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", s.Name, m.Name), func(t *testing.T) {
				t.Parallel()
				k, err := harness.Hunt(s, m, HuntSeeds, func(s harness.Scenario, seed uint64) (*harness.Result, error) {
					return virtually(t, s, VirtualOptions(s, seed)), nil
				})
				if err != nil || !k.Killed() {
					t.Errorf("mutant %s survived %d seeds: none of %v was violated, %v", m.Name, k.Seeds, m.Violates, err)
				}
				t.Logf("%+v", k)
			})
		}
	}
}

// The table is written by: zkcoord mutants --markdown > docs/mutants.md
func TestEveryMutantIsInTheTableOfKills(t *testing.T) {
	table, err := os.ReadFile("../docs/mutants.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range All() {
		for _, m := range s.Mutants {
			fate := `killed by [\w/-]+`
			if m.Needs != "" {
				fate = "needs " + regexp.QuoteMeta(m.Needs)
			}
			row := fmt.Sprintf(`(?m)^\| %s \| %s \| %s \|.*\|$`, regexp.QuoteMeta(m.Name), regexp.QuoteMeta(s.Name), fate)
			if !regexp.MustCompile(row).Match(table) {
				t.Errorf("docs/mutants.md has no row like %s: write it anew", row)
			}
		}
	}
}
