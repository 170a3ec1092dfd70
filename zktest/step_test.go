package zktest_test

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// contend runs five clients of go-zookeeper that take one lock in turns, while
// servers fail, message by message, and returns the trace.
func contend(t *testing.T, seed uint64) []byte {
	var trace bytes.Buffer
	t.Run("", func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed) // the GUIDs of go-zookeeper's lock
		synctest.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Seed: seed, Step: true, Trace: &trace})
			stop := make(chan struct{})
			var drive, clients sync.WaitGroup
			drive.Go(func() { e.Drive(stop) })
			grants := make([]int, 5)
			for i := range 5 {
				clients.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond) // dial in this order
					// What happens to all of them at one instant they answer one after
					// the other: connections are numbered as they are dialed.
					dial := func(network, address string, timeout time.Duration) (net.Conn, error) {
						time.Sleep(time.Duration(i) * 1001 * time.Nanosecond)
						return e.Dialer(network, address, timeout)
					}
					conn, _, err := zk.Connect(e.Servers(), 6*time.Second, zk.WithDialer(dial),
						zk.WithHostProvider(e.HostProvider(i)), zk.WithLogger(silent{}))
					if err != nil {
						t.Error(err)
						return
					}
					// An error in zk.Lock can leave its node behind, for which
					// all wait then: closing ends that.
					over := time.AfterFunc(time.Minute, conn.Close)
					defer over.Stop()
					defer conn.Close()
					for range 4 {
						l := zk.NewLock(conn, "/lock", open)
						if l.Lock() != nil {
							// Not the second after which go-zookeeper dials: whether
							// that or Close comes first would be left to chance.
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
		t.Fatalf("no two changes of leader in the trace:\n%.2000s", want)
	}
	for i := range runs - 1 {
		if got := contend(t, 1); !bytes.Equal(got, want) {
			t.Fatalf("run %d differs at byte %d of %d:\n%s", i, differ(got, want), len(want), around(got, want))
		}
	}
	if bytes.Equal(contend(t, 2), want) {
		t.Error("another seed gives the same trace")
	}
	t.Logf("%d bytes, %d messages", len(want), bytes.Count(want, []byte("\n")))
}

// stepped runs f while the messages of an ensemble are stepped.
func stepped(t *testing.T, f func(e *zktest.Ensemble)) {
	synctest.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Step: true})
		done := make(chan struct{})
		var drive sync.WaitGroup
		drive.Go(func() { e.Drive(done) })
		f(e)
		close(done)
		drive.Wait()
	})
}

// Nobody woke Drive for a packet that was under way, so it took until the next
// timer of anybody.
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
				t.Errorf("create took %v", d)
			}
			time.Sleep(123 * time.Millisecond)
		}
	})
}

// Connections that the client closed were kept for ever.
func TestStepForgetsClosedConnections(t *testing.T) {
	stepped(t, func(e *zktest.Ensemble) {
		for range 20 {
			dialRaw(t, e, 2).nc.Close()
		}
		time.Sleep(time.Second)
		if n := e.Gates(); n > 0 {
			t.Errorf("%d connections are kept", n)
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

// around shows both traces where they part.
func around(a, b []byte) string {
	i := differ(a, b)
	cut := func(t []byte) []byte { return t[max(0, i-300):min(len(t), i+200)] }
	return fmt.Sprintf("--- got\n%s\n--- want\n%s", cut(a), cut(b))
}
