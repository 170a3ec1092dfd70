package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tests below use a lock inside the process in place of ZooKeeper. Each grant of the lock has a
// larger token than the previous one, and a fault can revoke the grant.

type noServers struct{ closed int }

func (*noServers) Kind() string      { return "none" }
func (*noServers) Servers() []string { return nil }
func (*noServers) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no servers")
}
func (*noServers) Ready(ctx context.Context) error     { return ctx.Err() }
func (*noServers) Leader(context.Context) (int, error) { return 0, ensemble.ErrNoLeader }
func (n *noServers) Close(context.Context) error       { n.closed++; return nil }

type noAdmin struct{ removed *int }

func (noAdmin) created() int64                      { return 0 }
func (noAdmin) ephemerals(string) ([]string, error) { return nil, nil }
func (a noAdmin) removeRoot(context.Context) error {
	if a.removed != nil {
		*a.removed++
	}
	return nil
}
func (noAdmin) close() {}

var errRevoked = errors.New("revoked")

// toyLock is the lock under test. A broken toyLock grants the lock immediately, even if another
// client holds the lock.
type toyLock struct {
	broken bool

	mu     sync.Mutex
	token  int64
	holder *toyGrant
	free   chan struct{} // closed when the holder is gone
}

type toyGrant struct {
	token  int64
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (l *toyLock) acquire(ctx context.Context) (*toyGrant, error) {
	for {
		l.mu.Lock()
		if l.holder == nil || l.broken {
			l.token++
			g := &toyGrant{token: l.token}
			g.ctx, g.cancel = context.WithCancelCause(context.Background())
			l.holder, l.free = g, make(chan struct{})
			l.mu.Unlock()
			return g, nil
		}
		free := l.free
		l.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, Failed(ctx.Err())
		}
	}
}

func (l *toyLock) release(g *toyGrant, cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder != g || cause != errRevoked && g.ctx.Err() != nil {
		return Failed(errRevoked)
	}
	g.cancel(cause)
	l.holder = nil
	close(l.free)
	return nil
}

// The type `revoke` is the fault of these tests. It ends the context of the grant, and then takes
// the lock from the holder.
type revoke struct {
	lock    **toyLock
	idle    bool // never has an effect
	late    int  // how many of the first injections have no effect
	fails   bool // Heal fails
	injects *int
	heals   *int
}

func (revoke) Name() string    { return "revoke" }
func (revoke) Able(*Env) error { return nil }
func (revoke) Draw(r *rand.Rand, env *Env) Step {
	return Step{Target: fmt.Sprintf("c%d", r.IntN(len(env.Clients()))), For: time.Second}
}

func (f revoke) Inject(context.Context, *Env, Step) (Injected, error) {
	*f.injects++
	evidence := ""
	if l := *f.lock; !f.idle && *f.injects > f.late {
		l.mu.Lock()
		g := l.holder
		l.mu.Unlock()
		if g != nil {
			g.cancel(errRevoked)
			synctest.Wait() // the holder has observed the end
			if l.release(g, errRevoked) == nil {
				evidence = fmt.Sprintf("token %d taken", g.token)
			}
		}
	}
	return Injected{Heal: func(context.Context) (string, error) {
		*f.heals++
		if f.fails {
			return "", errors.New("the heal failed")
		}
		return evidence, nil
	}}, nil
}

// A toy has the toy scenario and everything that one run of it needs: the options, the ensemble,
// the lock and the resource. The toy also counts the calls of Inject and Heal.
type toy struct {
	Scenario
	options        Options
	ens            *noServers
	injects, heals int
	lock           *toyLock
	resource       *Resource
	client         func(ctx context.Context, c *Client) error // called before each round
}

