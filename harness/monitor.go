package harness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
)

const (
	// stallWorth is the shortest delay of a timer that the run records as a stall. Shorter delays
	// are normal on a busy machine. lagWorth is the shortest delay that the run records as a lag.
	stallWorth = 100 * time.Millisecond
	lagWorth   = time.Millisecond
)

// The method `monitor` records stalls of this process and reports progress. If the run is stored,
// it also records the roles of servers. All this ends when the function `stop` is called.
//
// A stall is a pause of all clients at the same time, because the machine was busy or suspended, or
// because the garbage collector ran. Some guarantees do not hold while a client is paused, so
// checkers need the stalls.
func (r *run) monitor(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { r.env.recordStalls(ctx) })
	if r.options.Store != nil {
		group.Go(func() { r.env.recordRoles(ctx) })
	}
	if r.options.Progress != nil {
		group.Go(func() { r.progress(ctx) })
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// recordStalls records stalls and lags. A lag is the delay that a busy machine adds to every timer
// and goroutine: those of the program under test and those that record its history.
func (e *Env) recordStalls(ctx context.Context) {
	ticker := time.NewTicker(history.LagTick)
	defer ticker.Stop()
	meter := lagMeter{last: time.Now(), begun: time.Now()}
	fact := func(op string, late time.Duration, detail string) {
		if late > 0 {
			e.Fact(op, "process", late.String(), detail)
		}
	}
	lag := func(now time.Time) {
		covers := now.Sub(meter.begun)
		most, sum := meter.lag(now)
		fact(history.FactLag, most, covers.String()+" "+sum.String())
	}
	for {
		select {
		case <-ctx.Done():
			lag(time.Now())
			return
		case <-ticker.C:
			now := time.Now()
			fact(history.FactStall, meter.tick(now), "")
			if now.Sub(meter.begun) >= history.LagTime {
				lag(now)
			}
		}
	}
}

// A lagMeter measures how late the ticks of a timer are.
type lagMeter struct {
	last, begun time.Time     // the last tick; the last call of the method `lag`, or the start
	most, sum   time.Duration // the longest delay since begun; the sum of all delays since begun
}

// The method `tick` notes a tick. If the tick is so late that it is a stall, the method returns the
// delay, and the delay does not count as lag.
func (m *lagMeter) tick(now time.Time) (stall time.Duration) {
	late := now.Sub(m.last) - history.LagTick
	m.last = now
	if late >= stallWorth {
		return late
	}
	m.most, m.sum = max(m.most, late), m.sum+max(0, late)
	return 0
}

// The method `lag` returns the longest delay of a tick since the last call of `lag`, and the sum of
// all these delays. If the next tick is already overdue, both results include the delay of that
// tick so far. If the longest delay is below lagWorth, both results are zero.
func (m *lagMeter) lag(now time.Time) (most, sum time.Duration) {
	overdue := max(0, now.Sub(m.last)-history.LagTick)
	most, sum = max(m.most, overdue), m.sum+overdue
	m.begun, m.most, m.sum = now, 0, 0
	if most < lagWorth {
		return 0, 0
	}
	return most, sum
}

// roleTick is the interval at which the roles of servers are queried.
const roleTick = 250 * time.Millisecond

// recordRoles records the role of each server whenever it changes.
func (e *Env) recordRoles(ctx context.Context) {
	ticker := time.NewTicker(roleTick)
	defer ticker.Stop()
	roles := make([]string, len(e.Servers()))
	for {
		bounded, cancel := context.WithTimeout(ctx, 2*roleTick)
		all := ensemble.Survey(bounded, e.Dial, e.Servers(), func(int) bool { return true })
		cancel()
		for node, s := range all {
			if role := roleOf(s); ctx.Err() == nil && role != roles[node] {
				roles[node] = role
				e.rec.Record(history.Event{Kind: history.Fact, Op: history.FactRole, Object: e.Servers()[node],
					Node: fmt.Sprintf("n%d", node), Result: role, Client: history.Nobody, Process: history.Nobody})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// roleOf returns the role of a server. The role is the mode of the server if it serves, "looking"
// if it answers without a quorum, RoleSilent if it does not answer, and "down" if it cannot be
// reached.
func roleOf(s ensemble.Status) string {
	switch {
	case s.Serves():
		return s.Mode
	case strings.Contains(s.Mode, "not currently serving"):
		return "looking"
	case strings.Contains(s.Mode, context.DeadlineExceeded.Error()):
		return history.RoleSilent
	}
	return "down"
}

func (r *run) progress(ctx context.Context) {
	start := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var early early
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			early.look(ctx, r)
			s := r.env.status(time.Since(start), r.options.Time)
			s.Violations = early.violations
			r.options.Progress(s)
		}
	}
}

// The type `early` checks for violations during the run. An incomplete history can prove a
// violation but nothing else. If a check took the time t, no check begins within 20 t after the end
// of that check. So the checks hardly affect the run.
type early struct {
	next       time.Time
	violations int
}

func (e *early) look(ctx context.Context, r *run) {
	begun := time.Now()
	if begun.Before(e.next) {
		return
	}
	e.violations = 0
	for _, one := range checker.Run(ctx, r.env.rec.History(), r.scenario.Checkers...) {
		e.violations += one.Violations
	}
	now := time.Now()
	e.next = now.Add(20 * now.Sub(begun))
}

func (e *Env) status(elapsed, length time.Duration) Status {
	n, at := e.rec.Count, e.rec.Progress()
	s := Status{
		Phase: at.Phase, Elapsed: elapsed,
		Operations: n(history.Invoke), OK: n(history.OK), Fail: n(history.Fail), Info: n(history.Info),
		Faults: at.Started, Standing: max(0, at.Started-at.Stopped), Holds: at.Holds, Lost: at.Lost,
	}
	if s.Phase == history.PhaseWork {
		s.Left = max(0, length-elapsed)
	}
	return s
}
