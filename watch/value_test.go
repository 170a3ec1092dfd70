package watch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

type limits struct{ Rate, Burst int }

var errRate = errors.New("rate must be positive")

func limitsOptions() watch.ValueOptions[limits] {
	return watch.ValueOptions[limits]{
		Default: limits{Rate: 1},
		Validate: func(l limits) error {
			if l.Rate <= 0 {
				return errRate
			}
			return nil
		},
	}
}

func saySetting(s watch.Setting[limits]) string {
	return fmt.Sprintf("%+v %v %v", s.Value, s.Stat != nil, s.Err)
}

// A Value keeps the last good value if the stored value is not valid, if the znode is deleted, and
// if the session is lost.
//
// Covers W10.
func TestValueKeepsTheLastGoodOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		v := watch.NewValue("/limits", limitsOptions())
		if _, known := v.Current(); known || v.Load() != (limits{Rate: 1}) {
			t.Errorf("before the first read: known %v, value %+v; want the default, not known", known, v.Load())
		}
		f := listen(t, v.Changes(t.Context()))
		f.none()
		keep := listen(t, keeping(t.Context(), w.s, v.Keep))
		expect(t, saySetting(f.next()), "{Rate:1 Burst:0} false watch: no such znode")
		w.do(`+/limits {"Rate":5}`)
		expect(t, saySetting(f.next()), "{Rate:5 Burst:0} true <nil>")
		w.do(`=/limits {"Rate":`)
		c := f.next()
		expect(t, saySetting(c), "{Rate:5 Burst:0} true watch: invalid value: unexpected end of JSON input")
		if broken := (*json.SyntaxError)(nil); !errors.Is(c.Err, watch.ErrValue) || !errors.As(c.Err, &broken) {
			t.Errorf("got error %v, want ErrValue and a *json.SyntaxError", c.Err)
		}
		w.do(`=/limits {"Rate":-1}`)
		if c := f.next(); !errors.Is(c.Err, errRate) || v.Load().Rate != 5 {
			t.Errorf("got %s and value %+v, want errRate and the last good value 5", saySetting(c), v.Load())
		}
		w.do(`=/limits {"Rate":6}`)
		expect(t, saySetting(f.next()), "{Rate:6 Burst:0} true <nil>")
		w.do(`-/limits`)
		expect(t, saySetting(f.next()), "{Rate:6 Burst:0} true watch: no such znode")

		w.must(w.Expire(w.s.ID()))
		if err := keep.end(); !errors.Is(err, session.ErrLost) {
			t.Errorf("Keep returned %v, want ErrLost", err)
		}
		if v.Load().Rate != 6 {
			t.Errorf("after the session was lost: got %+v, want Rate 6", v.Load())
		}
		f.none()
	})
}

// The function `keeping` returns a stream that calls `keep` and yields only its error.
func keeping(ctx context.Context, s *session.Session, keep func(context.Context, *session.Session) error) func(func(int, error) bool) {
	return func(yield func(int, error) bool) { yield(0, keep(ctx, s)) }
}

// A Value that continues in a new session reports only a change of the stored value, and not the
// new session.
//
// Covers W3, W10.
func TestValueOverSessionsTellsWhatChanged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do(`+/limits {"Rate":5}`)
		ctx, cancel := context.WithCancel(t.Context())
		v := watch.NewValue("/limits", limitsOptions())
		var running sync.WaitGroup
		running.Go(func() { session.Run(ctx, w.options(), v.Keep) })
		f := listen(t, v.Changes(ctx))
		expect(t, saySetting(f.next()), "{Rate:5 Burst:0} true <nil>")
		w.expireFollowers()
		time.Sleep(time.Minute)
		f.none()
		w.do(`=/limits {"Rate":6}`)
		expect(t, saySetting(f.next()), "{Rate:6 Burst:0} true <nil>")
		cancel()
		if err := f.end(); !errors.Is(err, context.Canceled) {
			t.Errorf("Changes ended with %v, want context.Canceled", err)
		}
		running.Wait()
	})
}

