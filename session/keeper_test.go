package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// deadLine is a connection that sends nothing.
type deadLine struct{}

func (deadLine) ping()            {}
func (deadLine) sync()            {}
func (deadLine) fail(error) error { return nil }

// bareKeeper returns the keeper of a session that began at ms(0), with T = 12 s.
func bareKeeper(t *testing.T, change func(*Options)) *leaseKeeper {
	t.Helper()
	opts := Options{Servers: []string{"a"}, slept: func() time.Duration { return 0 }}
	if change != nil {
		change(&opts)
	}
	must(t, opts.complete())
	k := newLeaseKeeper(&opts, newReporter(opts.Logger))
	k.connected(deadLine{}, ms(0), terms{id: 1, timeout: 12 * time.Second, tick: time.Second, fresh: true})
	return k
}

// The method `text` describes the due work: p for a ping, s for a sync, b for a heartbeat with the
// number of znodes that it checks, w for each znode to watch, d for a connection to drop.
func (c chores) text() (s string) {
	for _, due := range []struct {
		is   bool
		name string
	}{{c.ping, "p"}, {c.sync, "s"}, {c.beat, fmt.Sprint("b", len(c.check))}, {c.drop, "d"}} {
		if due.is {
			s += due.name
		}
	}
	for range c.watch {
		s += "w"
	}
	return s
}

