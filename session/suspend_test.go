package session

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// A session notices a suspension of the machine by a clock that continues during the suspension.
// After the suspension, the session's grants end within a twelfth of the session timeout, although
// the old lease would stand longer. The session's waiters continue, and are granted under a new
// lease that does not depend on times before the suspension.
//
// Covers S2.
func TestASuspendedMachineEndsItsHolds(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var slept atomic.Int64
		opts := on(e)
		opts.slept = func() time.Duration { return time.Duration(slept.Load()) }
		lines := logged(&opts, slog.LevelWarn)
		s := open(t, opts)
		defer s.Close()
		holds := holding(t, s, 3)
		must(t, holds[0].Grant(t.Context()))
		must(t, holds[1].Grant(t.Context()))
		time.Sleep(time.Minute)

		slept.Add(int64(s.Timeout() / 50)) // less than a fortieth of the timeout, which is tolerated
		time.Sleep(s.Timeout() / 2)
		if err := holds[0].Context().Err(); err != nil {
			t.Errorf("the hold ended without a suspension: %v", err)
		}

		slept.Add(int64(time.Minute))
		start := time.Now()
		for _, h := range holds[:2] {
			if err := cause(t, h.Context(), s.Timeout()/12+time.Millisecond); !errors.Is(err, ErrLeaseLapsed) || !strings.Contains(err.Error(), "suspended for 1m0") {
				t.Errorf("the hold ended with %v, want %v because of a suspension of 1 minute", err, ErrLeaseLapsed)
			}
		}
		if n := count(lines(), "suspended"); n != 1 {
			t.Errorf("the suspension was logged %d times, want once", n)
		}
		must(t, holds[2].Grant(t.Context()))
		if d := time.Since(start); d < s.Timeout() || d > 3*s.Timeout()/2 { // after a probation
			t.Errorf("granted again after %v, want 1 to 1.5 session timeouts", d)
		}
		time.Sleep(10 * s.Timeout())
		if err := holds[2].Context().Err(); err != nil {
			t.Errorf("the hold ended: %v, want it to be held", err)
		}
	})
}

// After a suspension, nothing is granted on a lease from before the suspension, not even before the
// keeper's next check. A suspension ends a hold even while no server is reachable.
func TestNothingIsGrantedOnALeaseFromBeforeASuspension(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var slept atomic.Int64
		opts := on(e)
		opts.slept = func() time.Duration { return time.Duration(slept.Load()) }
		s := open(t, opts)
		defer s.Close()
		h := holding(t, s, 1)[0]
		h.Expect()
		time.Sleep(time.Minute)
		if wait, err := s.keeper.grant(h, time.Now()); wait != nil || err != nil {
			t.Fatalf("Grant before the suspension: got a wait %v, error %v; want false, nil",
				wait != nil, err)
		}
		h = holding(t, s, 1)[0]
		slept.Add(int64(time.Minute))
		if wait, _ := s.keeper.grant(h, time.Now()); wait == nil {
			t.Error("granted on a lease from before the suspension, want a wait")
		}
		must(t, h.Grant(t.Context()))
		for i := range e.Servers() {
			e.Kill(i)
		}
		synctest.Wait()
		slept.Add(int64(time.Minute))
		if err := cause(t, h.Context(), s.Timeout()/12+time.Millisecond); !errors.Is(err, ErrLeaseLapsed) {
			t.Errorf("without a server: the hold ended with %v, want %v", err, ErrLeaseLapsed)
		}
	})
}

// A wall clock that is adjusted slightly or set back does not look like a suspension. A wall clock
// that is set forward does.
func TestSteppingClock(t *testing.T) {
	var c steppingClock
	wall, mono := time.Unix(1000, 0), time.Unix(5000, 0)
	for _, step := range []struct{ wall, mono, want time.Duration }{
		{0, 0, 0},
		{time.Second, time.Second, 0},
		{time.Hour + time.Second, time.Hour, 0}, // adjusted by some hundred ppm
		{time.Minute, time.Second, 59 * time.Second},
		{-time.Hour, time.Second, 59 * time.Second}, // set back
		{time.Second, time.Second, 59 * time.Second},
		{11 * time.Second, time.Second, 69 * time.Second},
	} {
		wall, mono = wall.Add(step.wall), mono.Add(step.mono)
		if got := c.at(wall, mono); got != step.want {
			t.Errorf("step of wall clock %v and monotonic clock %v: got %v, want %v",
				step.wall, step.mono, got, step.want)
		}
	}
}

// The counter that newSleepCounter returns does not advance while the machine is awake.
func TestSleepCounterStandsStill(t *testing.T) {
	slept := newSleepCounter()
	first := slept()
	for range 1000 {
		if d := slept() - first; d > 10*time.Millisecond || d < -10*time.Millisecond {
			t.Fatalf("the counter advanced by %v while the machine was awake, want at most 10 ms", d)
		}
	}
}