// A slow consumer of Changes gets the newest setting next, and does not delay Load.
//
// Covers W4, W8.
func TestSlowListenerOfAValueGetsTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		v := watch.NewValue("/limits", limitsOptions())
		ctx, cancel := context.WithCancel(t.Context())
		keep := listen(t, keeping(ctx, w.s, v.Keep))
		slow := listen(t, v.Changes(ctx))
		synctest.Wait()
		w.do(`+/limits {"Rate":1}`)
		for i := range 100 {
			w.do(fmt.Sprintf(`=/limits {"Rate":%d}`, i+2))
			if got := v.Load().Rate; got != i+2 {
				t.Fatalf("Load returned %d, want %d", got, i+2)
			}
		}
		expect(t, saySetting(slow.next()), "{Rate:1 Burst:0} false watch: no such znode") // the consumer was busy with this one
		expect(t, saySetting(slow.next()), "{Rate:101 Burst:0} true <nil>")
		slow.none()
		cancel()
		keep.end()
	})
}

func TestUpdatesOfManyAllCount(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		for i := range 3 {
			o := w.options()
			o.Servers = w.Servers()
			o.Dial = w.DialContext
			s := w.open(o)
			w.Lag(i, time.Duration(i)*20*time.Millisecond)
			all.Go(func() {
				v := watch.NewValue("/config/limits", limitsOptions())
				for range 20 {
					_, err := v.Update(t.Context(), s, func(l limits) (limits, error) {
						l.Burst++
						return l, nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		time.Sleep(time.Second) // the admin's server may lag
		got, err := w.admin.Get(t.Context(), "/config/limits")
		w.must(err)
		if string(got.Data) != `{"Rate":1,"Burst":60}` {
			t.Errorf("got %s stored, want Rate 1 and Burst 60", got.Data)
		}
	})
}

// The default that Load returns stays unchanged if the function passed to Update modifies its
// argument in place.
//
// Covers W10.
func TestUpdateOfAMapLeavesTheDefault(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		v := watch.NewValue("/limits", watch.ValueOptions[map[string]int]{Default: map[string]int{"all": 1}})
		stored, err := v.Update(t.Context(), w.admin, func(m map[string]int) (map[string]int, error) {
			m["some"] = 2
			return m, nil
		})
		w.must(err)
		if shown := v.Load(); len(stored) != 2 || len(shown) != 1 {
			t.Errorf("got %v stored and the default %v, want 2 entries and 1", stored, shown)
		}
	})
}

func TestUpdateErrorsTellWhetherItWasStored(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		v := watch.NewValue("/limits", limitsOptions())
		mine := errors.New("mine")
		cases := map[string]struct {
			before  string
			f       func(limits) (limits, error)
			rule    *zktest.Rule
			want    error
			outcome session.Outcome
			stored  string
		}{
			"f fails": {f: func(l limits) (limits, error) { return l, mine }, want: mine, outcome: session.Failed},
			"f makes an invalid one": {f: func(limits) (limits, error) { return limits{}, nil },
				want: errRate, outcome: session.Failed},
			"an invalid one is stored": {before: "{", f: func(limits) (limits, error) { return limits{Rate: 2}, nil },
				want: watch.ErrValue, outcome: session.Failed, stored: "{"},
			"reply lost": {before: `{"Rate":1}`, f: func(limits) (limits, error) { return limits{Rate: 2}, nil },
				rule: &zktest.Rule{Op: "setData", Fate: zktest.CloseBeforeReply}, want: nil,
				outcome: session.Indeterminate, stored: `{"Rate":2,"Burst":0}`},
		}
		for name, c := range cases {
			w.do("-/limits")
			if c.before != "" {
				w.do("+/limits " + c.before)
			}
			if c.rule != nil {
				w.Inject(*c.rule)
			}
			_, err := v.Update(t.Context(), w.s, c.f)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || session.OutcomeOf(err) != c.outcome {
				t.Errorf("%s: got error %v with outcome %v, want error %v (nil: any error) with outcome %v", name, err, session.OutcomeOf(err), c.want, c.outcome)
			}
			got, _ := w.admin.Get(t.Context(), "/limits")
			if string(got.Data) != c.stored {
				t.Errorf("%s: stored %q, want %q", name, got.Data, c.stored)
			}
		}
	})
}

