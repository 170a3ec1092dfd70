package scenarios

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// zkcoord shares a counter with a client of another library on real servers, and both add at the
// same time. The counter has format Decimal if it is shared with kazoo's Counter. It has format
// BigEndian if it is shared with Curator's DistributedAtomicLong.
//
// Covers C2, C7.
func TestInteropCounter(t *testing.T) {
	const times, ours = 40, 4
	needs.Installed(t, peers.Kazoo.Installed())
	needs.Installed(t, peers.Curator.Installed())
	e, err := options(t, time.Minute).Ensemble(t.Context(), ensemble.Config{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the ensemble: got error %v, want none", err)
		}
	}()
	addresses, err := ensemble.Addresses(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const dir = "/zkcoord-counters"
	for l, format := range map[peers.Library]counter.Format{peers.Kazoo: counter.Decimal, peers.Curator: counter.BigEndian} {
		t.Run(l.String(), func(t *testing.T) {
			p, err := l.Client(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			setup := client.Setup{Servers: addresses, Timeout: 10 * time.Second, Path: dir, Recipe: client.Counter}
			theirs, err := client.Start(t.Context(), p, setup, client.Options{Dial: new(net.Dialer).DialContext, HelloTime: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			n := counter.New(s, znode.Join(dir, l.String()), counter.Options{Format: format})
			seen := make(map[int64]bool)
			for range times {
				done := make(chan error, 1)
				go func() {
					_, err := theirs.Do(t.Context(), client.Request{Op: client.OpAdd, Name: l.String(), Value: "1"})
					done <- err
				}()
				// During each add of the other library, zkcoord makes only a few adds. kazoo waits
				// longer after each conflict. If zkcoord added without a pause, kazoo would not
				// finish on a busy machine.
				for range ours {
					value, err := n.Add(t.Context(), 1)
					if err != nil {
						t.Fatal(err)
					}
					if seen[value] {
						t.Errorf("got %d from two adds of zkcoord, want each value once", value)
					}
					seen[value] = true
				}
				if err := <-done; err != nil {
					t.Fatalf("an add of %v: got error %v, want none", l, err)
				}
			}
			if value, err := n.Get(t.Context()); value != int64(len(seen)+times) || err != nil {
				t.Errorf("Get: got %d, error %v; want %d, the sum of %d adds of zkcoord and %d "+
					"of %v", value, err, len(seen)+times, len(seen), times, l)
			}
			t.Logf("%d of ours, %d of theirs", len(seen), times)
			if err := n.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if err := s.DeleteAll(t.Context(), dir); err != nil {
		t.Error(err)
	}
}