func newToy() *toy {
	ty := &toy{ens: &noServers{}, lock: &toyLock{}, resource: NewResource("account")}
	ty.Scenario = Scenario{
		Name: "toy", Claim: "the toy lock excludes", Clients: 3, Calm: time.Second, Grace: 2 * time.Second,
		Workload: ty.workload,
		Faults:   []Fault{revoke{lock: &ty.lock, injects: &ty.injects, heals: &ty.heals}},
		Checkers: []checker.Checker{
			checker.LockTokensRise(),
			checker.LockFencedWrites(),
			checker.LockNoOverlap(checker.Envelope{}),
			checker.LockNoReleaseAfterLoss(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpAcquire, time.Second),
			checker.LockGrantsInOrder(checker.Envelope{}),
		},
		Guards: []checker.Checker{checker.Contention(1), checker.Takeovers(1), checker.Grants(10)},
	}
	ty.options = Options{
		Ensemble: func(context.Context, ensemble.Config) (ensemble.Ensemble, error) { return ty.ens, nil },
		Time:     10 * time.Second, Seed: 7,
		admin: func(context.Context, *Env) (admin, error) { return noAdmin{}, nil },
	}
	return ty
}

func (ty *toy) workload(*Env) Workload {
	return Workload{Work: func(ctx context.Context, c *Client) error {
		for c.Next(ctx) {
			if ty.client != nil {
				if err := ty.client(ctx, c); err != nil {
					return err
				}
			}
			ty.round(ctx, c)
			c.Pause(ctx, time.Duration(1+c.Rand.IntN(20))*time.Millisecond)
		}
		return nil
	}}
}

// The method `round` acquires the lock, increments the resource and releases the lock. A client
// that loses the lock tries to write anyway.
func (ty *toy) round(ctx context.Context, c *Client) {
	op := history.Event{Op: checker.OpAcquire, Object: "/lock"}
	var g *toyGrant
	if _, err := c.Do(ctx, op, func(ctx context.Context) (_ history.Event, err error) {
		if g, err = ty.lock.acquire(ctx); err != nil {
			return history.Event{}, err
		}
		return history.Event{Token: g.token}, nil
	}); err != nil {
		return
	}
	hold := c.Hold(g.ctx, history.Event{Object: "/lock", Token: g.token})
	if v, err := ty.resource.Read(c, g.token); err == nil {
		c.Pause(ctx, time.Duration(10+c.Rand.IntN(50))*time.Millisecond)
		ty.resource.Write(c, g.token, v+1)
	}
	hold.End()
	op.Op, op.Token = checker.OpRelease, g.token
	c.Do(ctx, op, func(context.Context) (history.Event, error) {
		return history.Event{}, ty.lock.release(g, context.Canceled)
	})
}

// The method `run` runs the scenario in virtual time.
func (ty *toy) run(t *testing.T) *Result {
	t.Helper()
	var result *Result
	virtual.Test(t, func(t *testing.T) {
		var err error
		if result, err = Run(t.Context(), ty.Scenario, ty.options); err != nil {
			t.Fatal(err)
		}
	})
	if ty.ens.closed != 1 {
		t.Errorf("the ensemble was closed %d times, want 1", ty.ens.closed)
	}
	return result
}

func want(t *testing.T, r *Result, verdict checker.Verdict, id, reason string) {
	t.Helper()
	one, _ := r.Of(id)
	if r.Verdict != verdict || one.Verdict != verdict || !strings.Contains(one.Reason, reason) {
		t.Errorf("got %s %v (run %v), want %v with reason %q\n%s", id, one.Verdict, r.Verdict, verdict, reason, r.Summary())
	}
}

func TestSoundLockIsValid(t *testing.T) {
	ty := newToy()
	r := ty.run(t)
	if r.Verdict != checker.Valid {
		t.Errorf("got %v, want %v\n%s", r.Verdict, checker.Valid, r.Summary())
	}
	if ty.injects == 0 || ty.injects != ty.heals {
		t.Errorf("got %d faults injected and %d healed, want the same number, not 0", ty.injects, ty.heals)
	}
}

