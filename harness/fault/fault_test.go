package fault

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sessionTimeout of the tests' clients: three ticks of the ensembles' 500 ms.
const sessionTimeout = 1500 * time.Millisecond

// scenario has clients that write all the time, and nothing to judge.
func scenario(faults []harness.Fault) harness.Scenario {
	return harness.Scenario{
		Name: "faults-bite", Clients: 3, Faults: faults, Calm: 100 * time.Millisecond,
		Checkers: []checker.Checker{checker.OperationsSucceeded()},
		Workload: func(env *harness.Env) harness.Workload {
			return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
				s, err := c.Open(ctx, session.Options{Timeout: sessionTimeout})
				if err != nil {
					return err
				}
				defer s.Close()
				for n := 0; c.Next(ctx); n++ {
					join(ctx, env, s)
					_, err := c.Do(ctx, history.Event{Op: "create"}, func(ctx context.Context) (history.Event, error) {
						ctx, cancel := context.WithTimeout(ctx, time.Second)
						defer cancel()
						path := fmt.Sprintf("%s/c%d-%x-%d", env.Root(), c.ID, s.ID(), n)
						if n%2 == 0 { // a connection may be cut at a request of either kind
							_, err := s.Multi(ctx, session.CreateOp{Path: path})
							return history.Event{}, err
						}
						_, err := s.Create(ctx, path, nil, session.Persistent)
						return history.Event{}, err
					})
					if s.Err() != nil {
						return err
					}
					c.Pause(ctx, 100*time.Millisecond)
				}
				return nil
			}}
		},
	}
}

// join has a client keep an ephemeral znode beside those of others, for who wants to delete one.
func join(ctx context.Context, env *harness.Env, s *session.Session) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	dir := env.Root() + "/members"
	me := fmt.Sprintf("%s/n-%x", dir, s.ID())
	if stat, err := s.Exists(ctx, me); err != nil || stat != nil {
		return
	}
	if _, err := s.Create(ctx, me, nil, session.Ephemeral); err != nil {
		s.Create(ctx, dir, nil, session.Persistent)
		s.Create(ctx, me, nil, session.Ephemeral)
	}
	// A number of the directory's counter, for who sets it.
	s.Create(ctx, dir+"/s-", nil, session.EphemeralSequential)
}

func options(start ensemble.Starter) harness.Options {
	return harness.Options{Ensemble: start}
}

func startEmbedded(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
	return embedded.Start(embedded.Options{Config: config})
}

// check looks at what the nemesis has recorded of a plan: all of it injected, bit, and healed.
func check(t *testing.T, plan harness.Plan, r *harness.Result) {
	t.Helper()
	stops := 0
	for _, e := range r.History.Events {
		if e.Kind != history.Fault || e.Op != history.FaultStop {
			continue
		}
		stops++
		t.Logf("%8v %-18s on %-22s %s", e.Time.Round(time.Millisecond), e.Object, e.Node, e.Result)
		if e.Error != "" || e.Result == "" {
			t.Errorf("%s on %s: bit %q, error %q", e.Object, e.Node, e.Result, e.Error)
		}
	}
	if stops != len(plan) {
		t.Errorf("%d of %d faults were healed", stops, len(plan))
	}
	for _, one := range r.Results {
		if one.Verdict == checker.Unknown {
			t.Errorf("%+v", one)
		}
	}
}

// Each fault, drawn as in a run, on a virtual clock.
func TestEachFaultBitesAndHealsEmbedded(t *testing.T) {
	for _, f := range (Options{SessionTimeout: sessionTimeout}).Every() {
		t.Run(f.Name(), func(t *testing.T) {
			if err := f.Able(harness.NewEnv(kind("embedded"), 3)); err != nil {
				t.Skip(err)
			}
			synctest.Test(t, func(t *testing.T) {
				o := options(startEmbedded)
				o.Seed, o.Plan = 1, planOf(t, f)
				o.Plan[0].At = time.Second
				o.Time = 4*time.Second + o.Plan[0].For
				r, err := harness.Run(t.Context(), scenario([]harness.Fault{f}), o)
				if err != nil {
					t.Fatal(err)
				}
				check(t, o.Plan, r)
			})
		})
	}
}

