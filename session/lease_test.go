package session

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Each line is what a client does on a server with T = 4000 and a tick of 1000,
// in milliseconds: the kind of a packet, when it was sent and answered; after
// = the deadline that follows. With these, the margin is 200, a PING comes
// within 600, silence is assumed for 1000 at most and probation lasts 500.
//
//	open S A     the handshake of a new session
//	again S A    the handshake of a new connection
//	again S A T  one with another timeout
//	down         the connection goes
//	refused S A  a quorum write that was answered but not applied
const leaseRule = `
# A new session lives for a timeout from its ConnectRequest.
open 100 150 = 3900
# A write with no evidence before it knows of the handshake only.
open 0 10; ping 300 310; write 1100 1110 = 3800
# k, with j answered before it and a answered 600 before j.
open 0 10; ping 300 400; sync 1000 1010; write 1100 1110 = 4100
open 0 10; ping 300 400; write 1000 1010; write 1100 1110 = 4100
# a was answered less than 600 before j was sent: e and half a tick are both needed.
open 0 10; ping 300 401; sync 1000 1010; write 1100 1110 = 3800
open 0 10; ping 300 401; sync 1000 1010; write 1700 1710 = 3800
# The time at which a was answered counts, not that at which it was sent.
open 0 10; ping 300 900; sync 1000 1010; write 1100 1110 = 3800
# j has to be answered when k is sent.
open 0 10; ping 300 400; sync 1000 1101; write 1100 1110 = 3800
open 0 10; ping 300 400; sync 1000 1100; write 1100 1110 = 4100
# A sync moves nothing by itself, nor does a ping, nor a write that was refused.
open 0 10; ping 300 400; sync 1000 1010; sync 1100 1110; ping 1200 1210 = 3800
open 0 10; ping 300 400; sync 1000 1010; refused 1100 1110 = 3800
# The latest a that will do.
open 0 10; ping 300 310; ping 500 510; ping 700 710; sync 1200 1210; write 1300 1310 = 4300
# The deadline never moves back.
open 0 10; ping 300 400; sync 1000 1010; write 1100 1110; write 1101 1111 = 4100
# The lease moves only while it stands: until the instant of the deadline.
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3799 = 4800
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3800 = 3800
# After a lapse a second write is needed, 500 after the answer to the first.
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3850; write 4349 4360 = 3800
open 0 10; ping 1000 1010; sync 2000 2010; write 3000 3850; write 4350 4360 = 5800
# What the second write shows counts as well, once the first has proven right.
open 0 10; ping 1000 1010; sync 2000 2010; ping 2500 2510; write 3000 3850; write 4350 4360; write 4400 4410 = 6300
# A refused write shows a lapse too: what follows is no first write after idleness.
open 0 10; ping 1000 1010; ping 2300 2310; refused 3000 3850; write 3900 3910 = 3800
# Nor is one that was held up. The first one after idleness that is answered within 500 was not, though the lease ends meanwhile.
open 0 10; ping 1300 1310; ping 2600 2610; write 3790 4290 = 3800
open 0 10; ping 1300 1310; ping 2600 2610; write 3790 4289 = 5100
open 0 10; ping 1300 1310; write 1790 1800; ping 2600 2610; write 3790 3810 = 5590
open 0 10; ping 1300 1310; write 1791 1801; ping 2600 2610; write 3790 3810 = 3800
# After idleness: 1600 take the place of j, and activity must not have paused for 2400.
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5300 5310 = 6400
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5510 5520 = 7700
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5509 5520 = 6400
open 0 10; ping 1300 1310; ping 2600 3700; ping 3900 3910; write 5510 5520 = 3800
# A pause before k itself is one, and so is one long ago.
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 6300 6310 = 3800
open 0 10; ping 2400 2410; ping 3600 3610; ping 4800 4810; write 6500 6510 = 3800
# The write after it replaces the assumption.
open 0 10; ping 1300 1310; ping 2600 2610; ping 3900 3910; write 5510 5520; write 5600 5610 = 7700
# On a new connection nothing of the last one counts but the deadline.
open 0 10; ping 300 310; sync 1000 1010; down; again 1100 1110; write 1200 1210 = 4900
open 0 10; ping 300 310; down; again 1100 1110 = 3800
open 0 10; ping 1300 1310; ping 2600 2610; again 2700 2710; ping 3900 3910; ping 5000 5010; write 6000 6010 = 3800
open 0 10; ping 300 310; sync 1000 1010; down; write 1200 1210 = 3800
# After a lapse on a new connection: the handshake, and a second write.
open 0 10; down; again 5000 5010; write 5020 5030; write 5100 5110 = 3800
open 0 10; down; again 5000 5010; write 5020 5030; write 5530 5540 = 8800
# Probation does not outlast its connection.
open 0 10; down; again 5000 5010; write 5020 5030; down; again 5400 5410; write 5530 5540 = 3800
# Another timeout ends the lease, and the smallest is the one that counts.
open 0 10; down; again 100 110 2000 = 0
open 0 10; down; again 100 110 8000 = 0
open 0 10; down; again 100 110 8000; write 120 130; write 650 660 = 3900
`

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
				t.Fatalf("%q: %q", line, step)
			}
			if timeout == 0 {
				timeout = 4000
			}
			l.do(kind, ms(sent), ms(answered), time.Duration(timeout)*time.Millisecond)
		}
		got := l.deadline.Sub(ms(0)).Milliseconds()
		if l.deadline.IsZero() {
			got = 0
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s\n\tgot %d", line, got)
		}
	}
}