// Regression: the holds of a run were not stored if the ensemble had no transaction logs, because
// nothing created the directory for them.
func TestHoldsAreStoredWithoutTxnLogs(t *testing.T) {
	ty := newToy()
	ty.options.TxnLogs = filepath.Join(t.TempDir(), "logs")
	if r := ty.run(t); r.Verdict != checker.Valid {
		t.Errorf("got %v, want %v\n%s", r.Verdict, checker.Valid, r.Summary())
	}
	if _, err := os.Stat(filepath.Join(ty.options.TxnLogs, "clients.log")); err != nil {
		t.Errorf("clients.log: got error %v, want the file", err)
	}
}

// The type `secretive` is an ensemble of one server whose records cannot be read.
type secretive struct{ *noServers }

var errSecret = errors.New("permission denied")

func (secretive) Servers() []string                              { return []string{"a:2181"} }
func (secretive) CopyTxnLogs(context.Context, int, string) error { return errSecret }
func (secretive) Expiries(context.Context) ([]ensemble.Expiry, error) {
	return nil, errSecret
}

// Regression: the verdict on the run itself was reached before the servers' records were read. If
// the records could not be read, some properties were not checked, but the run was valid.
func TestRecordsThatCannotBeReadAreUnknown(t *testing.T) {
	ty := newToy()
	ty.options.Ensemble = func(context.Context, ensemble.Config) (ensemble.Ensemble, error) { return secretive{ty.ens}, nil }
	want(t, ty.run(t), checker.Unknown, "run/whole", "transaction logs: permission denied; permission denied")
}

func TestLockThatGrantsTwiceIsInvalid(t *testing.T) {
	ty := newToy()
	ty.lock.broken = true
	want(t, ty.run(t), checker.Invalid, "lock/no-overlap", "both held /lock")
}

func TestResourceWithoutFenceIsInvalid(t *testing.T) {
	ty := newToy()
	ty.resource = NewUnfencedResource("account")
	want(t, ty.run(t), checker.Invalid, "lock/fenced-writes", "higher token")
}

func TestFencedResourceAddsUpEvenUnderABrokenLock(t *testing.T) {
	ty := newToy()
	ty.lock.broken = true
	if m2, _ := ty.run(t).Of("lock/fenced-writes"); m2.Verdict != checker.Valid {
		t.Errorf("got lock/fenced-writes %v (%s), want %v", m2.Verdict, m2.Reason, checker.Valid)
	}
}

func TestFaultThatDoesNothingIsNotExercised(t *testing.T) {
	ty := newToy()
	ty.Faults = []Fault{revoke{idle: true, lock: &ty.lock, injects: &ty.injects, heals: &ty.heals}}
	want(t, ty.run(t), checker.NotExercised, "run/faults-had-effect", "no revoke had an effect")
}

// If no injection of a fault had an effect, the run injects the fault again, unless Options.Plan is
// set. Regression: a run injected the fault link-stall only once, and the client whose proxy it
// stalled was idle. So the verdict was "not exercised".
func TestFaultWithoutEffectIsTriedAgain(t *testing.T) {
	late := func() *toy {
		ty := newToy()
		ty.options.Intensity = 0.01 // so low that the plan has one fault
		ty.Faults = []Fault{revoke{late: 3, lock: &ty.lock, injects: &ty.injects, heals: &ty.heals}}
		return ty
	}
	ty := late()
	r := ty.run(t)
	if r.Verdict != checker.Valid || ty.injects != 4 || ty.heals != 4 || len(r.Plan) != 4 {
		t.Errorf("got verdict %v, %d faults injected, %d healed, a plan of %d; want %v and 4 of "+
			"each\n%s", r.Verdict, ty.injects, ty.heals, len(r.Plan), checker.Valid, r.Summary())
	}
	for i := 1; i < len(r.Plan); i++ {
		if before, s := r.Plan[i-1], r.Plan[i]; s.At < before.At+before.For || s.At+s.For > ty.options.Time {
			t.Errorf("step %d is at %v for %v, after a step at %v for %v; want no overlap, and the end within the run", i, s.At, s.For, before.At, before.For)
		}
	}
	given := late()
	given.options.Plan = r.Plan[:1]
	want(t, given.run(t), checker.NotExercised, "run/faults-had-effect", "no revoke had an effect")
	if given.injects != 1 {
		t.Errorf("got %d faults injected for a plan of 1, want 1", given.injects)
	}
}

