package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each line of leaseRule has the packets and events of a session. A packet has the times S and A,
// in milliseconds, at which it was sent and answered. The number after "=" is the lease's deadline
// at the end of the line. The number after "/" is the lease's field `kept`, if it differs from the
// deadline.
//
// T is 4000 and the tick is 1000. So the margin is 200, a period is 600, and a probation lasts
// 4000. The names a, j and k are those of docs/decisions/0001-lease.md.
//
//	open S A     the handshake of a new session
//	again S A    the handshake of a new connection
//	again S A T  a handshake with another timeout
//	down         the connection ends
//	ping S A     a packet that proves only activity
//	sync S A     a sync
//	write S A    a quorum write by the first leader
//	write2 S A   a quorum write by the second leader
//	suspended    the machine was suspended
const leaseRule = `
# The lease of a new session lasts a timeout less the margin from its ConnectRequest.
open 100 150 = 3900
# Without earlier evidence, a write proves only that the leader had received the handshake.
open 0 10; ping 300 310; write 1100 1110 = 3800
# The write k proves the activity a: a was answered 600 before j was sent, and j before k was sent.
open 0 10; ping 300 400; sync 1000 1010; write 1100 1110 = 4100
open 0 10; ping 300 400; write 1000 1010; write 1100 1110 = 4100
# a was answered less than 600 (epsilon and half a tick) before j was sent, so k does not prove a.
open 0 10; ping 300 401; sync 1000 1010; write 1100 1110 = 3800
open 0 10; ping 300 401; sync 1000 1010; write 1700 1710 = 3800
# The time at which a was answered counts, not that at which it was sent.
open 0 10; ping 300 900; sync 1000 1010; write 1100 1110 = 3800
# j has to be answered when k is sent.
open 0 10; ping 300 400; sync 1000 1101; write 1100 1110 = 3800
open 0 10; ping 300 400; sync 1000 1100; write 1100 1110 = 4100
# A sync moves the time until which the leader keeps the session. A ping moves nothing.
open 0 10; ping 300 400; sync 1000 1010; sync 1100 1110; ping 1200 1210 = 3800/4100
open 0 10; ping 300 400; sync 1000 1010; ping 1100 1110 = 3800
# The latest activity that was answered 600 before j was sent counts.
open 0 10; ping 300 310; ping 500 510; ping 700 710; sync 1200 1210; write 1300 1310 = 4300
# The deadline does not move back.
open 0 10; ping 300 400; sync 1000 1010; write 1100 1110; write 1101 1111 = 4100
# The time until which the leader keeps the session moves only with an answer before that time.
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3799 = 4800
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3800 = 3800
open 0 10; ping 1000 1010; sync 2000 2010; sync 3000 3799 = 3800/4800
open 0 10; ping 1000 1010; sync 2000 2010; sync 3000 3800 = 3800
# After idleness with syncs, the first write gives a lease at once, if it is answered in time.
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; sync 4000 4010 = 3800/5800
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; sync 4000 4010; write 4500 4510 = 6800
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; sync 4000 4010; write 4500 5799 = 6800
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; sync 4000 4010; write 4500 5800 = 3800/5800
# Pings are no evidence, however regular. The first write begins a probation, and the second one
# comes too early to end it.
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5510 5520 = 3800
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5510 5520; write 5530 5540 = 3800
# After a lapse, the lease stands again with a write that is sent 4000 after the answer to the first
# write, if syncs in between and this write are answered in time.
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 6610; sync 7600 7610; sync 8600 8610; write 9609 9620 = 3800
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 6610; sync 7600 7610; sync 8600 8610; write 9610 9620 = 11400
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 8310; sync 8600 8610; write 9610 9620 = 3800
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 6610; sync 7600 8310; sync 8600 8610; write 9610 9620 = 3800
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 6610; sync 7600 7610; sync 8600 8610; write 9610 10399 = 11400
open 0 10; ping 4500 4510; sync 5500 5510; write 5600 5610; sync 6600 6610; sync 7600 7610; sync 8600 8610; write 9610 10400 = 3800
# Bug: a write that was answered at the instant at which it was sent was evidence for itself.
open 0 10; ping 4500 4510; write 5600 5600; sync 6600 6610; sync 7600 7610; sync 8600 8610; write 9610 9620 = 3800
# After a reconnect, only the deadline of the previous connection counts until the first write.
open 0 10; ping 300 310; sync 1000 1010; down; again 1100 1110; write 1200 1210 = 4900
open 0 10; ping 300 310; down; again 1100 1110 = 3800
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3100 3110 = 3800
open 0 10; ping 300 310; sync 1000 1010; down; write 1200 1210 = 3800
open 0 10; ping 300 310; sync 1000 1010; down; sync 1200 1210 = 3800
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; down; write 3100 3110 = 3800/4800
# A write by the same leader restores what the previous connection had proved.
open 0 10; write 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3900 3910; sync 4000 4010 = 3800
open 0 10; write 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3900 3910; write 4000 4010 = 7700
open 0 10; write 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3900 3910; write 4000 4800 = 3800
# Another leader began after the last write of the old leader, and gave the session 4000.
open 0 10; write 100 110; sync 2000 2010; sync 3000 3010; down; again 3850 3860; write2 3870 3899 = 7650
open 0 10; write 100 110; sync 2000 2010; sync 3000 3010; down; again 3850 3860; write2 3870 3900 = 3800
# Connections without a write do not change the carried evidence.
open 0 10; write 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3100 3110; down; again 3900 3910; write 4000 4010 = 7700
# The carried evidence counts once: for the first write on the new connection.
open 0 10; write 100 110; sync 2000 2010; sync 3000 3010; sync 3700 3710; down; again 3900 3910; write2 4000 4010; write 4020 4030 = 3800
# A connection without a write leaves no evidence, because its leader is not known.
open 0 10; sync 1000 1010; sync 2000 2010; sync 3000 3010; down; again 3900 3910; write 4000 4010 = 3800
# After a lapse, the first write on a new connection begins a probation.
open 0 10; down; again 5000 5010; write 5020 5030; write 5530 5540 = 3800
open 0 10; down; again 5000 5010; write 5020 5030; sync 6000 6010; sync 7000 7010; sync 8000 8010; write 9030 9040 = 10800
# Probation does not outlast its connection.
open 0 10; down; again 5000 5010; write 5020 5030; sync 6000 6010; sync 7000 7010; sync 8000 8010; down; again 9000 9010; write 9030 9040 = 3800
# Another session timeout ends the lease. From then on the smallest timeout counts.
open 0 10; down; again 100 110 2000 = 0
open 0 10; down; again 100 110 8000 = 0
open 0 10; write 100 110; down; again 200 210 2000; write 300 310 = 0
open 0 10; down; again 100 110 8000; write 120 130; sync 1000 1010; sync 2000 2010; sync 3000 3010; write 4130 4140 = 5800
# Nothing that was measured before a suspension counts, not even on another connection.
open 0 10; write 1000 1010; sync 2000 2010; suspended; write 2100 2110 = 0
open 0 10; suspended; write 20 30; sync 1000 1010; sync 2000 2010; sync 3000 3010; write 4040 4050 = 0
open 0 10; write 1000 1010; sync 2000 2010; suspended; down; again 2100 2110; write 2200 2210 = 0
open 0 10; write 1000 1010; sync 2000 2010; down; again 2100 2110; suspended; down; again 2300 2310; write 2400 2410 = 0
open 0 10; write 1000 1010; suspended; down; again 2100 2110; write2 2200 2210 = 0
`

