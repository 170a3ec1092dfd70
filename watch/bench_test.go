package watch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

// benchWorld returns two sessions at one server in memory: s is for watching, and admin makes the
// changes. The counter `requests` counts the requests of s.
func benchWorld(b *testing.B) (s, admin *session.Session, requests *atomic.Int64) {
	e := zktest.Start(b, zktest.Options{Servers: 1, MaxFrame: 1 << 26})
	requests = new(atomic.Int64)
	o := session.Options{Servers: e.Servers(), Dial: e.DialContext, Timeout: 30 * time.Second, MaxRequest: 1 << 26}
	open := func(o session.Options) *session.Session {
		s, err := session.Open(context.Background(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	}
	admin = open(o)
	o.Metrics.Request = func(string, time.Duration, error) { requests.Add(1) }
	return open(o), admin, requests
}

func createAll(b *testing.B, s *session.Session, paths []string, data []byte) {
	for part := range slices.Chunk(paths, 1000) {
		ops := make([]session.Op, len(part))
		for i, path := range part {
			ops[i] = session.CreateOp{Path: path, Data: data}
		}
		if _, err := s.Multi(context.Background(), ops...); err != nil {
			b.Fatal(err)
		}
	}
}

func cpuTime() time.Duration {
	user, system := procs.CPUTime()
	return user + system
}

// BenchmarkTenThousandChildren makes 1,000 changes a second, half of them creations and half
// deletions, among 10,000 children. The CPU time is measured for the whole process. So the cost of
// a stream is this time minus the time of the run "none", which has no stream. Lag is the time from
// the reply to a change until the stream reports it.
func BenchmarkTenThousandChildren(b *testing.B) {
	streams := map[string]func(ctx context.Context, s *session.Session, told func(names []string)){
		"none": func(context.Context, *session.Session, func([]string)) {},
		"Children": func(ctx context.Context, s *session.Session, told func([]string)) {
			for c, err := range watch.NewChildren("/d").Changes(ctx, s) {
				if err != nil {
					return
				}
				told(append(c.Added, c.Removed...))
			}
		},
		"ChildrenData": func(ctx context.Context, s *session.Session, told func([]string)) {
			for c, err := range watch.NewChildrenData("/d").Changes(ctx, s) {
				if err != nil {
					return
				}
				var names []string
				for _, e := range append(c.Added, c.Removed...) {
					names = append(names, e.Path[len("/d/"):])
				}
				told(names)
			}
		},
	}
	for _, name := range []string{"none", "Children", "ChildrenData"} {
		b.Run(name, func(b *testing.B) {
			s, admin, requests := benchWorld(b)
			paths := []string{"/d"}
			for i := range 10_000 {
				paths = append(paths, childPath(i))
			}
			createAll(b, admin, paths, []byte("10.0.0.1:80"))
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			var mu sync.Mutex
			made := map[string]time.Time{}
			var lags []time.Duration
			looks := 0
			ready := make(chan struct{})
			running.Go(func() {
				streams[name](ctx, s, func(names []string) {
					mu.Lock()
					defer mu.Unlock()
					if looks++; looks == 1 {
						close(ready)
						return
					}
					for _, n := range names {
						lags = append(lags, time.Since(made[n]))
					}
				})
			})
			if name != "none" {
				<-ready
			}
			requests.Store(0)
			cpu, start, next := cpuTime(), time.Now(), 10_000
			r := rand.New(rand.NewPCG(1, 1))
			b.ResetTimer()
			for i := range b.N {
				time.Sleep(time.Until(start.Add(time.Duration(i) * time.Millisecond)))
				path := childPath(next)
				if i%2 == 0 {
					next++
					paths = append(paths, path)
					admin.Create(ctx, path, []byte("10.0.0.1:80"), session.Persistent)
				} else {
					at := 1 + r.IntN(len(paths)-1)
					path = paths[at]
					paths[at] = paths[len(paths)-1]
					paths = paths[:len(paths)-1]
					admin.Delete(ctx, path, session.AnyVersion)
				}
				mu.Lock()
				made[path[len("/d/"):]] = time.Now()
				mu.Unlock()
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/change")
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "changes/s")
			cancel()
			running.Wait()
			if name == "none" {
				return
			}
			b.ReportMetric(float64(requests.Load())/float64(b.N), "requests/change")
			b.ReportMetric(float64(looks)/float64(b.N), "looks/change")
			slices.Sort(lags)
			if len(lags) > 0 {
				b.ReportMetric(float64(lags[len(lags)/2].Microseconds())/1000, "p50-lag-ms")
				b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds())/1000, "p99-lag-ms")
			}
		})
	}
}

func childPath(i int) string { return fmt.Sprintf("/d/member-%010d", i) }

// BenchmarkTreeOf100000 reads a tree of 100 directories with 1,000 znodes each. Each znode has 100
// bytes. Then it changes one znode at a time. CPU time and memory include client and server.
func BenchmarkTreeOf100000(b *testing.B) {
	s, admin, requests := benchWorld(b)
	paths := []string{"/t"}
	for i := range 100 {
		paths = append(paths, fmt.Sprintf("/t/%02d", i))
		for j := range 1000 {
			paths = append(paths, fmt.Sprintf("/t/%02d/node-%04d", i, j))
		}
	}
	createAll(b, admin, paths, make([]byte, 100))
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			requests.Store(0)
			before, cpu := heap(), cpuTime()
			c := watch.NewTree("/t", watch.TreeOptions{})
			b.StartTimer()
			for _, err := range c.Changes(b.Context(), s) {
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(c.Len()), "cpu-µs/node")
				b.ReportMetric(float64(heap()-before)/float64(c.Len()), "heap-bytes/node")
				b.StartTimer()
				break
			}
			b.ReportMetric(float64(requests.Load())/float64(c.Len()), "requests/node")
			if c.Len() != len(paths) {
				b.Fatalf("got %d znodes, want %d", c.Len(), len(paths))
			}
		}
	})
	b.Run("change", func(b *testing.B) {
		i := 0
		for _, err := range watch.NewTree("/t", watch.TreeOptions{}).Changes(b.Context(), s) {
			if err != nil {
				b.Fatal(err)
			}
			if i == 0 {
				requests.Store(0)
				b.ResetTimer()
			}
			if i == b.N {
				break
			}
			if _, err := admin.Set(b.Context(), paths[1+i%(len(paths)-1)], nil, session.AnyVersion); err != nil {
				b.Fatal(err)
			}
			i++
		}
		b.StopTimer()
		b.ReportMetric(float64(requests.Load())/float64(b.N), "requests/change")
	})
}

// The function `heap` returns the bytes of heap memory in use. This includes the server, which runs
// in the same process.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
