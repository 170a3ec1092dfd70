package guard

import (
	"testing"
	"time"
)

// Each case has the action of a plan at one time. The grace time is 1 s, the margin is 200 ms, and
// the lease ends at 10 s.
func TestPlan(t *testing.T) {
	ms := func(n int) instant { return instant(time.Duration(n) * time.Millisecond) }
	for _, c := range []struct {
		name    string
		before  func(p *plan)
		at      int // ms
		do      action
		next    int
		lapsing bool
	}{
		{name: "the lease stands", at: 5000, do: leave, next: 8800},
		{name: "just before the warning", at: 8799, do: leave, next: 8800},
		{name: "the grace time is left", at: 8800, do: terminate, next: 9800, lapsing: true},
		{name: "the grace time is over", at: 9800, do: kill, next: 9800, lapsing: true},
		{name: "asleep until after the end", at: 60000, do: kill, next: 60000, lapsing: true},
		{name: "renewed", before: func(p *plan) { p.renew(ms(14000)) }, at: 9900, do: leave, next: 12800},
		{name: "an older deadline", before: func(p *plan) { p.renew(ms(3000)) }, at: 5000, do: leave, next: 8800},
		{name: "renewed after the warning", before: func(p *plan) { p.due(ms(8800)); p.renew(ms(14000)) },
			at: 9700, do: terminate, next: 9800, lapsing: true},
		{name: "renewed after the warning, and not ended", before: func(p *plan) { p.due(ms(8800)); p.renew(ms(14000)) },
			at: 9800, do: kill, next: 9800, lapsing: true},
		{name: "stopped", before: func(p *plan) { p.stop(ms(5000)) }, at: 5000, do: terminate, next: 6000},
		{name: "stopped twice", before: func(p *plan) { p.stop(ms(5000)); p.stop(ms(5900)) }, at: 6000, do: kill, next: 6000},
		{name: "stopped near the end", before: func(p *plan) { p.stop(ms(8700)) }, at: 8900, do: terminate, next: 9700},
		{name: "stopped when little is left", before: func(p *plan) { p.deadline = ms(6000); p.stop(ms(5000)) },
			at: 5800, do: kill, next: 5800},
		{name: "killed", before: func(p *plan) { p.killing = true; p.stop(ms(5000)) }, at: 5000, do: kill, next: 5000},
	} {
		p := plan{grace: time.Second, margin: 200 * time.Millisecond, deadline: ms(10000)}
		if c.before != nil {
			c.before(&p)
		}
		do, next := p.due(ms(c.at))
		if do != c.do || next != ms(c.next) || p.lapsing != c.lapsing {
			t.Errorf("%s: got action %d, next at %v, lapsing %v; want %d, %d ms, %v",
				c.name, do, time.Duration(next), p.lapsing, c.do, c.next, c.lapsing)
		}
	}
}
