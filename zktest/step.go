package zktest

import (
	"math/rand/v2"
	"slices"
	"time"

	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A stepper holds back all messages and delivers one at a time, in an order
// drawn from the seed.
type stepper struct {
	e        *Ensemble
	rand     *rand.Rand
	gates    []*gate // of open connections, in the order of their ids
	activity chan struct{}
}

// A gate holds the messages of one connection, in both directions. A nil frame
// marks the end of a direction.
type gate struct {
	c       *conn
	in, out [][]byte
}

func newStepper(e *Ensemble, r *rand.Rand) *stepper {
	return &stepper{e: e, rand: rand.New(rand.NewPCG(r.Uint64(), r.Uint64())), activity: make(chan struct{}, 1)}
}

func (s *stepper) newGate(c *conn) *gate { return &gate{c: c} }
func (s *stepper) add(g *gate)           { s.gates = append(s.gates, g) }

func (g *gate) fromClient(frame []byte) { g.in = append(g.in, frame) }

// Send implements quorum.Sink.
func (g *gate) Send(frame []byte) { g.out = append(g.out, append([]byte{}, frame...)) }

// Close implements quorum.Sink.
func (g *gate) Close() { g.out = append(g.out, nil) }

// releaseAll delivers the remaining messages to clients when the ensemble
// closes.
func (s *stepper) releaseAll() {
	for _, g := range s.gates {
		for len(g.out) > 0 {
			g.deliver()
		}
	}
	s.gates = nil
}

// deliver delivers the first message for the client.
func (g *gate) deliver() {
	frame := g.out[0]
	g.out = g.out[1:]
	if frame == nil {
		g.c.end()
		return
	}
	g.c.Send(frame)
}

// accept delivers the first message for the server.
func (g *gate) accept() {
	frame := g.in[0]
	g.in = g.in[1:]
	if frame == nil {
		g.c.q.Hangup()
		g.c.end()
		g.out = nil
		return
	}
	g.c.q.Receive(frame)
}

// The method `step` delivers one message, if there is one, and reports whether it did so.
func (s *stepper) step() bool {
	var choices []func()
	for _, g := range s.gates {
		if len(g.in) > 0 {
			choices = append(choices, func() {
				s.e.trace("c%d>s%d %s %x", g.c.q.ID(), g.c.server, describe(g.in[0]), g.in[0])
				g.accept()
			})
		}
		if len(g.out) > 0 {
			choices = append(choices, func() {
				s.e.trace("s%d>c%d %x", g.c.server, g.c.q.ID(), g.out[0])
				g.deliver()
			})
		}
	}
	for from := range s.e.addrs {
		for to := range s.e.addrs {
			if s.e.cluster.Deliverable(from, to) {
				choices = append(choices, func() { s.e.cluster.Deliver(from, to) })
			}
		}
	}
	if len(choices) == 0 {
		return false
	}
	choices[s.rand.IntN(len(choices))]()
	s.e.cluster.Run()
	s.gates = slices.DeleteFunc(s.gates, func(g *gate) bool {
		g.c.mu.Lock()
		defer g.c.mu.Unlock()
		return len(g.in) == 0 && len(g.out) == 0 && g.c.ended
	})
	return true
}

// describe returns a client's message as text for the trace.
func describe(frame []byte) string {
	h, body, err := wire.CutRequest(frame)
	switch {
	case frame == nil:
		return "hangs up"
	case err != nil:
		return "bad bytes"
	case wire.NewRequest(h.Op) == nil && h.Op != wire.OpPing && h.Op != wire.OpCloseSession:
		return "connects"
	}
	return h.Op.String() + " " + wire.FirstPath(h.Op, body)
}

// Step delivers one message between a client and a server, or between two servers. The message is
// drawn from the seed among all that are in transit. Messages of one link or connection keep their
// order. Step returns false if no message is in transit. It panics unless Options.Step is set.
func (e *Ensemble) Step() bool {
	if e.stepper == nil {
		panic("zktest: Step needs Options.Step")
	}
	stepped := false
	e.act(func() { stepped = e.stepper.step() })
	return stepped
}

// Drive calls Step until the channel `done` is closed, or until the ensemble is closed. It must run
// in a synctest bubble. Before each step it waits until all goroutines of the bubble are blocked. A
// message takes from 1 to 100 microseconds of virtual time, so that the timers of clients do not
// all fire at the same instant.
func (e *Ensemble) Drive(done <-chan struct{}) {
	for {
		synctest.Wait()
		select {
		case <-done:
			return
		case <-e.done:
			return
		default:
		}
		if e.Step() {
			time.Sleep(time.Duration(1+e.stepper.rand.IntN(100)) * time.Microsecond)
			continue
		}
		select {
		case <-e.stepper.activity:
		case <-done:
			return
		case <-e.done:
			return
		}
	}
}