func ms(n int) time.Time { return time.Unix(1000, 0).Add(time.Duration(n) * time.Millisecond) }

// do tells l of one packet as the session does.
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
	case "refused":
		l.activity(sent, answered)
		l.attempt(sent, answered)
	case "write":
		l.activity(sent, answered)
		l.attempt(sent, answered)
		l.reached(sent, answered)
		l.write(sent, answered)
	}
}

// The cost of keeping a lease: what a client that renews when it is told to
// needs, and how far off the deadline stays.
func TestLeaseIsKeptWithFewWrites(t *testing.T) {
	for _, test := range []struct {
		tick, roundTrip time.Duration // of T = 12 s
		most            float64       // writes to a timeout
		least           time.Duration // that the lease stands for at any time
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
			if !beating && !now.Before(l.renewAt(now)) {
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
			t.Errorf("want at most %v and at least %v", test.most, test.least)
		}
	}
}

// After a stall writes may be answered and prove nothing recent. They must not
// follow each other without a pause.
func TestHeartbeatsNearTheDeadlineAreSpaced(t *testing.T) {
	var l lease
	l.do("open", ms(0), ms(10), 4*time.Second)
	for now := 3500; now < 3790; now += 10 {
		l.do("write", ms(now), ms(now), 0)
		if due := l.renewAt(ms(now)); due.Sub(ms(now)) < 4*time.Second/spacing {
			t.Fatalf("at %d ms the next is due %v later", now, due.Sub(ms(now)))
		}
	}
}

// Whatever it is told of, in whatever order, the lease never claims more than
// a timeout from the latest packet, and forgets what is old.
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
		kinds := strings.Fields("ping ping sync write refused down again")
		for range n {
			now = now.Add(time.Duration(r.Int64N(int64(T)/4 + 1)))
			sent := now.Add(-time.Duration(r.Int64N(int64(T)/2 + 1)))
			if sent.After(latest) {
				latest = sent
			}
			before := l.deadline
			l.do(kinds[r.IntN(len(kinds))], sent, now, T)
			if l.deadline.Before(before) {
				t.Fatalf("moved back by %v", before.Sub(l.deadline))
			}
			if l.deadline.After(latest.Add(T - l.margin())) {
				t.Fatalf("stands for %v after the latest packet", l.deadline.Sub(latest))
			}
			if l.deadline.After(before) && !l.deadline.After(now) {
				t.Fatalf("moved to a time that has passed")
			}
			if due := l.renewAt(now); l.stands(now) && due.After(l.deadline) {
				t.Fatalf("to be renewed after the deadline")
			}
			if len(l.marks) > 4*slots {
				t.Fatalf("%d marks", len(l.marks))
			}
		}
	})
}