// The type `lease` computes the deadlines that the lines of the constant leaseRule contain.
//
// Covers S2.
func TestLeaseRule(t *testing.T) {
	for line := range strings.Lines(leaseRule) {
		line = strings.TrimSpace(line)
		steps, want, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		var l lease
		for step := range strings.SplitSeq(steps, "; ") {
			var kind string
			var sent, answered, timeout int
			if n, _ := fmt.Sscan(step, &kind, &sent, &answered, &timeout); n < 1 {
				t.Fatalf("invalid step in the line %q: %q", line, step)
			}
			if timeout == 0 {
				timeout = 4000
			}
			l.do(kind, ms(sent), ms(answered), time.Duration(timeout)*time.Millisecond)
		}
		got := since0(l.deadline)
		if !l.kept.Equal(l.deadline) {
			got += "/" + since0(l.kept)
		}
		if got != want {
			t.Errorf("%s\n\tgot %s, want %s", line, got, want)
		}
	}
}

// since0 returns t in milliseconds as in the table, and 0 for the zero time.
func since0(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return fmt.Sprint(t.Sub(ms(0)).Milliseconds())
}

func ms(n int) time.Time { return time.Unix(1000, 0).Add(time.Duration(n) * time.Millisecond) }

// The method `do` reports one packet or event to l in the way that the session does.
func (l *lease) do(kind string, sent, answered time.Time, timeout time.Duration) {
	switch kind {
	case "open":
		l.restart(sent, timeout, time.Second, true)
	case "again":
		l.restart(sent, timeout, time.Second, false)
	case "down":
		l.disconnect()
	case "ping":
		l.activity(sent, answered)
	case "sync":
		l.activity(sent, answered)
		l.reached(sent, answered)
	case "suspended":
		l.suspended()
	case "write", "write2":
		l.activity(sent, answered)
		l.write(sent, answered, int64(len(kind))) // the two kinds have different epochs
	}
}

