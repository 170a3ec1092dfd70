package zktest_test

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// contend runs five clients of go-zookeeper that take turns at one lock while servers fail. The
// messages are delivered one at a time. contend returns the trace.
func contend(t *testing.T, seed uint64) []byte {
	var trace bytes.Buffer
	t.Run("", func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed) // used for the GUIDs of go-zookeeper's lock
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Seed: seed, Step: true, Trace: &trace})
			stop := make(chan struct{})
			var drive, clients sync.WaitGroup
			drive.Go(func() { e.Drive(stop) })
			grants := make([]int, 5)
			for i := range 5 {
				clients.Go(func() {
					// The clients dial in the order of i.
					time.Sleep(time.Duration(i) * time.Millisecond)
					// Connections are numbered in the order of dialing. Clients that lose their
					// connections at the same instant would also dial at the same instant. The
					// pauses make them dial one after another, in the same order in each run.
					dial := func(network, address string, timeout time.Duration) (net.Conn, error) {
						time.Sleep(time.Duration(i) * 1001 * time.Nanosecond)
						return e.Dialer(network, address, timeout)
					}
					conn, _, err := zk.Connect(e.Servers(), 6*time.Second, zk.WithDialer(dial),
						zk.WithHostProvider(e.HostProvider(i)), zk.WithLogger(silent{}))
					if err != nil {
						t.Errorf("seed %d: connect client %d: got error %v, want nil", seed, i, err)
						return
					}
					// After an error, zk.Lock can leave its node behind. Only the end of the
					// session deletes that node, and all clients wait for this. So each client
					// closes its session after a minute at the latest.
					over := time.AfterFunc(time.Minute, conn.Close)
					defer over.Stop()
					defer conn.Close()
					for range 4 {
						l := zk.NewLock(conn, "/lock", open)
						if l.Lock() != nil {
							// go-zookeeper dials after one second. If this pause were one second
							// too, it would be random whether the dial or Close comes first.
							time.Sleep(1100 * time.Millisecond)
							continue
						}
						grants[i]++
						time.Sleep(time.Duration(50+i) * time.Millisecond)
						l.Unlock()
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			e.Lag(1, 5*time.Millisecond)
			e.Inject(zktest.Rule{Op: "create", Skip: 3, Fate: zktest.CloseBeforeReply})
			time.Sleep(500 * time.Millisecond)
			e.ElectLeader((e.Leader() + 1) % 3)
			time.Sleep(3 * time.Second)
			e.Kill(e.Leader())
			time.Sleep(10 * time.Second)
			clients.Wait()
			close(stop)
			drive.Wait()
			fmt.Fprintln(&trace, grants)
		})
	})
	return trace.Bytes()
}

func TestSameSeedGivesTheSameTrace(t *testing.T) {
	runs := 100
	if testing.Short() {
		runs = 5
	}
	want := contend(t, 1)
	if !bytes.Contains(want, []byte("leads epoch 3")) {
		t.Fatalf("trace does not contain two changes of leader:\n%.2000s", want)
	}
	for i := range runs - 1 {
		if got := contend(t, 1); !bytes.Equal(got, want) {
			t.Fatalf("run %d differs at byte %d of %d:\n%s", i, differ(got, want), len(want), around(got, want))
		}
	}
	if bytes.Equal(contend(t, 2), want) {
		t.Error("seed 2 gave the same trace as seed 1")
	}
	t.Logf("%d bytes, %d messages", len(want), bytes.Count(want, []byte("\n")))
}

// The function `stepped` runs f on an ensemble with Options.Step, while Drive delivers its
// messages.
func stepped(t *testing.T, f func(e *zktest.Ensemble)) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Step: true})
		done := make(chan struct{})
		var drive sync.WaitGroup
		drive.Go(func() { e.Drive(done) })
		f(e)
		close(done)
		drive.Wait()
	})
}

// Regression: Drive did not wake up when a delayed packet was due to arrive. The packet arrived
// only when the next timer of a server or a client fired.
func TestStepDeliversDelayedPacketsInTime(t *testing.T) {
	stepped(t, func(e *zktest.Ensemble) {
		c := dialRaw(t, e, 2)
		defer c.nc.Close()
		for follower := range 2 {
			e.DelayLink(zktest.Link{From: 2, To: follower}, 10*time.Millisecond)
		}
		for range 10 {
			start := time.Now()
			c.create("/x-", wire.ModePersistentSequential)
			if d := time.Since(start); d < 10*time.Millisecond || d > 15*time.Millisecond {
				t.Errorf("create took %v, want 10ms to 15ms", d)
			}
			time.Sleep(123 * time.Millisecond)
		}
	})
}

// Regression: with Options.Step, the ensemble never forgot a connection that the client had closed.
func TestStepForgetsClosedConnections(t *testing.T) {
	stepped(t, func(e *zktest.Ensemble) {
		for range 20 {
			dialRaw(t, e, 2).nc.Close()
		}
		time.Sleep(time.Second)
		if n := e.Gates(); n > 0 {
			t.Errorf("%d closed connections are kept, want none", n)
		}
	})
}

func differ(a, b []byte) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i
}

// The function `around` shows both traces at the point where they differ.
func around(a, b []byte) string {
	i := differ(a, b)
	cut := func(t []byte) []byte { return t[max(0, i-300):min(len(t), i+200)] }
	return fmt.Sprintf("--- got\n%s\n--- want\n%s", cut(a), cut(b))
}
