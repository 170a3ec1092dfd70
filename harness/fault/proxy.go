package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/netfault"
)

// claimOnline waits for a client that has a connection, and claims it. After 2 s (patience) it
// claims any client. A client whose session was lost reconnects only when its program notices, so
// waiting longer may be useless.
func (s *standing) claimOnline(ctx context.Context, env *harness.Env, target string) (*harness.Client, func(), error) {
	began := time.Now()
	return s.await(ctx, env, target, func(c *harness.Client) bool {
		return len(c.Proxy().Connected()) > 0 || time.Since(began) > patience
	})
}

// drawClient draws a client's name.
func drawClient(r *rand.Rand, env *harness.Env) string {
	return fmt.Sprintf("c%d", r.IntN(len(env.Clients())))
}

// The function `number` returns the number in a client's name, or 0 for any other name.
func number(client string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(client, "c"))
	return max(n, 0)
}

// proxyFaults returns the faults of a client's proxy that do not necessarily end the session. They
// stall the proxy for less than the session timeout, reset its connections, or delay its data.
func proxyFaults(s *standing, timeout time.Duration) []harness.Fault {
	one := func(name, does string, low, high time.Duration, arg func(*rand.Rand) string, breakIt func(*netfault.Proxy, harness.Step) (heal func(), evidence func() string, err error)) harness.Fault {
		return fault{name: name, does: does,
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				step := harness.Step{Target: drawClient(r, env), For: between(r, low, high)}
				if arg != nil {
					step.Arg = arg(r)
				}
				return step
			},
			inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
				c, free, err := s.claimOnline(ctx, env, step.Target)
				if err != nil {
					return harness.Injected{}, err
				}
				heal, evidence, err := breakIt(c.Proxy(), step)
				if err != nil {
					free()
					return harness.Injected{}, err
				}
				return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Heal: func(context.Context) (string, error) {
					defer free()
					heal()
					return evidence(), nil
				}}, nil
			}}
	}
	return []harness.Fault{
		one("link-stall", "a client's proxy stalls for less than its session timeout, and heals on the same connection", timeout/20, timeout/2, nil, func(l *netfault.Proxy, _ harness.Step) (func(), func() string, error) {
			heal, evidence := Stall(l)
			return heal, evidence, nil
		}),
		one("link-one-way", "the same in one direction", timeout/20, timeout/2, func(r *rand.Rand) string { return [...]string{"up", "down"}[r.IntN(2)] },
			func(l *netfault.Proxy, step harness.Step) (func(), func() string, error) {
				way, known := map[string]netfault.Direction{"up": netfault.Up, "down": netfault.Down}[step.Arg]
				if !known {
					return nil, nil, fmt.Errorf("argument %q: must be \"up\" (to the servers) or \"down\"", step.Arg)
				}
				heal, evidence := Stall(l, way)
				return heal, evidence, nil
			}),
		one("link-reset", "a client's connections are reset", 0, 0, nil, func(l *netfault.Proxy, _ harness.Step) (func(), func() string, error) {
			n := l.Reset()
			for began := time.Now(); n == 0 && time.Since(began) < patience; n = l.Reset() {
				time.Sleep(20 * time.Millisecond) // the client has just disconnected and will reconnect
			}
			return func() {}, func() string { return count(int64(n), "connections reset") }, nil
		}),
		one("link-cut", "a client's connection is reset while it sends a request or before it receives the reply", timeout, 5*timeout/2, drawCut, cutAtRequest(timeout/2)),
		one("link-delay", "a client's requests and replies are delayed", timeout/4, 2*timeout, func(r *rand.Rand) string { return between(r, timeout/100, timeout/10).String() },
			func(l *netfault.Proxy, step harness.Step) (func(), func() string, error) {
				d, err := time.ParseDuration(step.Arg)
				if err != nil || d <= 0 {
					return nil, nil, fmt.Errorf("argument %q: must be a duration above zero, such as 20ms", step.Arg)
				}
				before := l.Stats().Delayed
				up, down := l.Delay(d, d)
				return func() { l.Delay(up, down) }, func() string { return count(l.Stats().Delayed-before, "chunks delayed") }, nil
			}),
	}
}

// cutOps maps the first word of the Arg of a link-cut, such as "create 2 reply", to the operation
// whose request or reply the client loses. The loss matters most for operations that change
// something.
var cutOps = map[string]netfault.Op{"any": netfault.OpAny, "create": netfault.OpCreate, "multi": netfault.OpMulti}

// cutMoments maps the last word of the Arg of a link-cut to the moment of the cut.
var cutMoments = map[string]netfault.When{"request": netfault.BeforeSending, "reply": netfault.BeforeReply}

// drawCut draws the request or the reply at which the connection is cut. For example, "create 2
// reply" means the reply to the second create.
func drawCut(r *rand.Rand) string {
	op := [...]string{"any", "create", "multi"}[r.IntN(3)]
	when := [...]string{"request", "reply", "reply"}[r.IntN(3)]
	return fmt.Sprintf("%s %d %s", op, 1+r.IntN(3), when)
}

// cutAtRequest waits for the drawn request. It is possible that a client never sends that request.
// For example, a blocked client sends no request except pings. So in the last part of the fault's
// time, the connection is cut at the first request of any kind. That part is longer than the
// interval between two pings, which is a third of the session timeout.
func cutAtRequest(last time.Duration) func(*netfault.Proxy, harness.Step) (heal func(), evidence func() string, err error) {
	return func(l *netfault.Proxy, step harness.Step) (heal func(), evidence func() string, err error) {
		request, err := cutArg(step.Arg)
		if err != nil {
			return nil, nil, err
		}
		trap := l.Set(request, netfault.Reset)
		patience := time.AfterFunc(step.For-last, func() { l.Widen(trap) })
		sprung := false
		heal = func() {
			patience.Stop()
			sprung = !l.Remove(trap)
		}
		return heal, func() string {
			if !sprung {
				return ""
			}
			<-trap.Sprung() // The trap sprang before it was removed, so its action ends soon.
			return trap.String()
		}, nil
	}
}

// cutArg parses the Arg of a step: see drawCut.
func cutArg(arg string) (netfault.Request, error) {
	var op, when string
	var n int
	_, err := fmt.Sscan(arg, &op, &n, &when)
	kind, isOp := cutOps[op]
	moment, isMoment := cutMoments[when]
	if err != nil || len(strings.Fields(arg)) != 3 || !isOp || !isMoment || n < 1 {
		return netfault.Request{}, fmt.Errorf("argument %q: must be an operation (any, create, multi), "+
			"a number from 1 on, and \"request\" or \"reply\", such as \"create 2 reply\"", arg)
	}
	return netfault.Request{Op: kind, N: n, When: moment}, nil
}

// Stall stalls a proxy. The evidence counts the chunks that had to wait.
func Stall(l *netfault.Proxy, which ...netfault.Direction) (heal func(), evidence func() string) {
	before := l.Stats().Stalled
	l.Stall(which...)
	return func() { l.Resume(which...) }, func() string { return count(l.Stats().Stalled-before, "chunks stalled") }
}

// The function `count` formats evidence. It returns "" if n is not positive.
func count(n int64, what string) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}