// A client that reads makes no create, and one that waits for its turn makes no request at all.
func TestACutBitesWhateverTheClientSends(t *testing.T) {
	faults, err := (Options{SessionTimeout: sessionTimeout}).Named("link-cut")
	if err != nil {
		t.Fatal(err)
	}
	for name, busy := range map[string]bool{"reads": true, "waits": false} {
		t.Run(name, func(t *testing.T) {
			s := scenario(faults)
			s.Workload = func(env *harness.Env) harness.Workload {
				return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
					s, err := c.Open(ctx, session.Options{Timeout: sessionTimeout})
					if err != nil {
						return err
					}
					defer s.Close()
					for c.Next(ctx) {
						c.Do(ctx, history.Event{Op: "look"}, func(ctx context.Context) (history.Event, error) {
							if busy {
								_, err := s.Exists(ctx, env.Root())
								return history.Event{}, err
							}
							c.Pause(ctx, time.Minute)
							return history.Event{}, nil
						})
						c.Pause(ctx, 100*time.Millisecond)
					}
					return nil
				}}
			}
			for seed := range uint64(6) {
				synctest.Test(t, func(t *testing.T) {
					o := options(startEmbedded)
					o.Seed, o.Time = 1, time.Minute
					r := rand.New(rand.NewPCG(seed, 0))
					step := faults[0].Draw(r, harness.NewEnv(kind("embedded"), 3))
					step.Fault, step.At = faults[0].Name(), time.Duration(1+r.IntN(3000))*time.Millisecond
					o.Plan, o.Time = harness.Plan{step}, 4*time.Second+step.For
					result, err := harness.Run(t.Context(), s, o)
					if err != nil {
						t.Fatal(err)
					}
					check(t, o.Plan, result)
				})
			}
		})
	}
}

// but has client 0 do something else than the others.
func but(s harness.Scenario, zero func(context.Context, *harness.Client, func() error) error) harness.Scenario {
	others := s.Workload
	s.Workload = func(env *harness.Env) harness.Workload {
		w := others(env)
		work := w.Work
		w.Work = func(ctx context.Context, c *harness.Client) error {
			all := func() error { return work(ctx, c) }
			if c.ID == 0 {
				return zero(ctx, c, all)
			}
			return all()
		}
		return w
	}
	return s
}

// bites runs a fault that is drawn for client 0, and wants it to hurt somebody.
func bites(t *testing.T, name string, s func([]harness.Fault) harness.Scenario) {
	faults, err := (Options{SessionTimeout: sessionTimeout}).Named(name)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := options(startEmbedded)
		o.Plan = harness.Plan{{Fault: name, Target: "c0", At: time.Second}}
		o.Time = 4 * time.Second
		result, err := harness.Run(t.Context(), s(faults), o)
		if err != nil {
			t.Fatal(err)
		}
		check(t, o.Plan, result)
	})
}

// A client whose session was lost has no connection until its program notices.
func TestLinksOfClientsWithAConnectionAreBroken(t *testing.T) {
	bites(t, "link-reset", func(faults []harness.Fault) harness.Scenario {
		return but(scenario(faults), func(ctx context.Context, c *harness.Client, _ func() error) error {
			for c.Next(ctx) {
				c.Pause(ctx, 100*time.Millisecond)
			}
			return nil
		})
	})
}

// Where no client has a connection, one will have soon.
func TestALinkIsBrokenOnceThereIsAConnection(t *testing.T) {
	bites(t, "link-reset", func(faults []harness.Fault) harness.Scenario {
		s := but(scenario(faults), func(ctx context.Context, c *harness.Client, work func() error) error {
			c.Pause(ctx, 2*time.Second)
			return work()
		})
		s.Clients = 1
		return s
	})
}

// A session may have ended without its client's being told yet.
func TestASessionIsClosedThoughAnotherIsOverAlready(t *testing.T) {
	bites(t, "session-close", func(faults []harness.Fault) harness.Scenario {
		return but(scenario(faults), func(ctx context.Context, c *harness.Client, _ func() error) error {
			s, err := session.Open(ctx, session.Options{Servers: c.Env().Servers(), Dial: c.Dial, Timeout: sessionTimeout})
			if err != nil {
				return err
			}
			c.Opened(harness.SessionInfo{ID: s.ID(), Password: s.Password(), Timeout: s.Timeout()})
			s.Close() // and the harness is not told
			for c.Next(ctx) {
				c.Pause(ctx, 100*time.Millisecond)
			}
			return nil
		})
	})
}

// lossy is an ensemble that answers no close of a session: the connection ends instead.
type lossy struct{ ensemble.Ensemble }

func (e lossy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := e.Ensemble.DialContext(ctx, network, address)
	return &lossyConn{Conn: conn}, err
}

type lossyConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *lossyConn) Write(b []byte) (int, error) {
	if h, _, err := wire.CutRequest(b[min(4, len(b)):]); err == nil && h.Op == wire.OpCloseSession {
		c.closed.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.closed.Load() {
		return 0, io.EOF
	}
	return n, err
}

// The next server says that there is no such session, which is what the close before has done. The step named another client
// then, and its victim's holds were judged as if nothing had happened to it.
func TestACloseThatIsNotAnsweredNamesItsVictim(t *testing.T) {
	faults, err := (Options{SessionTimeout: sessionTimeout}).Named("session-close")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := options(func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			e, err := startEmbedded(ctx, config)
			return lossy{e}, err
		})
		o.Plan = harness.Plan{{Fault: "session-close", Target: "c0", At: time.Second}}
		o.Time = 4 * time.Second
		r, err := harness.Run(t.Context(), scenario(faults), o)
		if err != nil {
			t.Fatal(err)
		}
		check(t, o.Plan, r)
		for _, e := range r.History.Events {
			if e.Kind == history.Fault && e.Op == history.FaultStop && e.Node != "c0" {
				t.Errorf("the stop names %s: %s", e.Node, e.Result)
			}
		}
	})
}

// A follower that another fault has cut off takes no client to be cut off with it: that meets nobody, and is no error.
func TestClientsThatCannotBeCutOffAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(startEmbedded)
		o.Time, o.Plan = 20*time.Second, harness.Plan{
			{Fault: "partition-one", At: time.Second, For: 12 * time.Second, Target: "n0"},
			{Fault: "partition-clients", At: 5 * time.Second, For: time.Second, Target: "n0", Arg: "c0"},
		}
		r, err := harness.Run(t.Context(), scenario(Every()), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.History.Events {
			if e.Kind == history.Fault && e.Op == history.FaultStop && (e.Error != "" || e.Object == "partition-clients" && e.Result != "") {
				t.Errorf("%s on %s: %q, %q", e.Object, e.Node, e.Result, e.Error)
			}
		}
	})
}

// meetsNobody wants each fault of a name to be over within that long, without evidence and without an error: it met nobody.
func meetsNobody(t *testing.T, r *harness.Result, name string, within time.Duration) {
	t.Helper()
	var began time.Duration
	stopped := false
	for _, e := range r.History.Events {
		switch {
		case e.Kind != history.Fault:
		case e.Object == name && e.Op == history.FaultStart:
			began = e.Time
		case e.Error != "":
			t.Errorf("%s on %s: %s", e.Object, e.Node, e.Error)
		case e.Object == name:
			stopped = true
			if e.Result != "" || e.Time-began > within {
				t.Errorf("%s on %s: %q after %v", e.Object, e.Node, e.Result, e.Time-began)
			}
		}
	}
	if !stopped {
		t.Errorf("no %s was over", name)
	}
}

// A step that came while a majority was down made the run unknown: whether it did hung on how fast servers start.
func TestFaultsThatMeetNoQuorumMeetNobody(t *testing.T) {
	for _, name := range []string{"session-close", "data-foreign-children", "data-delete-node"} {
		synctest.Test(t, func(t *testing.T) {
			o := options(startEmbedded)
			o.Time, o.Plan = 10*time.Second, harness.Plan{
				{Fault: "kill-majority", At: time.Second, For: 7 * time.Second, Target: majority},
				{Fault: name, At: 1100 * time.Millisecond, For: time.Second, Target: "c0", Arg: "0"},
			}
			r, err := harness.Run(t.Context(), scenario(Every()), o)
			if err != nil {
				t.Fatal(err)
			}
			meetsNobody(t, r, name, healPatience+time.Second) // which it takes to close a connection that nobody answers
		})
	}
}

// Servers that were started do not serve at once.
func TestASessionIsClosedOnceServersServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(startEmbedded)
		o.Time, o.Plan = 8*time.Second, harness.Plan{
			{Fault: "kill-all", At: time.Second, For: 100 * time.Millisecond, Target: all},
			{Fault: "session-close", At: 1101 * time.Millisecond, Target: "c0"},
		}
		r, err := harness.Run(t.Context(), scenario(Every()), o)
		if err != nil {
			t.Fatal(err)
		}
		check(t, o.Plan, r)
	})
}

