package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

// sessionTimeout is the timeout of all clients. It is so long that pings do not affect the results.
const sessionTimeout = 30 * time.Second

type zkcoord struct{}

func (zkcoord) name() string  { return "zkcoord" }
func (zkcoord) does(Job) bool { return true }
func (zkcoord) close()        {}

func (zkcoord) open(ctx context.Context, servers []string, n int) (fleet, error) {
	all := make(sessions, n)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(16)
	for i := range all {
		work.Go(func() (err error) {
			all[i], err = session.Open(ctx, session.Options{Servers: servers[i%len(servers):][:1], Timeout: sessionTimeout})
			return err
		})
	}
	if err := work.Wait(); err != nil {
		all.close()
		return nil, err
	}
	return all, nil
}

type sessions []*session.Session

func (f sessions) close() {
	var work errgroup.Group
	for _, s := range f {
		if s != nil {
			work.Go(s.Close)
		}
	}
	_ = work.Wait() // Close returns no errors
}

func (f sessions) do(ctx context.Context, j Job) (Sample, error) {
	switch j.Kind {
	case Lock:
		return f.lock(ctx, j)
	case ReadWrite:
		return f.readWrite(ctx, j)
	case Semaphore:
		return f.semaphore(ctx, j)
	case Election:
		return f.elect(ctx, j)
	case Count:
		return f.count(ctx, j)
	case Put:
		return f.put(ctx, j)
	case Take:
		return f.take(ctx, j)
	case Watch:
		return f.watch(ctx, j)
	case Barrier:
		return f.barrier(ctx, j)
	}
	return Sample{}, fmt.Errorf("no jobs of kind %q", j.Kind)
}

func pathOf(j Job, client int) string { return j.Path + "/" + strconv.Itoa(client%max(j.Width, 1)) }

func (f sessions) lock(ctx context.Context, j Job) (Sample, error) {
	locks := make([]*lock.Mutex, j.Clients)
	for i := range locks {
		locks[i] = lock.NewMutex(f[i], pathOf(j, i), lock.Options{})
	}
	return j.held(ctx, func(ctx context.Context, i, _ int) (grant, error) { return locks[i].Lock(ctx) })
}

// The interface `grant` has the method that the grants of all types of locks share.
type grant interface{ Unlock(context.Context) error }

func (j Job) held(ctx context.Context, acquire func(ctx context.Context, i, k int) (grant, error)) (Sample, error) {
	return j.repeat(ctx, func(ctx context.Context, i, k int) error {
		g, err := acquire(ctx, i, k)
		if err != nil {
			return err
		}
		return g.Unlock(ctx)
	})
}

func (f sessions) readWrite(ctx context.Context, j Job) (Sample, error) {
	locks := make([]*lock.RWMutex, j.Clients)
	for i := range locks {
		locks[i] = lock.NewRWMutex(f[i], j.Path, lock.Options{})
	}
	return j.held(ctx, func(ctx context.Context, i, k int) (grant, error) {
		if writes(i, k) {
			return locks[i].Lock(ctx)
		}
		return locks[i].RLock(ctx)
	})
}

// The function `writes` reports whether a client acquires the write lock in its k-th operation.
func writes(client, k int) bool { return (client+k)%10 == 0 }

func (f sessions) semaphore(ctx context.Context, j Job) (Sample, error) {
	all := make([]*lock.Semaphore, j.Clients)
	for i := range all {
		all[i] = lock.NewSemaphore(f[i], j.Path, j.Width, lock.Options{})
	}
	return j.held(ctx, func(ctx context.Context, i, _ int) (grant, error) { return all[i].Acquire(ctx, 1) })
}

func (f sessions) count(ctx context.Context, j Job) (Sample, error) {
	all := make([]*counter.Counter, j.Clients)
	for i := range all {
		all[i] = counter.New(f[i], j.Path+"/n", counter.Options{})
	}
	sample, err := j.repeat(ctx, func(ctx context.Context, i, _ int) error {
		_, err := all[i].Add(ctx, 1)
		return err
	})
	for _, c := range all {
		err = errors.Join(err, c.Close(ctx))
	}
	return sample, err
}