// Update returns an error if the chroot is missing. Regression: Update tried to create the znode in
// an endless loop.
func TestUpdateInAMissingChroot(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client(func(o *session.Options) { o.Chroot = "/nowhere" })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.At(100, cancel)
		v := watch.NewValue("/limits", limitsOptions())
		_, err := v.Update(ctx, c.Session, func(l limits) (limits, error) { return l, nil })
		if !errors.Is(err, zk.ErrNoNode) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("got error %v with outcome %v, want ErrNoNode with outcome Failed", err, session.OutcomeOf(err))
		}
	})
}

// Load is meant for hot paths, so it must allocate nothing.
func TestLoadAllocatesNothing(t *testing.T) {
	v := watch.NewValue("/limits", limitsOptions())
	if n := testing.AllocsPerRun(100, func() { v.Load() }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// A Tree keeps its copy when the session is lost, and continues in a new session. The copy then
// also has the changes that were made between the two sessions.
//
// Covers W5, W7.
func TestCopyIsKeptOverSessions(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/x/y 2")
		c := watch.NewTree("/a", watch.TreeOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { session.Run(ctx, w.options(), c.Keep) })
		<-c.Ready()
		expect(t, sayEntries(c.All()), "/a=0 /a/x=1 /a/x/y=2")
		expect(t, sayEntries(c.Children("/a")), "/a/x=1")
		w.expireFollowers()
		w.do("-/a/x", "+/a/z 3", "=/a 4")
		time.Sleep(time.Minute)
		expect(t, sayEntries(c.All()), "/a=4 /a/z=3")
		if e, ok := c.Get("/a"); !ok || e.Stat.NumChildren != 1 || e.Stat.Version != 1 {
			t.Errorf("copy of /a: got %v with stat %+v, want version 1 and 1 child", ok, e.Stat)
		}
		if _, ok := c.Get("/a/x"); ok || c.Len() != 2 || c.Children("/a/x") != nil {
			t.Errorf("got %d znodes, /a/x among them: %v; want 2 without /a/x", c.Len(), ok)
		}
		cancel()
		running.Wait()
		synctest.Wait()
	})
}

// In this test a refresh of a Tree ends halfway through a list of children. The next stream reads
// all children. Regression: the children that the first refresh had not read were missing for good,
// even in a copy whose channel Ready was closed.
//
// Covers W1, W4, W6.
func TestALookThatEndsHalfWayLosesNothing(t *testing.T) {
	const all = "/a=0 /a/x=1 /a/x/y=2 /a/z=3"
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/x/y 2", "+/a/z 3")
		for skip := range strings.Count(all, "=") {
			c := watch.NewTree("/a", watch.TreeOptions{})
			slow := w.Inject(zktest.Rule{Session: w.s.ID(), Op: "getData", Skip: skip, Fate: zktest.DelayReply, Delay: 2 * time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := c.Keep(ctx, w.s); !errors.Is(err, context.DeadlineExceeded) || slow.Fired() != 1 {
				t.Fatalf("after %d values: got error %v and %d delayed replies, want DeadlineExceeded and 1", skip, err, slow.Fired())
			}
			cancel()
			ctx, cancel = context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { c.Keep(ctx, w.s) })
			<-c.Ready()
			expect(t, sayEntries(c.All()), all)
			cancel()
			running.Wait()
		}
	})
}
