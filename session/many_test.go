package session_test

import (
	"context"
	"flag"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var manySessions = flag.Int("sessions", 20, "number of sessions in TestSessionsCostLittle")

// inUse returns the bytes and goroutines that are in use.
func inUse() (bytes, goroutines int) {
	synctest.Wait()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees what the finalizers of the first collection released
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc), runtime.NumGoroutine()
}

// The test opens many sessions and checks what each costs: a buffer of Options.MaxRequest bytes, at
// most 128 KiB more, and five goroutines. A client of go-zookeeper without this package allocates
// another 1.5 MiB for replies. The sessions must close within 2 s, without waiting for anything but
// the servers. The number of sessions is a flag:
//
//	go test ./session -run SessionsCostLittle -sessions 1000 -v
func TestSessionsCostLittle(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{MaxClientConns: -1})
		const request = 64 << 10
		sessions := make([]*session.Session, *manySessions)
		b0, g0 := inUse()
		for i := range sessions {
			s, err := session.Open(context.Background(), session.Options{
				Servers: e.Servers(), Dial: e.DialContext, MaxRequest: request,
			})
			if err != nil {
				t.Fatal(err)
			}
			sessions[i] = s
		}
		b1, g1 := inUse()
		bytes, goroutines := (b1-b0)/len(sessions), float64(g1-g0)/float64(len(sessions))

		begun := time.Now()
		var closing sync.WaitGroup
		for _, s := range sessions {
			closing.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		closing.Wait()
		took := time.Since(begun)
		_, g2 := inUse()

		t.Logf("%d sessions: %d KiB and %.2f goroutines each, %d KiB of it for the largest request; all closed after %v", len(sessions), bytes>>10, goroutines, request>>10, took)
		if most := request + 128<<10; bytes > most || goroutines > 5.1 {
			t.Errorf("got %d bytes and %.2f goroutines for a session, want at most %d and 5.1", bytes, goroutines, most)
		}
		if took > 2*time.Second || g2 > g0 {
			t.Errorf("got %v and %d goroutines left after Close of all, want at most 2 s and none", took, g2-g0)
		}
	})
}