// If something was not exercised, the summary suggests a longer run.
func TestSummarySaysForHowLongToRun(t *testing.T) {
	for work, length := range map[time.Duration]string{5 * time.Second: "20s", 20 * time.Second: "40s"} {
		ty := newToy()
		ty.options.Time, ty.options.Faults = work, []string{"revoke"}
		ty.Faults = []Fault{revoke{idle: true, lock: &ty.lock, injects: &ty.injects, heals: &ty.heals}}
		if s := ty.run(t).Summary(); !strings.Contains(s, "--time "+length) || !strings.Contains(s, "not done: revoke: none had an effect") {
			t.Errorf("after %v: got %q, want --time %s and the fault without effect", work, s, length)
		}
	}
}

func TestEmptyPlanIsNotExercised(t *testing.T) {
	ty := newToy()
	ty.options.Plan = Plan{}
	want(t, ty.run(t), checker.NotExercised, "run/faults-had-effect", "no fault was injected")
}

func TestFaultThatDoesNotHealIsUnknown(t *testing.T) {
	ty := newToy()
	ty.Faults = []Fault{revoke{fails: true, lock: &ty.lock, injects: &ty.injects, heals: &ty.heals}}
	want(t, ty.run(t), checker.Unknown, "run/whole", "the heal failed")
}

func TestNoopWorkloadIsNotExercised(t *testing.T) {
	ty := newToy()
	ty.Scenario.Workload = Noop
	want(t, ty.run(t), checker.Unknown, "client/nothing-left", "the goroutines left behind were not counted")
	if h3, _ := ty.run2(t).Of("run/operations-succeeded"); h3.Verdict != checker.NotExercised {
		t.Errorf("got run/operations-succeeded %v (%s), want %v",
			h3.Verdict, h3.Reason, checker.NotExercised)
	}
}

// run2 runs the scenario once more, on a new ensemble.
func (ty *toy) run2(t *testing.T) *Result {
	t.Helper()
	ty.ens = &noServers{}
	return ty.run(t)
}

func TestClientThatLiesIsUnknown(t *testing.T) {
	ty := newToy()
	ty.client = func(_ context.Context, c *Client) error {
		c.Record(history.Event{Kind: history.OK, Op: checker.OpAcquire, Object: "/lock", Token: 1})
		return nil
	}
	want(t, ty.run(t), checker.Unknown, "lock/tokens-rise", "malformed")
}

func TestClientThatPanicsIsUnknown(t *testing.T) {
	ty := newToy()
	ty.client = func(context.Context, *Client) error { panic("out of luck") }
	want(t, ty.run(t), checker.Unknown, "run/whole", "out of luck")
}

// Regression: the znodes of a run whose set-up had failed stayed on the servers.
func TestFailedSetupLeavesNoZnodes(t *testing.T) {
	ty, removed, failed := newToy(), 0, errors.New("no permission")
	ty.options.admin = func(context.Context, *Env) (admin, error) { return noAdmin{&removed}, nil }
	ty.Workload = func(*Env) Workload {
		return Workload{Setup: func(context.Context, *Env) error { return failed }, Work: ty.workload(nil).Work}
	}
	if _, err := Run(t.Context(), ty.Scenario, ty.options); !errors.Is(err, failed) || removed != 1 {
		t.Errorf("got %v and %d removals of the run's znodes, want %v and 1", err, removed, failed)
	}
}

