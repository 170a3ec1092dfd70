package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Kind is the kind of operation that clients do in a job.
type Kind string

// The kinds.
const (
	Lock      Kind = "lock"      // acquire and release a lock
	ReadWrite Kind = "rwlock"    // acquire and release a read-write lock; nine of ten operations are a reader's
	Semaphore Kind = "semaphore" // acquire and release a permit
	Election  Kind = "election"  // lead, and resign at once; timed from the resignation to the next term
	Count     Kind = "counter"   // add 1 to a counter
	Put       Kind = "put"       // put items in a queue
	Take      Kind = "take"      // take the items that a Put job left
	Watch     Kind = "watch"     // client 0 sets a znode's data; timed until all others observe it
	Barrier   Kind = "barrier"   // enter and leave a double barrier
)

// A Job is the work of one library in one round. It runs for Time, or for a number of operations if
// Time is zero.
type Job struct {
	Kind    Kind          `json:"kind"`
	Path    string        `json:"-"` // exists; it has children only for Take
	Clients int           `json:"clients"`
	Width   int           `json:"width,omitempty"` // the number of lock paths, or of permits of a semaphore
	Warm    time.Duration `json:"warm,omitempty"`  // warm-up before Time; its operations do not count
	Time    time.Duration `json:"time,omitempty"`
	Each    int           `json:"each,omitempty"`    // operations of each client, if Time is zero
	Items   int           `json:"items,omitempty"`   // maximum for all clients together
	Batch   int           `json:"batch,omitempty"`   // items in one transaction
	Relaxed bool          `json:"relaxed,omitempty"` // take with queue.Options.Relaxed
}

// The method `recurs` reports whether the same path can be used for a second run of the job.
func (j Job) recurs() bool {
	return j.Kind == Lock || j.Kind == ReadWrite || j.Kind == Semaphore || j.Kind == Election || j.Kind == Count
}

// A Sample is the result of one round of a job.
type Sample struct {
	Ops     int           `json:"ops"`
	Took    time.Duration `json:"took_ns"`
	Latency time.Duration `json:"latency_ns,omitempty"` // median, for the kinds that are timed
}

// Rate returns the operations per second.
func (s Sample) Rate() float64 { return float64(s.Ops) / s.Took.Seconds() }

// The type `limit` decides when a job is over: after its time or after its operations.
type limit struct {
	job        Job
	start      time.Time
	begin, end time.Time // an operation counts if it ends between these times
}

func (j Job) limit() limit {
	now := time.Now()
	begin := now.Add(j.Warm)
	return limit{j, now, begin, begin.Add(j.Time)}
}

// The method `over` reports whether a client that has done `done` operations must stop.
func (l limit) over(done int) bool {
	if l.job.Time == 0 {
		return done >= l.job.Each
	}
	return time.Now().After(l.end)
}

// The method `counts` reports whether an operation that ends now counts.
func (l limit) counts() bool {
	if l.job.Time == 0 {
		return true
	}
	now := time.Now()
	return now.After(l.begin) && now.Before(l.end)
}

func (l limit) sample(ops int, latency time.Duration) Sample {
	took := l.job.Time
	if took == 0 {
		took = time.Since(l.start)
	}
	return Sample{Ops: ops, Took: took, Latency: latency}
}

// The method `repeat` lets each client do one operation after another until the job is over. The
// function `op` does one operation. Its argument `k` is the number of operations that this client
// has already done.
func (j Job) repeat(ctx context.Context, op func(ctx context.Context, client, k int) error) (Sample, error) {
	var done atomic.Int64
	l := j.limit()
	work, ctx := errgroup.WithContext(ctx)
	for i := range j.Clients {
		work.Go(func() error {
			for k := 0; !l.over(k); k++ {
				if err := op(ctx, i, k); err != nil {
					return fmt.Errorf("client %d: %w", i, err)
				}
				if l.counts() {
					done.Add(1)
				}
			}
			return nil
		})
	}
	err := work.Wait()
	return l.sample(int(done.Load()), 0), err
}

// A stopwatch records durations. It is safe for concurrent use.
type stopwatch struct {
	mu    sync.Mutex
	since time.Time
	laps  []time.Duration
}

// The method `lap` records the time since the last call of `start`, if there was one.
func (s *stopwatch) lap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		s.laps = append(s.laps, time.Since(s.since))
	}
}

func (s *stopwatch) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

