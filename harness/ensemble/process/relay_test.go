package process

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The function `pair` returns a relay to a listener of the test, and the listener.
func pair(t *testing.T, translate func(net.Conn) (net.Conn, error)) (*relay, net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &relay{there: new(gate), back: new(gate), target: l.Addr().String, translate: translate}
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close(); l.Close() })
	return p, l
}

func connect(t *testing.T, p *relay, l net.Listener) (from, to net.Conn) {
	t.Helper()
	from, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	to, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}

// A node replies to a greeting by connecting to the address that the greeting contains
// (QuorumCnxManager, handleConnection). If the greeting contained the real address of a node, that
// connection would bypass the relays and their cuts. Therefore the relay puts the address of
// another relay into the greeting.
func TestGreetingTellsTheRelaysAddress(t *testing.T) {
	greeting := func(address string) []byte {
		version := int64(-65536)
		b := binary.BigEndian.AppendUint64(nil, uint64(version))
		b = binary.BigEndian.AppendUint64(b, 3)
		b = binary.BigEndian.AppendUint32(b, uint32(len(address)))
		return append(b, address...)
	}
	p, l := pair(t, greet(func() string { return "127.0.0.1:29999" }))
	from, to := connect(t, p, l)
	fmt.Fprintf(from, "%svotes", greeting("127.0.0.1:3888"))
	want := append(greeting("127.0.0.1:29999"), "votes"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(to, got); err != nil || !slices.Equal(got, want) {
		t.Errorf("the other node got %q, %v; want %q", got, err, want)
	}
}

func TestCutStopsOneDirectionAndItsEnd(t *testing.T) {
	p, l := pair(t, nil)
	from, to := connect(t, p, l)
	p.there.cut()
	io.WriteString(from, "lost for now")
	from.(*net.TCPConn).CloseWrite()
	io.WriteString(to, "back")
	got := make([]byte, 4)
	if _, err := io.ReadFull(from, got); err != nil || string(got) != "back" {
		t.Errorf("got %q, %v from the open direction; want \"back\"", got, err)
	}
	to.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := to.Read(make([]byte, 1)); n > 0 || err == io.EOF {
		t.Errorf("got %d bytes, %v from the cut direction; want a timeout", n, err)
	}
	if p.there.stopped.Load() == 0 || p.back.stopped.Load() != 0 {
		t.Errorf("got %d stopped chunks in the cut direction and %d in the other, want more "+
			"than 0, and 0", p.there.stopped.Load(), p.back.stopped.Load())
	}
	to.SetReadDeadline(time.Time{})
	p.there.mend()
	if text, err := io.ReadAll(to); string(text) != "lost for now" || err != nil {
		t.Errorf("after the cut was restored: got %q, %v; want %q", text, err, "lost for now")
	}
}

func TestCutResetsNewConnections(t *testing.T) {
	p, _ := pair(t, nil)
	p.back.cut() // A handshake needs both directions.
	from, err := net.Dial("tcp", p.address())
	if err != nil {
		return // The connection was reset before the dial returned.
	}
	defer from.Close()
	if n, err := from.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes over a cut edge, want an error", n)
	}
}

// The pace of an edge is a delay and a rate. A chunk arrives after the delay, plus the time that
// its bytes take at the rate. It never overtakes the previous chunk.
func TestPaceKeepsTheOrder(t *testing.T) {
	now := time.Now()
	for _, one := range []struct {
		what      string
		fixed     bool // the pace is that of a distance, not of a fault
		pace      ensemble.Pace
		last      time.Duration // arrival of the previous chunk, from now
		n         int
		low, high time.Duration // from now
	}{
		{"no pace", false, ensemble.Pace{}, 0, 100, 0, 0},
		{"no pace, after a late one", false, ensemble.Pace{}, time.Second, 100, time.Second, time.Second},
		{"delay", false, ensemble.Pace{Delay: time.Second}, 0, 100, time.Second, time.Second},
		{"delay, after a later one", false, ensemble.Pace{Delay: time.Second}, 2 * time.Second, 100, 2 * time.Second, 2 * time.Second},
		{"rate", false, ensemble.Pace{Rate: 50}, 0, 100, 2 * time.Second, 2 * time.Second},
		{"rate, after another one", false, ensemble.Pace{Rate: 50}, time.Second, 100, 3 * time.Second, 3 * time.Second},
		{"jitter", false, ensemble.Pace{Delay: time.Second, Jitter: time.Second}, 0, 100, time.Second, 2 * time.Second},
		{"distance", true, ensemble.Pace{Delay: time.Second}, 0, 100, time.Second, time.Second},
	} {
		g := new(gate)
		if one.fixed {
			g.distance = one.pace
		} else {
			g.pace.Store(&one.pace)
		}
		for range 100 {
			due := g.due(now, now.Add(one.last), one.n).Sub(now)
			if due < one.low || due > one.high {
				t.Fatalf("%s: got due in %v, want %v to %v", one.what, due, one.low, one.high)
			}
		}
		if paced := g.paced.Load(); (paced > 0) != (!one.fixed && one.pace != ensemble.Pace{}) {
			t.Errorf("%s: got %d chunks counted as late, want more than 0 only with the pace of a fault", one.what, paced)
		}
	}
}

// A pace slows an edge by a delay and a maximum rate. In this test, the edge has a permanent pace
// (the field `distance`, see Config.Distance), and a fault sets a second pace. While the fault is
// active, the two delays are added, and the lower rate applies. When the fault is healed, only the
// permanent pace remains.
func TestPaceAddsToTheDistance(t *testing.T) {
	g := &gate{distance: ensemble.Pace{Delay: 2 * time.Second, Rate: 100}}
	now := time.Now()
	for _, one := range []struct {
		pace ensemble.Pace
		want time.Duration
	}{
		{ensemble.Pace{Delay: time.Second}, 4 * time.Second},
		{ensemble.Pace{Rate: 50}, 4 * time.Second},
		{ensemble.Pace{Rate: 200}, 3 * time.Second},
		{ensemble.Pace{}, 3 * time.Second},
	} {
		g.pace.Store(&one.pace)
		if got := g.due(now, now, 100).Sub(now); got != one.want {
			t.Errorf("%+v: got %v, want %v", one.pace, got, one.want)
		}
	}
}