func TestRunThatIsGivenUpEndsSoon(t *testing.T) {
	ty := newToy()
	ty.client = func(_ context.Context, c *Client) error {
		c.Env().GiveUp(fmt.Errorf("client c%d is broken", c.ID))
		return nil
	}
	ty.options.Time = time.Hour
	r := ty.run(t)
	want(t, r, checker.Unknown, "run/whole", "is broken")
	if one, _ := r.Of("run/whole"); r.Took > time.Minute || strings.Count(one.Reason, "is broken") != 1 {
		t.Errorf("the run took %v, want at most 1m; got reasons %q, want one", r.Took, one.Reason)
	}
}

func TestEndsOfClientsLogsAreKept(t *testing.T) {
	ty := newToy()
	line := strings.Repeat("x", 1023) + "\n"
	ty.client = func(_ context.Context, c *Client) error {
		if c.ID == 1 {
			for range 3 << 10 {
				io.WriteString(c.Log(), line)
			}
		}
		return nil
	}
	ty.options.Operations = 20
	ty.Client = "my client"
	r := ty.run(t)
	if len(r.ClientLogs) != 1 || len(r.ClientLogs[1]) != 1<<20 || !strings.HasSuffix(string(r.ClientLogs[1]), line) {
		t.Errorf("got %d logs and %d bytes of client 1, want only its last MiB", len(r.ClientLogs), len(r.ClientLogs[1]))
	}
	if r.Client != "my client" || r.History.Client != "my client" || !strings.Contains(r.Summary(), "\nclients: my client\n") {
		t.Errorf("got client %q, in the history %q, want \"my client\" in both and in\n%s", r.Client, r.History.Client, r.Summary())
	}
}

func TestClientThatReturnsAnErrorLivesAgain(t *testing.T) {
	ty := newToy()
	ty.client = func(_ context.Context, c *Client) error {
		if c.Rand.IntN(10) == 0 {
			return errors.New("session lost")
		}
		return nil
	}
	r := ty.run(t)
	if r.Verdict != checker.Valid {
		t.Errorf("got %v, want %v\n%s", r.Verdict, checker.Valid, r.Summary())
	}
	if !slices.ContainsFunc(r.History.Events, func(e history.Event) bool { return e.Kind == history.Crash }) {
		t.Error("got no crash event, want at least one")
	}
}

func TestWaiterThatIsNeverGrantedIsInvalid(t *testing.T) {
	ty := newToy()
	ty.client = func(ctx context.Context, c *Client) error {
		if c.ID == 1 {
			c.Do(ctx, history.Event{Op: checker.OpAcquire, Object: "/other"}, func(ctx context.Context) (history.Event, error) {
				<-ctx.Done()
				return history.Event{}, Failed(ctx.Err())
			})
		}
		return nil
	}
	want(t, ty.run(t), checker.Invalid, "client/waiters-served", "c1 waited for its acquire of /other")
}

func TestGoroutineLeftBehindIsInvalid(t *testing.T) {
	ty := newToy()
	virtual.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		var once sync.Once
		ty.client = func(context.Context, *Client) error {
			once.Do(func() { go func() { <-stop }() })
			return nil
		}
		r, err := Run(t.Context(), ty.Scenario, ty.options)
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, checker.Invalid, "client/nothing-left", "1 goroutines left behind")
	})
}

func TestPanickingCheckerIsUnknownAndTheHistoryIsStoredFirst(t *testing.T) {
	ty := newToy()
	kept := &keep{}
	ty.options.Store = kept
	ty.Checkers = append(ty.Checkers, checker.New("X1", "", func(*history.History, *checker.Judge) {
		if len(kept.saved) != 1 {
			t.Errorf("got %d results stored before the checks, want 1", len(kept.saved))
		}
		panic("a bug")
	}))
	want(t, ty.run(t), checker.Unknown, "X1", "a bug")
	var checked []bool
	for _, r := range kept.saved {
		checked = append(checked, r.Checked)
	}
	if want := []bool{false, true}; !slices.Equal(checked, want) {
		t.Errorf("got stored results with checked %v, want %v", checked, want)
	}
}

type keep struct{ saved []Result }

func (k *keep) Save(r *Result) error {
	k.saved = append(k.saved, *r)
	return nil
}