func (s *stopwatch) median() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.laps) == 0 {
		return 0
	}
	slices.Sort(s.laps)
	return s.laps[len(s.laps)/2]
}

// The method `spread` runs one round of puts, in which each client puts its share of j.Items in
// batches. If the job has a Time, no client begins a batch after that time.
func (j Job) spread(ctx context.Context, put func(ctx context.Context, client, n int) error) (Sample, error) {
	var done atomic.Int64
	start := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for i := range j.Clients {
		work.Go(func() error {
			share := j.Items*(i+1)/j.Clients - j.Items*i/j.Clients
			for share > 0 && !j.late(start) {
				n := min(share, j.Batch)
				if err := put(ctx, i, n); err != nil {
					return fmt.Errorf("client %d: %w", i, err)
				}
				done.Add(int64(n))
				share -= n
			}
			return nil
		})
	}
	err := work.Wait()
	return Sample{Ops: int(done.Load()), Took: time.Since(start)}, err
}

// The method `drain` runs one round of takes. Each client takes items until all clients together
// have taken j.Items items, or until `take` returns no item. If the job has a Time, no client
// begins a take after that time.
func (j Job) drain(ctx context.Context, take func(ctx context.Context, client int) (int, error)) (Sample, error) {
	var done atomic.Int64
	start := time.Now()
	end := start
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)
	for i := range j.Clients {
		work.Go(func() error {
			for int(done.Load()) < j.Items && !j.late(start) {
				n, err := take(ctx, i)
				if int(done.Add(int64(n))) == j.Items && n > 0 {
					end = time.Now()
					cancel() // ends the calls that still wait for an item
				}
				switch {
				case int(done.Load()) >= j.Items:
					return nil
				case err != nil:
					return fmt.Errorf("client %d: %w", i, err)
				case n == 0:
					return nil
				}
			}
			return nil
		})
	}
	err := work.Wait()
	if end == start {
		end = time.Now()
	}
	return Sample{Ops: int(done.Load()), Took: end.Sub(start)}, err
}

func (j Job) late(start time.Time) bool { return j.Time > 0 && time.Since(start) > j.Time }

// fanOut lets client 0 write the numbers 0, 1, 2 and so on. Client 0 writes a number when all other
// clients have observed the previous number. For each other client, fanOut calls the function
// `watch`, which must call `seen` for each number that the client observes, until the context ends.
func (j Job) fanOut(ctx context.Context, write func(ctx context.Context, k int) error,
	watch func(ctx context.Context, client int, seen func(k int)) error) (Sample, error) {
	arrived := make(chan int, 2*j.Clients)
	ctx, cancel := context.WithCancel(ctx)
	work, ctx := errgroup.WithContext(ctx)
	for i := 1; i < j.Clients; i++ {
		work.Go(func() error {
			err := watch(ctx, i, func(k int) { arrived <- k })
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("client %d: %w", i, err)
		})
	}
	var sample Sample
	work.Go(func() (err error) {
		defer cancel()
		sample, err = j.write(ctx, write, arrived)
		return err
	})
	err := work.Wait()
	return sample, err
}

func (j Job) write(ctx context.Context, write func(ctx context.Context, k int) error, arrived <-chan int) (Sample, error) {
	var watch stopwatch
	var l limit
	done := 0
	for k := 0; k == 0 || !l.over(k); k++ {
		watch.start()
		if err := write(ctx, k); err != nil {
			return Sample{}, err
		}
		for left := j.Clients - 1; left > 0; {
			select {
			case seen := <-arrived:
				if seen == k {
					left--
				}
			case <-ctx.Done():
				return Sample{}, context.Cause(ctx)
			}
		}
		if k == 0 { // all clients watch now, so the measurement begins
			l = j.limit()
		}
		if l.counts() {
			watch.lap()
			done++
		}
	}
	return l.sample(done, watch.median()), nil
}

// The type `last` has the number of the last round of a job. It is for jobs in which all clients
// must join each round. Before each round, each client checks whether the limit is reached. The
// first client that finds the limit reached still joins its next round, and makes this round the
// last one.
//
// No other client can already be in a later round. A later round begins only after all clients have
// joined the round before it, and the first client has not joined its next round yet.
type last struct{ atomic.Int64 }

func newLast() *last {
	l := &last{}
	l.Store(1 << 62)
	return l
}

func (l *last) over(round int, limit limit) bool {
	if limit.over(round) {
		l.CompareAndSwap(1<<62, int64(round))
	}
	return int64(round) > l.Load()
}