// The nemesis does one thing at a time: no heal can give a client back while a fault waits for one.
func TestNoFaultWaitsLongForClientsThatOthersHave(t *testing.T) {
	for _, name := range []string{"link-reset", "partition-clients", "session-close", "session-expire"} {
		synctest.Test(t, func(t *testing.T) {
			o := options(startEmbedded)
			o.Clients, o.Time, o.Plan = 1, 15*time.Second, harness.Plan{
				{Fault: "link-delay", At: time.Second, For: 10 * time.Second, Target: "c0", Arg: "1ms"},
				{Fault: name, At: 2 * time.Second, Target: "n0", Arg: "c0"},
			}
			r, err := harness.Run(t.Context(), scenario(Every()), o)
			if err != nil {
				t.Fatal(err)
			}
			meetsNobody(t, r, name, healPatience)
		})
	}
}

// After a long outage no client has a session, and it may be the heal of the outage that gives them new ones.
func TestNoFaultWaitsLongForASession(t *testing.T) {
	for _, name := range []string{"session-close", "session-expire"} {
		synctest.Test(t, func(t *testing.T) {
			s := scenario(Every())
			s.Workload = func(*harness.Env) harness.Workload {
				return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
					c.Opened(harness.SessionInfo{ID: int64(c.ID + 1)})
					c.SessionState(int64(c.ID+1), history.SessionLost, nil)
					for c.Pause(ctx, time.Second) {
					}
					return nil
				}}
			}
			o := options(startEmbedded)
			o.Time, o.Plan = 10*time.Second, harness.Plan{{Fault: name, At: time.Second, Target: "c0"}}
			r, err := harness.Run(t.Context(), s, o)
			if err != nil {
				t.Fatal(err)
			}
			meetsNobody(t, r, name, healPatience)
		})
	}
}

// inTurn is an ensemble that another node leads each time that somebody asks.
type inTurn struct {
	anEmbedded
	asked int
}

func (e *inTurn) Leader(context.Context) (int, error) {
	e.asked++
	return e.asked % 3, nil
}

func TestAPartitionIsAroundOneLeader(t *testing.T) {
	for _, target := range []string{leader, follower, "n2"} {
		e := &inTurn{}
		node, nodes, err := order(t.Context(), harness.NewEnv(e, 1), target)
		want := map[string]int{leader: 1, follower: 2, "n2": 2}[target]
		if node != want || !slices.Equal(nodes, []int{1, 2, 0}) || err != nil || e.asked != 1 {
			t.Errorf("%s is n%d of %v, %v, and %d asked", target, node, nodes, err, e.asked)
		}
	}
}

// A new leader gives every session its whole timeout once more.
func TestASessionHeldOverAChangeOfLeadersIsLostInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(startEmbedded)
		o.Time, o.Plan = 8*time.Second, harness.Plan{
			{Fault: "session-expire", At: time.Second, For: sessionTimeout * 3 / 2, Target: "c0"},
			{Fault: "kill-leader", At: 2 * time.Second, For: 500 * time.Millisecond, Target: leader},
		}
		r, err := harness.Run(t.Context(), scenario(Every()), o)
		if err != nil {
			t.Fatal(err)
		}
		check(t, o.Plan, r)
	})
}

// planOf draws one step of each fault, with the numbers of nodes and clients of the tests.
func planOf(t *testing.T, faults ...harness.Fault) (plan harness.Plan) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 0))
	for _, f := range faults {
		step := f.Draw(r, harness.NewEnv(kind("embedded"), 3))
		step.Fault = f.Name()
		plan = append(plan, step)
	}
	return plan
}

// The same on a real ensemble takes six minutes, so it is run when asked: ZKCOORD_TEST_FAULT=process or container, and
// ZKCOORD_TEST_FAULTS=kill,pause for some of them. For compose the project of this repository has to run, with ticks as the
// others have: ZOO_TICK_TIME=500 docker-compose up -d.
func TestEachFaultBitesAndHealsReal(t *testing.T) {
	name := os.Getenv("ZKCOORD_TEST_FAULT")
	start, known := map[string]ensemble.Starter{
		"process": func(ctx context.Context, c ensemble.Config) (ensemble.Ensemble, error) {
			return process.Start(ctx, process.Options{Config: c})
		},
		"container": func(ctx context.Context, c ensemble.Config) (ensemble.Ensemble, error) {
			return container.Start(ctx, container.Options{Config: c})
		},
		"compose": func(ctx context.Context, _ ensemble.Config) (ensemble.Ensemble, error) {
			return container.Attach(ctx, "../../docker-compose.yml")
		},
	}[name]
	if !known {
		t.Skip("set ZKCOORD_TEST_FAULT to process, container or compose")
	}
	faults, err := Options{SessionTimeout: sessionTimeout}.Named(cmp.Or(os.Getenv("ZKCOORD_TEST_FAULTS"), "all,clock,disk,slow-sync,power-loss,wipe,truncate,bit-flip,old-data,data"))
	if err != nil {
		t.Fatal(err)
	}
	faults = slices.DeleteFunc(faults, func(f harness.Fault) bool { return f.Able(harness.NewEnv(kind(name), 3)) != nil })
	plan := planOf(t, faults...)
	at := 2 * time.Second
	for i := range plan {
		plan[i].For = min(plan[i].For, 4*time.Second)
		plan[i].At = at
		at += plan[i].For + 7*time.Second // For the ensemble to recover, so that the next is a fault of its own.
	}
	o := options(start)
	o.Seed, o.Time, o.Plan = 1, at+time.Minute, plan
	r, err := harness.Run(t.Context(), scenario(faults), o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, plan, r)
}