// A client that follows the method `renew` sends few writes, and its lease always has enough time
// left.
func TestLeaseIsKeptWithFewWrites(t *testing.T) {
	for _, test := range []struct {
		tick, roundTrip time.Duration // for T = 12 s
		most            float64       // writes in a session timeout
		least           time.Duration // shortest time that the lease has left at any instant
	}{
		{6 * time.Second, time.Millisecond, 6.1, 3 * time.Second},
		{2 * time.Second, time.Millisecond, 4.1, 3 * time.Second},
		{6 * time.Second, 300 * time.Millisecond, 6.1, 3 * time.Second},
	} {
		const T = 12 * time.Second
		var l lease
		start := ms(0)
		l.restart(start, T, test.tick, true)
		writes, least := 0, T
		var replies []func()
		due := []time.Time{}
		ping := start
		beating := false
		for now := start; now.Sub(start) < 50*T; now = now.Add(2 * time.Millisecond) {
			for len(due) > 0 && !now.Before(due[0]) {
				replies[0]()
				replies, due = replies[1:], due[1:]
			}
			sent := now
			if !now.Before(ping) {
				ping = now.Add(T / 12)
				replies = append(replies, func() { l.do("ping", sent, sent.Add(test.roundTrip), 0) })
				due = append(due, now.Add(test.roundTrip))
			}
			if !beating && !now.Before(first(l.renew(now, true))) {
				beating = true
				writes++
				replies = append(replies, func() { l.do("write", sent, sent.Add(test.roundTrip), 0); beating = false })
				due = append(due, now.Add(test.roundTrip))
			}
			least = min(least, l.deadline.Sub(now))
		}
		rate := float64(writes) / 50
		t.Logf("tick %v, round trip %v: %.2f writes a timeout, the lease stands for at least %v", test.tick, test.roundTrip, rate, least)
		if rate > test.most || least < test.least {
			t.Errorf("tick %v, round trip %v: got %.2f writes in a timeout and a lease of %v, want at most %v and at least %v",
				test.tick, test.roundTrip, rate, least, test.most, test.least)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// After a heartbeat, the next heartbeat is due only after a pause, even if the deadline is near and
// the answer to the first heartbeat did not move the deadline. A heartbeat moves the deadline if
// its answer proves that the leader had received a recent activity. In this test, as after a stall,
// there was no recent activity before the heartbeats, so they do not move the deadline.
func TestHeartbeatsNearTheDeadlineAreSpaced(t *testing.T) {
	var l lease
	l.do("open", ms(0), ms(10), 4*time.Second)
	for now := 3500; now < 3790; now += 10 {
		l.do("write", ms(now), ms(now), 0)
		if due, _ := l.renew(ms(now), true); due.Sub(ms(now)) < 4*time.Second/spacing {
			t.Fatalf("at %d ms: the next heartbeat is due %v later, want a pause of at least 4 s/spacing", now, due.Sub(ms(now)))
		}
	}
}

// When a new connection begins, the lease drops its marks (see the type `mark`), because they are
// useless. Keeping the marks would not be dangerous: in this test, a lease that keeps its marks
// never stands longer than a lease that drops them. The reason is that the marks of the old
// connection can prove only that the leader has received an activity that was sent before the new
// handshake. The handshake itself proves more, because it is later and the leader has received it
// too.
func TestKeptMarksMakeNoLeaseLonger(t *testing.T) {
	const T, runs, packets = 4 * time.Second, 2000, 60
	kinds := strings.Fields("ping ping ping sync sync write write2 again")
	reconnects, shorter := 0, 0
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 0))
		var dropped, keeping lease
		now := ms(0)
		for _, l := range []*lease{&dropped, &keeping} {
			l.do("open", now, now, T)
		}
		for range packets {
			sent := now.Add(time.Duration(r.Int64N(int64(T) / 8)))
			now = sent.Add(time.Duration(r.Int64N(int64(T) / 16)))
			kind := kinds[r.IntN(len(kinds))]
			marks := slices.Clone(keeping.marks)
			dropped.do(kind, sent, now, T)
			keeping.do(kind, sent, now, T)
			if kind == "again" && len(marks) > 0 {
				keeping.marks = marks
				reconnects++
			}
			if keeping.deadline.After(dropped.deadline) || keeping.kept.After(dropped.kept) {
				t.Fatalf("seed %d: with the marks the lease stands until %v (kept until %v), without until %v (%v)",
					seed, since0(keeping.deadline), since0(keeping.kept), since0(dropped.deadline), since0(dropped.kept))
			}
			if keeping.deadline.Before(dropped.deadline) {
				shorter++
			}
		}
	}
	if reconnects == 0 || shorter == 0 {
		t.Errorf("the marks were kept %d times, and made %d leases shorter, want both", reconnects, shorter)
	}
	t.Logf("the marks were kept %d times; %d times the lease was shorter with them", reconnects, shorter)
}