func TestInterruptedRunIsUnknownHealsAndCloses(t *testing.T) {
	ty := newToy()
	virtual.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		r, err := Run(ctx, ty.Scenario, ty.options)
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, checker.Unknown, "run/whole", "interrupted")
		want(t, r, checker.Unknown, "lock/tokens-rise", "cut short")
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("the run took %v to stop after ctx ended, want at most 1s", took-5*time.Second)
		}
	})
	if ty.injects != ty.heals || ty.ens.closed != 1 {
		t.Errorf("got %d faults injected, %d healed, %d closes; want all faults healed and 1 close", ty.injects, ty.heals, ty.ens.closed)
	}
}

func TestUnknownOutcomeBeginsANewProcess(t *testing.T) {
	ty := newToy()
	var seen []history.Event
	ty.client = func(ctx context.Context, c *Client) error {
		if c.ID != 0 || len(seen) > 0 {
			return nil
		}
		for _, err := range []error{nil, errors.New("cut"), Failed(errors.New("refused")), nil} {
			done, _ := c.Do(ctx, history.Event{Op: "try"}, func(context.Context) (history.Event, error) { return history.Event{}, err })
			seen = append(seen, done)
		}
		return nil
	}
	ty.run(t)
	want := []struct {
		kind    history.Kind
		process int32
	}{{history.OK, 0}, {history.Info, 0}, {history.Fail, 3}, {history.OK, 3}}
	if len(seen) != len(want) {
		t.Fatalf("got operations %v, want %d", seen, len(want))
	}
	for i, w := range want {
		if seen[i].Kind != w.kind || seen[i].Process != w.process || seen[i].Client != 0 {
			t.Errorf("operation %d: got %v, want kind %v of process %d", i, seen[i], w.kind, w.process)
		}
	}
}

func TestPlanIsAFunctionOfTheSeed(t *testing.T) {
	ty := newToy()
	env := newEnv(ty.Scenario, Options{Clients: 3}, ty.ens)
	plan := func(seed uint64) Plan { return Draw(seed, env, ty.Faults, time.Minute, 0) }
	if first, again := plan(1), plan(1); !reflect.DeepEqual(first, again) {
		t.Errorf("seed 1: got the plans\n%v\n%v\nwant the same plan twice", first, again)
	}
	if first, second := plan(1), plan(2); reflect.DeepEqual(first, second) {
		t.Errorf("seeds 1 and 2: got the plan %v for both, want different plans", first)
	}
	for _, s := range plan(1) {
		if s.At+s.For > time.Minute {
			t.Errorf("step %+v ends after the work, want within 1m", s)
		}
	}
	for _, s := range Draw(1, env, ty.Faults, time.Minute, 1e-12) {
		if s.At < 0 || s.At > time.Minute {
			t.Errorf("step %+v of a tiny intensity begins outside of the work, want from 0 to 1m", s)
		}
	}
}

func TestScenarioWithoutCheckersIsRefused(t *testing.T) {
	if _, err := Run(t.Context(), Scenario{Name: "x", Workload: Noop}, Options{}); err == nil {
		t.Error("got no error, want one because the scenario has no checkers")
	}
}

// The type `slow` is a fault whose injection takes a while. Unless `stands` is set, the fault is
// over when Inject returns.
type slow struct {
	planned, takes time.Duration
	stands         bool
}

func (slow) Name() string                 { return "slow" }
func (slow) Able(*Env) error              { return nil }
func (f slow) Draw(*rand.Rand, *Env) Step { return Step{For: f.planned} }
func (f slow) Inject(context.Context, *Env, Step) (Injected, error) {
	<-time.After(f.takes)
	if f.stands {
		return Injected{Heal: func(context.Context) (string, error) { return "stood", nil }}, nil
	}
	return Injected{Evidence: "over"}, nil
}

