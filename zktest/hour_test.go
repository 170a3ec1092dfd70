package zktest_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `faults` injects and heals faults until stop is closed.
func faults(e *zktest.Ensemble, r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-time.After(time.Duration(5+r.IntN(40)) * time.Second):
		case <-stop:
			return
		}
		i := r.IntN(3)
		switch r.IntN(5) {
		case 0:
			e.Kill(i)
			time.Sleep(3 * time.Second)
			e.Start(i)
		case 1:
			e.Isolate(i)
			time.Sleep(15 * time.Second)
			e.Mend()
		case 2:
			e.Pause(i)
			time.Sleep(8 * time.Second)
			e.Resume(i)
		case 3:
			e.ElectLeader(i)
		case 4:
			e.Inject(zktest.Rule{Op: "delete", Fate: zktest.CloseBeforeReply})
		}
	}
}

// takeTurns acquires and releases a lock repeatedly on one session, until a request fails or `stop`
// is closed. To wait for its turn, it polls. It returns the number of grants.
func takeTurns(e *zktest.Ensemble, server int, stop <-chan struct{}) (grants int) {
	c, err := tryResume(e, server, wire.ConnectResponse{Password: make([]byte, 16)}, 6000)
	if err != nil {
		return 0
	}
	defer c.nc.Close()
	for {
		var own wire.Path
		h := c.call(wire.OpCreate, &wire.CreateRequest{Path: "/lock-", ACL: world, Mode: wire.ModeEphemeralSequential}, &own)
		if h.Err != wire.OK {
			return grants
		}
		for {
			var names wire.Strings
			if h := c.call(wire.OpGetChildren, &wire.PathWatch{Path: "/"}, &names); h.Err != wire.OK {
				return grants
			}
			if "/"+slices.Min(names.Strings) == own.Path {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		grants++
		time.Sleep(200 * time.Millisecond)
		if h := c.call(wire.OpDelete, &wire.PathVersion{Path: own.Path, Version: -1}); h.Err != wire.OK {
			return grants
		}
		select {
		case <-stop:
			return grants
		default:
		}
	}
}

// Five clients take turns at a lock during a virtual hour of faults. They are not clients of
// go-zookeeper, because go-zookeeper leaks goroutines: if faults close its connections often
// enough, some goroutines block forever in flushRequests. A bubble cannot end while such goroutines
// exist.
func TestVirtualHourOfContention(t *testing.T) {
	hours := 1.0
	if testing.Short() {
		hours = 0.1
	}
	start := time.Now()
	var grants atomic.Int64
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Seed: 7})
		stop := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { faults(e, rand.New(rand.NewPCG(7, 7)), stop) })
		for i := range 5 {
			all.Go(func() {
				for round := i; ; round++ {
					grants.Add(int64(takeTurns(e, round%3, stop)))
					select {
					case <-stop:
						return
					case <-time.After(100 * time.Millisecond):
					}
				}
			})
		}
		time.Sleep(time.Duration(hours * float64(time.Hour)))
		close(stop)
		all.Wait()
	})
	took := time.Since(start)
	ratio := hours * float64(time.Hour) / float64(took)
	t.Logf("%.1f virtual hours and %d grants in %v: %.0f times real time", hours, grants.Load(), took.Round(time.Millisecond), ratio)
	if grants.Load() < int64(hours*1000) {
		t.Errorf("got %d grants, want at least %d", grants.Load(), int64(hours*1000))
	}
}

func TestIdleHour(t *testing.T) {
	start := time.Now()
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t)
		for i := range 5 {
			connect(t, e, i, 10*time.Second)
		}
		time.Sleep(time.Hour)
		if !e.Ready() {
			t.Error("the ensemble is not ready after an idle hour")
		}
	})
	took := time.Since(start)
	t.Logf("an hour in %v: %.0f times real time", took.Round(time.Millisecond), float64(time.Hour)/float64(took))
}