func (f sessions) elect(ctx context.Context, j Job) (Sample, error) {
	candidates := make([]*election.Election, j.Clients)
	for i := range candidates {
		candidates[i] = election.New(f[i], j.Path, election.Options{})
	}
	var handOver stopwatch
	sample, err := j.repeat(ctx, func(ctx context.Context, i, _ int) error {
		term, err := candidates[i].Campaign(ctx)
		if err != nil {
			return err
		}
		handOver.lap()
		handOver.start()
		return term.Resign(ctx)
	})
	sample.Latency = handOver.median()
	return sample, err
}

// itemSize is the size of an item in bytes.
const itemSize = 100

func (f sessions) queues(j Job) []*queue.Queue[[]byte] {
	all := make([]*queue.Queue[[]byte], j.Clients)
	for i := range all {
		all[i] = queue.New(f[i], j.Path, queue.Options[[]byte]{Codec: queue.Bytes(), Relaxed: j.Relaxed})
	}
	return all
}

func (f sessions) put(ctx context.Context, j Job) (Sample, error) {
	queues := f.queues(j)
	items := make([][]byte, j.Batch)
	for i := range items {
		items[i] = make([]byte, itemSize)
	}
	sample, err := j.spread(ctx, func(ctx context.Context, i, n int) error { return queues[i].Put(ctx, items[:n]...) })
	return sample, errors.Join(err, closeAll(ctx, queues))
}

func (f sessions) take(ctx context.Context, j Job) (Sample, error) {
	queues := f.queues(j)
	sample, err := j.drain(ctx, func(ctx context.Context, i int) (int, error) {
		if j.Batch > 1 {
			items, err := queues[i].TakeBatch(ctx, j.Batch)
			return len(items), err
		}
		_, err := queues[i].TryTake(ctx)
		if errors.Is(err, queue.ErrEmpty) {
			return 0, nil
		}
		return 1, err
	})
	return sample, errors.Join(err, closeAll(ctx, queues))
}

func closeAll(ctx context.Context, queues []*queue.Queue[[]byte]) error {
	var errs []error
	for _, q := range queues {
		errs = append(errs, q.Close(ctx))
	}
	return errors.Join(errs...)
}

func (f sessions) watch(ctx context.Context, j Job) (Sample, error) {
	return j.fanOut(ctx, func(ctx context.Context, k int) error {
		_, err := f[0].Set(ctx, j.Path, []byte(strconv.Itoa(k)), session.AnyVersion)
		return err
	}, func(ctx context.Context, i int, seen func(int)) error {
		for change, err := range watch.NewData(j.Path).Changes(ctx, f[i]) {
			if err != nil {
				return err
			}
			seen(number(change.Data))
		}
		return nil
	})
}

// The function `number` returns the number that client 0 has written, or -1 if client 0 has not
// written yet.
func number(data []byte) int {
	k, err := strconv.Atoi(string(data))
	if err != nil {
		return -1
	}
	return k
}

func (f sessions) barrier(ctx context.Context, j Job) (Sample, error) {
	l, last := j.limit(), newLast()
	rounds := 0
	work, ctx := errgroup.WithContext(ctx)
	for i := range j.Clients {
		double := barrier.NewDouble(f[i], j.Path+"/barrier", j.Clients)
		work.Go(func() error {
			for k := 0; !last.over(k, l); k++ {
				round, err := double.Enter(ctx)
				if err != nil {
					return err
				}
				if err := round.Leave(ctx); err != nil {
					return err
				}
				if i == 0 && l.counts() {
					rounds++
				}
			}
			return nil
		})
	}
	err := work.Wait()
	return l.sample(rounds, 0), err
}