// Regression: rolling restarts were drawn as if they took no time. So the plan had more faults than
// fit into the run, and the run executed only a few of them.
func TestAPlanOfSlowFaultsIsWhatIsDone(t *testing.T) {
	ty := newToy()
	ty.Faults, ty.options.Time = []Fault{slow{planned: 5 * time.Second, takes: 4 * time.Second}}, time.Minute
	r := ty.run(t)
	var starts []time.Duration
	for _, e := range r.History.Events {
		switch {
		case e.Kind != history.Fault:
		case e.Op == history.FaultStart:
			starts = append(starts, e.Time)
		case e.Result != "over" || e.Time != starts[len(starts)-1]+4*time.Second:
			t.Errorf("fault stopped with %q at %v, want %q 4s after its start", e.Result, e.Time, "over")
		}
	}
	if len(r.Plan) < 2 || len(starts) != len(r.Plan) {
		t.Fatalf("got %d of %d faults injected, want all of at least 2", len(starts), len(r.Plan))
	}
	begin := r.History.PhaseStart(history.PhaseWork).Time
	for i, s := range r.Plan {
		if starts[i] != begin+s.At {
			t.Errorf("step %d: want its start after %v, got it after %v", i, s.At, starts[i]-begin)
		}
	}
}

// If a fault takes longer than planned, the later faults are delayed and keep their length.
func TestWhatFollowsASlowFaultIsPutOff(t *testing.T) {
	ty := newToy()
	ty.Faults = append(ty.Faults, slow{takes: 3 * time.Second})
	ty.options.Plan = Plan{{Fault: "slow", At: time.Second, For: time.Second}, {Fault: "revoke", At: 2 * time.Second, For: time.Second}}
	var starts []time.Duration
	for _, e := range ty.run(t).History.Events {
		if e.Kind == history.Fault && e.Op == history.FaultStart && e.Object == "revoke" {
			starts = append(starts, e.Time)
		}
	}
	if want := []time.Duration{4 * time.Second}; !slices.Equal(starts, want) {
		t.Errorf("revoke: got starts after %v, want %v", starts, want)
	}
}

// In this test, the injection of a fault takes one second. The fault is then active for its planned
// length, so it ends one second late, and the next fault must be delayed too. Regression: the next
// fault was not delayed, so the two overlapped.
func TestFaultsThatThePlanKeepsApartDoNotMeet(t *testing.T) {
	ty := newToy()
	ty.Faults = append(ty.Faults, slow{takes: time.Second, stands: true})
	ty.options.Plan = Plan{{Fault: "slow", At: time.Second, For: 2 * time.Second}, {Fault: "revoke", At: 3500 * time.Millisecond, For: time.Second}}
	var got []string
	for _, e := range ty.run(t).History.Events {
		if e.Kind == history.Fault {
			got = append(got, fmt.Sprint(e.Object, " ", e.Op, " ", e.Time))
		}
	}
	if want := []string{"slow start 1s", "slow stop 4s", "revoke start 4.5s", "revoke stop 5.5s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Regression: the summary listed faults as injected although the run never reached them.
func TestAFaultThatNeverBeganIsSaid(t *testing.T) {
	ty := newToy()
	ty.Faults = append(ty.Faults, slow{takes: 12 * time.Second})
	ty.options.Plan = Plan{{Fault: "slow", At: time.Second, For: time.Second}, {Fault: "revoke", At: 2 * time.Second, For: time.Second}}
	const want = "faults: slow x1; not done: revoke: the run was over before one began\n"
	if got := ty.run(t).Summary(); !strings.Contains(got, want) {
		t.Errorf("want %q in the summary, got\n%s", want, got)
	}
	// A fault that is too long for the run is not even in the plan.
	again := newToy()
	again.Faults = append(again.Faults, slow{planned: time.Minute})
	again.options.Faults = []string{"slow", "revoke"}
	if r := again.run(t); !reflect.DeepEqual(r.CouldNot, []string{"slow: the run was over before one began"}) || r.Verdict != checker.Valid {
		t.Errorf("got %q and %v, want only slow not begun and %v", r.CouldNot, r.Verdict, checker.Valid)
	}
}