// A session that is idle or only waits sends syncs. A session that holds something, or expects a
// grant, sends heartbeats and pings. The znode of a hold is watched once the hold has lasted T/12.
// In this test, T is 12 s, so T/12 is 1 s. Each request is answered after 10 ms. The field `want`
// has the work that is due after 1 s, 2 s and so on, as the method `text` describes it; "-" is no
// work.
//
// Covers S2.
func TestChoresOfALease(t *testing.T) {
	granted := func(t *testing.T, k *leaseKeeper, h *hold) {
		if wait, err := k.grant(h, ms(1)); wait != nil || err != nil {
			t.Fatalf("grant: got a wait %v, error %v; want false, nil", wait != nil, err)
		}
	}
	for name, test := range map[string]struct {
		options func(*Options)
		begin   func(t *testing.T, k *leaseKeeper, h *hold) // nil without a hold
		want    string
	}{
		"idle":              {want: "- - s - - s - - s - - s"},
		"idle, no lease":    {options: func(o *Options) { o.NoIdleLease = true }, want: "- - - - - - - - - - - -"},
		"trusting":          {options: func(o *Options) { o.UnsafeTrustIdle = true }, want: "- - - - - - - - - - - -"},
		"waits, no lease":   {options: func(o *Options) { o.NoIdleLease = true }, begin: func(*testing.T, *leaseKeeper, *hold) {}, want: "w - s - - s - - s - - s"},
		"waits":             {begin: func(*testing.T, *leaseKeeper, *hold) {}, want: "w - s - - s - - s - - s"},
		"is expected":       {begin: func(_ *testing.T, k *leaseKeeper, h *hold) { k.expect(h) }, want: "pw p pb1 p p pb1 p p pb1 p p pb1"},
		"is granted":        {begin: granted, want: "pw p pb1 p p pb1 p p pb1 p p pb1"},
		"held without care": {options: func(o *Options) { o.UnsafeHoldUntilLost = true }, begin: granted, want: "w - - - - - - - - - - -"},
	} {
		t.Run(name, func(t *testing.T) {
			k := bareKeeper(t, test.options)
			if test.begin != nil {
				h := k.begin(engine.Node{Path: "/h"})
				h.since = ms(0)
				test.begin(t, k, h)
			}
			got := ""
			for i := 1; i <= 12; i++ {
				now := ms(i * 1000)
				due := k.look(now)
				if text := due.text(); text != "" {
					got += text + " "
				} else {
					got += "- "
				}
				if !due.next.After(now) {
					t.Errorf("at %v: got the next check at once, want it later", now)
				}
				later := now.Add(10 * time.Millisecond)
				if due.ping {
					k.answered(proofActive, now, later, underLeader(0))
				}
				if due.sync {
					k.answered(proofLeader, now, later, underLeader(0))
					k.synced(later, true)
				}
				if due.beat {
					k.answered(proofMajority, now, later, underLeader(1))
					k.beaten(later, due.check, nil)
				}
			}
			if got != test.want+" " {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A lapse ends granted holds, but not those that wait. After the lapse, nothing is granted until a
// probation of a whole session timeout is over. Then waiters are woken.
//
// Covers S2.
func TestLapseAndProbation(t *testing.T) {
	k := bareKeeper(t, nil)
	held, waits := k.begin(engine.Node{Path: "/held"}), k.begin(engine.Node{Path: "/waits"})
	if wait, err := k.grant(held, ms(1)); wait != nil || err != nil {
		t.Fatalf("the grant in a new session: got a wait %v, error %v; want false, nil",
			wait != nil, err)
	}
	if k.look(ms(11_399)); held.ctx.Err() != nil {
		t.Errorf("before the deadline of 11.4 s: the hold ended with %v, want it to be held",
			context.Cause(held.ctx))
	}
	if k.look(ms(11_400)); context.Cause(held.ctx) != ErrLeaseLapsed || waits.ctx.Err() != nil {
		t.Errorf("after the deadline: got the causes %v of the granted hold and %v of the waiting one, want a lapse and none", context.Cause(held.ctx), context.Cause(waits.ctx))
	}
	wait, err := k.grant(waits, ms(11_400))
	if wait == nil || err != nil {
		t.Fatalf("a grant without a lease: got a wait %v, error %v; want true, nil",
			wait != nil, err)
	}
	for at := 12_000; at <= 27_000; at += 500 {
		k.answered(proofActive, ms(at-200), ms(at-190), underLeader(0))
		k.answered(proofMajority, ms(at), ms(at+10), underLeader(1))
		select {
		case <-wait:
			if at < 24_000 {
				t.Fatalf("the lease stands again %d ms after the lapse, want at least 12000", at-12_000)
			}
			if wait, err := k.grant(waits, ms(at+10)); wait != nil || err != nil {
				t.Errorf("the grant after the wait: got another wait %v, error %v; want false, nil",
					wait != nil, err)
			}
			return
		default:
		}
	}
	t.Error("the waiting contender was not woken within 15 s after the lapse, want after 12 s")
}

// An answer that arrives after its connection has ended proves nothing. Nothing is due while there
// is no connection.
func TestNoChoresWithoutAConnection(t *testing.T) {
	k := bareKeeper(t, nil)
	h := k.begin(engine.Node{Path: "/h"})
	k.grant(h, ms(1))
	k.answered(proofActive, ms(1000), ms(1010), underLeader(0))
	k.answered(proofMajority, ms(3000), ms(3010), underLeader(1))
	before := k.deadline()
	k.disconnected()
	k.answered(proofMajority, ms(4900), ms(4910), underLeader(1))
	if due := k.look(ms(5000)); due.line != nil || due.text() != "" || !k.deadline().Equal(before) {
		t.Errorf("without a connection: got %q due and the deadline moved by %v, want neither", due.text(), k.deadline().Sub(before))
	}
}

// After a suspension of the machine the lease does not stand, and the connection is dropped.
func TestSuspensionDropsTheConnection(t *testing.T) {
	slept := time.Duration(0)
	k := bareKeeper(t, func(o *Options) { o.slept = func() time.Duration { return slept } })
	h := k.begin(engine.Node{Path: "/h"})
	k.grant(h, ms(1))
	slept = time.Minute
	if due := k.look(ms(1000)); due.text() != "d" || !errors.Is(context.Cause(h.ctx), ErrLeaseLapsed) || !errors.Is(context.Cause(h.ctx), errSuspended) {
		t.Errorf("after a suspension: got %q due and the cause %v, want \"d\" and %v", due.text(), context.Cause(h.ctx), errSuspended)
	}
	k.connected(deadLine{}, ms(2000), terms{id: 1, timeout: 12 * time.Second, tick: time.Second})
	if due := k.look(ms(3000)); due.drop {
		t.Error("the connection after the suspension is dropped too, want it to be kept")
	}
}

// After a failed heartbeat, the next heartbeat is sent only after a pause. While a heartbeat is in
// progress, no other one is sent. The same is true for syncs.
func TestFailedChoresAreSpaced(t *testing.T) {
	for name, test := range map[string]struct {
		holding bool
		fail    func(k *leaseKeeper, now time.Time)
		want    string
	}{
		"heartbeat": {true, func(k *leaseKeeper, now time.Time) { k.beaten(now, nil, ErrThrottled) }, "b1"},
		"sync":      {false, func(k *leaseKeeper, now time.Time) { k.synced(now, false) }, "s"},
	} {
		t.Run(name, func(t *testing.T) {
			k := bareKeeper(t, nil)
			if test.holding {
				k.grant(k.begin(engine.Node{Path: "/h"}), ms(1))
				k.lastPing = ms(4000)
			}
			if due := k.look(ms(4000)); due.text() != test.want {
				t.Fatalf("due first: got %q, want %q", due.text(), test.want)
			}
			if due := k.look(ms(4100)); due.text() != "" {
				t.Errorf("due while one is in progress: got %q, want nothing", due.text())
			}
			test.fail(k, ms(4200))
			space := 12 * time.Second / spacing
			if due := k.look(ms(4200).Add(space - 1)); due.text() != "" {
				t.Errorf("due right after a failure: got %q, want nothing", due.text())
			}
			if due := k.look(ms(4200).Add(space)); due.text() != test.want {
				t.Errorf("due after the pause: got %q, want %q", due.text(), test.want)
			}
		})
	}
}

// If a session has many holds, its heartbeats check the znodes of all holds in turn, even if the
// program begins and ends many short holds all the time. A heartbeat that failed has checked
// nothing. Regression: each heartbeat checked a random part of the znodes, so many heartbeats in a
// row could leave out the same znode.
func TestHeartbeatsCheckAllHoldsInTurn(t *testing.T) {
	k := bareKeeper(t, nil)
	begin := func(path string) *hold {
		h := k.begin(engine.Node{Path: path})
		k.grant(h, ms(1))
		return h
	}
	for i := range 2 * maxChecks {
		begin(fmt.Sprintf("/h%03d", i))
	}
	second := fmt.Sprintf("/h%03d", maxChecks)
	var short []*hold
	for i, beat := range []struct {
		first string
		err   error
	}{{"/a000", nil}, {"/h000", nil}, {second, ErrThrottled}, {second, nil}, {"/h000", nil}} {
		for _, h := range short {
			h.End(ErrRevoked)
		}
		short = nil
		for j := range 2 * maxChecks {
			short = append(short, begin(fmt.Sprintf("/a%03d", j)))
		}
		now := ms(3000 * (i + 1))
		due := k.look(now)
		if len(due.check) != maxChecks || due.check[0].node.Path != beat.first {
			t.Fatalf("heartbeat %d: got %q due, from %s on, want %d checks from %s on",
				i, due.text(), due.check[0].node.Path, maxChecks, beat.first)
		}
		k.answered(proofActive, now, now.Add(1), underLeader(0))
		k.answered(proofMajority, now, now.Add(1), underLeader(1))
		found := due.check
		if beat.err != nil {
			found = nil
		}
		k.beaten(now.Add(1), found, beat.err)
	}
}

// A heartbeat ends at the first znode that does not exist. The znodes behind it were not checked,
// and come first in the next heartbeat.
func TestHeartbeatCountsOnlyWhatItChecked(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		var holds []*hold
		for _, path := range []string{"/a", "/b", "/c"} {
			if path != "/b" {
				_, err := s.Create(t.Context(), path, nil, Ephemeral)
				must(t, err)
			}
			holds = append(holds, s.keeper.begin(engine.Node{Path: path}))
		}
		s.heartbeat(holds)
		if a, b, c := holds[0], holds[1], holds[2]; a.checked <= c.checked || context.Cause(b.ctx) != ErrRevoked {
			t.Errorf("got %d for /a, %d for /c, and the cause %v for /b; want more for /a than for /c, and %v",
				a.checked, c.checked, context.Cause(b.ctx), ErrRevoked)
		}
	})
}

// underLeader returns an answer whose zxid has the given epoch of a leader.
func underLeader(epoch int64) reply { return reply{header: wire.ReplyHeader{Zxid: epoch << 32}} }

// A hold ends at once if it begins on an ended session, or while the server of the session is not
// ZooKeeper.
func TestHoldsThatCannotBegin(t *testing.T) {
	k := bareKeeper(t, nil)
	early := k.begin(engine.Node{Path: "/early"})
	k.close(ErrLost)
	late := k.begin(engine.Node{Path: "/late"})
	foreign := bareKeeper(t, nil)
	foreign.connected(deadLine{}, ms(0), terms{id: 1, timeout: 12 * time.Second, foreign: true})
	alien := foreign.begin(engine.Node{Path: "/alien"})
	for h, want := range map[*hold]error{early: ErrLost, late: ErrLost, alien: ErrNotZooKeeper} {
		if _, err := h.keeper.grant(h, ms(1)); err != want || context.Cause(h.ctx) != want {
			t.Errorf("%s: got %v, cause %v; want %v in both",
				h.node.Path, err, context.Cause(h.ctx), want)
		}
	}
	if due := k.look(ms(5000)); due.line != nil || len(k.holds) != 0 {
		t.Errorf("after the end: got %q due and %d holds, want none", due.text(), len(k.holds))
	}
}
