package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// serversEnv is the environment variable with the addresses of a running ensemble: host:port,
// separated by commas. The benchmarks write below /zkcoord-bench and delete that znode afterwards.
// Without the variable, they run on zktest.
const serversEnv = "ZKCOORD_BENCH_SERVERS"

func benchServers(b *testing.B) []string {
	if servers := os.Getenv(serversEnv); servers != "" {
		return strings.Split(servers, ",")
	}
	return zktest.Start(b, zktest.Options{TCP: true}).Servers()
}

func benchSession(b *testing.B, servers []string, r *counter) *session.Session {
	b.Helper()
	s, err := session.Open(b.Context(), session.Options{Servers: servers, Metrics: session.Metrics{Request: r.add}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkThroughput puts b.N items of 100 bytes and then takes them. Each producer and each
// consumer has its own session.
func BenchmarkThroughput(b *testing.B) {
	type shape struct {
		name    string
		clients int
		batch   int
		claim   bool
		relaxed bool
	}
	for _, c := range []shape{
		{name: "1+1/one", clients: 1, batch: 1},
		{name: "1+1/batch50", clients: 1, batch: 50},
		{name: "4+4/one", clients: 4, batch: 1},
		{name: "4+4/one/relaxed", clients: 4, batch: 1, relaxed: true},
		{name: "4+4/batch50", clients: 4, batch: 50},
		{name: "4+4/batch50/relaxed", clients: 4, batch: 50, relaxed: true},
		{name: "4+4/batch50/claim", clients: 4, batch: 50, claim: true},
		{name: "16+16/batch50", clients: 16, batch: 50},
		{name: "16+16/batch50/relaxed", clients: 16, batch: 50, relaxed: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &counter{}
			servers := benchServers(b)
			admin := benchSession(b, servers, r)
			path := "/zkcoord-bench/" + recipe.NewID(admin)
			b.Cleanup(func() { admin.DeleteAll(context.Background(), "/zkcoord-bench") })
			queues := make([]*queue.Queue[[]byte], c.clients)
			for i := range queues {
				queues[i] = queue.New(benchSession(b, servers, r), path, queue.Options[[]byte]{Codec: queue.Bytes(), Relaxed: c.relaxed})
			}
			r.reset()
			item := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()

			start := time.Now()
			each(queues, b.N, c.batch, func(q *queue.Queue[[]byte], n int) int {
				items := make([][]byte, n)
				for i := range items {
					items[i] = item
				}
				if err := q.Put(b.Context(), items...); err != nil {
					b.Error(err)
				}
				return n
			})
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "puts/s")
			puts := r.reset()
			b.ReportMetric(float64(puts)/float64(b.N), "requests/put")

			start = time.Now()
			var taken atomic.Int64
			drainAll(b, queues, b.N, &taken, c.batch, c.claim)
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "takes/s")
			b.ReportMetric(float64(r.reset())/float64(b.N), "requests/take")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A counter counts requests.
type counter struct{ n atomic.Int64 }

func (c *counter) add(string, time.Duration, error) { c.n.Add(1) }

func (c *counter) reset() int64 { return c.n.Swap(0) }

// The function `each` divides n items among the queues. It calls f for each queue, again and again,
// until f has handled the share of that queue. The arguments of f are the queue and a number of
// items, at most `batch`. The result of f is the number of items that it has handled.
func each(queues []*queue.Queue[[]byte], n, batch int, f func(*queue.Queue[[]byte], int) int) {
	var work sync.WaitGroup
	for i, q := range queues {
		work.Go(func() {
			for share := n/len(queues) + min(1, max(0, n%len(queues)-i)); share > 0; {
				share -= f(q, min(batch, share))
			}
		})
	}
	work.Wait()
}

// drainAll takes n items. If `claim` is true, it claims and acks the items instead.
func drainAll(b *testing.B, queues []*queue.Queue[[]byte], n int, taken *atomic.Int64, batch int, claim bool) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	count := func(k int) {
		if taken.Add(int64(k)) >= int64(n) {
			cancel()
		}
	}
	var work sync.WaitGroup
	for _, q := range queues {
		work.Go(func() {
			for ctx.Err() == nil {
				if !claim {
					items, _ := q.TakeBatch(ctx, batch)
					count(len(items))
					continue
				}
				claims, err := q.ClaimBatch(ctx, batch)
				if err != nil {
					continue
				}
				var acks sync.WaitGroup
				for _, c := range claims {
					acks.Go(func() {
						if err := c.Ack(context.Background()); err != nil {
							b.Error(err)
						}
					})
				}
				acks.Wait()
				count(len(claims))
			}
		})
	}
	work.Wait()
}

// TestMillionItems puts a million items of 100 bytes into a queue, and takes them in order. It
// needs a real ensemble.
func TestMillionItems(t *testing.T) {
	servers := os.Getenv(serversEnv)
	if servers == "" {
		t.Skip(serversEnv + " is not set")
	}
	s, err := session.Open(t.Context(), session.Options{Servers: strings.Split(servers, ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := "/zkcoord-bench/" + recipe.NewID(s)
	defer s.DeleteAll(context.Background(), "/zkcoord-bench")
	q := queue.New(s, path, queue.Options[[]byte]{Codec: queue.Bytes()})
	const n, batch = 1_000_000, 1000
	item := func(i int) []byte { return fmt.Appendf(nil, "%0100d", i) }

	start := time.Now()
	for i := 0; i < n; i += batch {
		items := make([][]byte, batch)
		for j := range items {
			items[j] = item(i + j)
		}
		if err := q.Put(t.Context(), items...); err != nil {
			t.Fatal(err)
		}
	}
	filled := time.Since(start)
	length, err := q.Len(t.Context())
	if err != nil || length != n {
		t.Fatalf("Len: got %d, %v, want %d", length, err, n)
	}
	counted := time.Since(start) - filled
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	start = time.Now()
	for i := 0; i < n; {
		items, err := q.TakeBatch(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range items {
			if !bytes.Equal(got, item(i)) {
				t.Fatalf("item %d: got %s, want %s", i, got, item(i))
			}
			i++
		}
	}
	t.Logf("%d items: filled in %v, counted in %v, drained in %v; %d MiB of heap here",
		n, filled, counted, time.Since(start), memory.HeapAlloc>>20)
}