// Whatever packets are reported, in whatever order, the lease never ends later than a timeout after
// the latest packet was sent. The lease also forgets old packets.
func FuzzLease(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Add(uint64(2), uint16(5000))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		T := time.Duration(1+r.IntN(60_000)) * time.Millisecond
		var l lease
		now := ms(0)
		l.restart(now, T, T/2, true)
		latest := now
		kinds := strings.Fields("ping ping sync write write2 down again")
		for range n {
			now = now.Add(time.Duration(r.Int64N(int64(T)/4 + 1)))
			sent := now.Add(-time.Duration(r.Int64N(int64(T)/2 + 1)))
			if sent.After(latest) {
				latest = sent
			}
			before := l.deadline
			l.do(kinds[r.IntN(len(kinds))], sent, now, T)
			if l.kept.Before(l.deadline) {
				t.Fatalf("kept is %v before the deadline of the lease, want it not before", l.deadline.Sub(l.kept))
			}
			if l.deadline.Before(before) {
				t.Fatalf("the deadline moved back by %v, want it never to move back", before.Sub(l.deadline))
			}
			if l.kept.After(latest.Add(T - l.margin())) {
				t.Fatalf("the lease stands for %v after the latest packet, want at most T less the margin", l.kept.Sub(latest))
			}
			if l.deadline.After(before) && !l.deadline.After(now) {
				t.Fatalf("the deadline moved to a time %v ago, want none or a later time", now.Sub(l.deadline))
			}
			if due, write := l.renew(now, true); l.stands(now) && (due.After(l.deadline) || !write) {
				t.Fatalf("the next renewal is due %v after the deadline, a write %v; want at most 0s, true",
					due.Sub(l.deadline), write)
			}
			if len(l.marks) > 4*slots {
				t.Fatalf("got %d marks, want at most %d", len(l.marks), 4*slots)
			}
		}
	})
}
