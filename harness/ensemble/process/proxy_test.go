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

// pair returns a proxy to a listener of the test.
func pair(t *testing.T, translate func(net.Conn) (net.Conn, error)) (*proxy, net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{there: new(gate), back: new(gate), target: l.Addr().String, translate: translate}
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close(); l.Close() })
	return p, l
}

func connect(t *testing.T, p *proxy, l net.Listener) (from, to net.Conn) {
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

// A node answers a greeting by connecting to the address in it, past the proxies and their cuts (QuorumCnxManager,
// handleConnection): that address has to be a proxy's.
func TestGreetingTellsTheProxysAddress(t *testing.T) {
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
		t.Errorf("the other node reads %q, %v; want %q", got, err, want)
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
		t.Errorf("the open direction brought %q, %v", got, err)
	}
	to.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := to.Read(make([]byte, 1)); n > 0 || err == io.EOF {
		t.Errorf("the cut direction brought %d bytes, %v", n, err)
	}
	if p.there.stopped.Load() == 0 || p.back.stopped.Load() != 0 {
		t.Error("what was stopped is counted wrongly")
	}
	to.SetReadDeadline(time.Time{})
	p.there.mend()
	if text, err := io.ReadAll(to); string(text) != "lost for now" || err != nil {
		t.Errorf("after the mend: %q, %v", text, err)
	}
}

func TestCutResetsNewConnections(t *testing.T) {
	p, _ := pair(t, nil)
	p.back.cut() // A handshake needs both directions.
	from, err := net.Dial("tcp", p.address())
	if err != nil {
		return // Reset before the dial returned.
	}
	defer from.Close()
	if n, err := from.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes over a cut link", n)
	}
}

// A chunk is late by the delay, by what its bytes take at the rate, and never overtakes the one before it.
func TestPaceKeepsTheOrder(t *testing.T) {
	now := time.Now()
	for _, one := range []struct {
		what      string
		pace      ensemble.Pace
		last      time.Duration // from now, when the chunk before it arrives
		n         int
		low, high time.Duration // from now
	}{
		{"no pace", ensemble.Pace{}, 0, 100, 0, 0},
		{"no pace, behind a late one", ensemble.Pace{}, time.Second, 100, time.Second, time.Second},
		{"delay", ensemble.Pace{Delay: time.Second}, 0, 100, time.Second, time.Second},
		{"delay, behind a later one", ensemble.Pace{Delay: time.Second}, 2 * time.Second, 100, 2 * time.Second, 2 * time.Second},
		{"rate", ensemble.Pace{Rate: 50}, 0, 100, 2 * time.Second, 2 * time.Second},
		{"rate, behind another one", ensemble.Pace{Rate: 50}, time.Second, 100, 3 * time.Second, 3 * time.Second},
		{"jitter", ensemble.Pace{Delay: time.Second, Jitter: time.Second}, 0, 100, time.Second, 2 * time.Second},
	} {
		g := new(gate)
		g.pace.Store(&one.pace)
		for range 100 {
			due := g.due(now, now.Add(one.last), one.n).Sub(now)
			if due < one.low || due > one.high {
				t.Fatalf("%s: due in %v, want %v to %v", one.what, due, one.low, one.high)
			}
		}
		if paced := g.paced.Load(); (paced > 0) != (one.pace != ensemble.Pace{}) {
			t.Errorf("%s: %d chunks count as late", one.what, paced)
		}
	}
}