// Many at a time: whatever stood together, in the end all is whole again.
func TestFaultsThatStandTogetherAreAllHealed(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			faults := (Options{SessionTimeout: sessionTimeout}).All()
			o := options(startEmbedded)
			o.Seed, o.Time, o.Intensity = seed, 30*time.Second, 2
			r, err := harness.Run(t.Context(), scenario(faults), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.History.PhaseStart(history.PhaseHealed) == nil {
				t.Errorf("seed %d: the ensemble did not recover from\n%s", seed, Describe(r.Plan))
			}
			for _, e := range r.History.Events {
				if e.Kind == history.Fault && e.Error != "" && !strings.HasPrefix(e.Error, "not injected") {
					t.Errorf("seed %d: %s on %s: %s", seed, e.Object, e.Node, e.Error)
				}
			}
		})
	}
}

func TestOneSeedGivesOnePlan(t *testing.T) {
	draw := func() (plan harness.Plan) {
		synctest.Test(t, func(t *testing.T) {
			o := options(startEmbedded)
			o.Seed, o.Time = 7, time.Minute
			s := scenario(All())
			s.Workload = harness.Noop
			r, err := harness.Run(t.Context(), s, o)
			if err != nil {
				t.Fatal(err)
			}
			plan = r.Plan
		})
		return plan
	}
	first := draw()
	if len(first) < 5 || !reflect.DeepEqual(first, draw()) {
		t.Errorf("%d steps, or another plan the second time", len(first))
	}
	if text := Describe(first); strings.Count(text, "\n") != len(first) {
		t.Errorf("described as:\n%s", text)
	}
}

func TestFaultsAreComposedByName(t *testing.T) {
	for list, want := range map[string]string{
		"session":                         "session-close session-expire",
		"partition-ring,kill-all":         "kill-all partition-ring",
		"rolling":                         "rolling-restart rolling-upgrade rolling-downgrade",
		" pause-leader , link-reset":      "link-reset pause-leader",
		"kill,kill-leader,session-expire": "session-expire kill-leader kill-follower kill-majority kill-all",
		"wipe,clock":                      "clock-bump clock-rate wipe",
	} {
		faults, err := Named(list)
		if got := strings.Join(Names(faults), " "); err != nil || got != want {
			t.Errorf("%q gives %q, %v; want %q", list, got, err, want)
		}
	}
	if faults, err := Named("all"); err != nil || len(faults) != len(All()) {
		t.Errorf("all gives %d of %d, %v", len(faults), len(All()), err)
	}
	for _, list := range []string{"", "kil", "kill,nonsense", "kill-"} {
		if _, err := Named(list); err == nil || !strings.Contains(err.Error(), "kill-leader") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestAnEnsembleIsAskedOnlyForWhatItCanDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(func(ctx context.Context, c ensemble.Config) (ensemble.Ensemble, error) {
			e, err := startEmbedded(ctx, c)
			return struct{ ensemble.Ensemble }{e}, err // Without its capabilities.
		})
		o.Time = 20 * time.Second
		s := scenario(All())
		s.Workload = harness.Noop
		r, err := harness.Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range r.Plan {
			if !strings.HasPrefix(step.Fault, "link") && !strings.HasPrefix(step.Fault, "session") && !strings.HasPrefix(step.Fault, "data") {
				t.Errorf("drew %s, which the ensemble cannot do", step.Fault)
			}
		}
		const pauses = "pause-leader, pause-follower, pause-majority: the ensemble (embedded) cannot pause nodes"
		if !slices.Contains(r.CouldNot, pauses) {
			t.Errorf("what the ensemble cannot do is said as %q", r.CouldNot)
		}
	})
}
