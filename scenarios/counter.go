package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// Counter has clients that add to counters, read them and set them, under all faults. The threads
// of a client share a handle. Client 0 only reads.
func Counter() harness.Scenario {
	mutant := func(name, report string, does countMistakes, faults ...string) harness.Mutant {
		return harness.Mutant{Name: name, Report: report, Violates: []string{"counter/linearizable"}, Faults: faults,
			Workload: counterWorkload(within(openPlain(does)))}
	}
	return harness.Scenario{
		Name:       "counter",
		Claim:      "Under every fault a call on a counter happens once or not at all, as it reports, and its result is right for one instant of the call.",
		Guarantees: []string{"C1", "C2", "C3", "C5", "C6"},
		Clients:    4,
		Workload:   counterWorkload(within(openCounter)),
		Faults:     faults("all"),
		Checkers:   []checker.Checker{checker.CounterLinearizable(), checker.NothingLeft("znodes", "goroutines")},
		Guards:     []checker.Checker{counted(40), countedTogether(8)},
		Mutants: []harness.Mutant{
			mutant("blind", "kazoo's Counter: the reply to the set is lost, its retry policy runs the change again, and it counts twice",
				countMistakes{blind: true}, "link-cut", "link-reset"),
			mutant("versionless", "a client writes the value that it read plus one, without the version that it read, and loses what others added meanwhile",
				countMistakes{versionless: true}),
			mutant("one-result", "adds of several goroutines are combined into one write, and each add returns the value after the whole write, so several adds return the same value",
				countMistakes{oneResult: true}),
			mutant("reported-failed", "the reply is lost, and the error says that nothing was counted, so a client that repeats the call counts twice",
				countMistakes{reportsFailed: true}, "link-cut", "link-reset"),
			mutant("own-server", "Curator's DistributedAtomicLong.get reads from its own server, which may be cut off or behind",
				countMistakes{ownServer: true}, "partition-one", "partition-clients"),
		},
	}
}

// A tally is a counter that the threads of one client use in one session.
type tally interface {
	add(ctx context.Context, delta int64) (int64, error)
	get(ctx context.Context) (int64, error)
	set(ctx context.Context, value int64) error
	swap(ctx context.Context, old, new int64) (bool, error)
	close(ctx context.Context)
}

// A tallyOf returns a client's handle on the counter with number n, in one session.
type tallyOf func(n int) tally

const (
	// threads is the number of threads of a client.
	threads = 3
	// countDelay is the delay that a client's proxy adds in each direction. Because of the delay,
	// calls take at least as long as the pauses between them. So the calls of a client's threads
	// overlap, and faults affect some calls.
	countDelay = 20 * time.Millisecond
)

func counterWorkload(counters supply[tallyOf]) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := &countProgram{counters: counters, dir: znode.Join(env.Root(), "counters")}
		return harness.Workload{Work: p.work, Final: p.final}
	}
}

// countProgram is the workload of clients that use one counter after another. The checker searches
// for an order of the calls of each counter. This search is fast only if the counter has few calls,
// and if few of them have an unknown outcome. So the clients leave a counter after callsEach calls,
// or after a change with an unknown outcome.
type countProgram struct {
	counters supply[tallyOf]
	dir      string

	mu    sync.Mutex
	n     int // the number of the counter in use
	calls int // number of calls on that counter
}

// callsEach is the number of calls for each counter.
const callsEach = 40

// The method `next` counts one more call and returns the number of the counter on which to make the
// call. After callsEach calls on one counter, it returns the number of the next counter.
func (p *countProgram) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; p.calls > callsEach {
		p.n, p.calls = p.n+1, 1
	}
	return p.n
}

// The method `leave` makes all threads continue with the next counter, unless they have already
// left the counter n.
func (p *countProgram) leave(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == n {
		p.n, p.calls = n+1, 0
	}
}

func (p *countProgram) path(n int) string { return counterPath(p.dir, n) }

func counterPath(dir string, n int) string { return znode.Join(dir, strconv.Itoa(n)) }

func (p *countProgram) work(ctx context.Context, c *harness.Client) error {
	open, life, end, err := p.counters.enter(ctx, c, p.dir)
	if err != nil {
		return err
	}
	defer end()
	c.Proxy().Delay(countDelay, countDelay)
	handles := &tallies{program: p, new: open, open: make(map[int]*sharedTally)}
	var work sync.WaitGroup
	for range threads {
		t, r := c.Thread(), rand.New(rand.NewPCG(c.Rand.Uint64(), c.Rand.Uint64()))
		work.Go(func() {
			for c.Next(ctx) && life.Err() == nil {
				n := p.next()
				handle := handles.use(n)
				if e, err := p.call(ctx, t, r, handle, n, c.ID == 0); session.OutcomeOf(err) == session.Indeterminate && e.Op != checker.OpGet {
					p.leave(n)
				}
				handles.leave(ctx, n, handle)
				c.Pause(ctx, time.Duration(r.Int64N(int64(2*countDelay))))
			}
		})
	}
	work.Wait()
	if c.Next(ctx) {
		return life.Err()
	}
	return nil
}

// The method `call` makes one call, usually an add. If `reader` is true, the call only reads.
//
// Clients that only read catch the mutant own-server, which reads the counter from the server of
// its session, without a read barrier. A server that is cut off still answers these reads, and the
// value may be old. A write on that server would wait for the quorum, and the later reads of the
// same session would wait behind the write.
func (p *countProgram) call(ctx context.Context, t *harness.Thread, r *rand.Rand, h *sharedTally, n int, reader bool) (history.Event, error) {
	if r.IntN(6) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(300*time.Millisecond))))
		defer cancel()
	}
	op := history.Event{Op: checker.OpAdd, Object: p.path(n)}
	number := func(value int64, err error) (history.Event, error) {
		if err != nil {
			return history.Event{}, err
		}
		h.saw.Store(value)
		return history.Event{Result: strconv.FormatInt(value, 10)}, nil
	}
	choice := r.IntN(10)
	switch {
	case reader || choice < 1:
		op.Op = checker.OpGet
		return t.Do(ctx, op, func(ctx context.Context) (history.Event, error) { return number(h.get(ctx)) })
	case choice < 3 && p.counters.fleet == nil:
		// This is not for clients in other languages, because their protocol has no such operation.
		old, new := h.saw.Load(), r.Int64N(1000)
		op.Op, op.Arg = checker.OpCompareAndSet, fmt.Sprintf("%d %d", old, new)
		return t.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) {
			swapped, err := h.swap(ctx, old, new)
			if swapped {
				e.Result = checker.Swapped
			}
			return e, err
		})
	case choice < 4 && p.counters.fleet == nil:
		value := r.Int64N(1000)
		op.Op, op.Arg = checker.OpSet, strconv.FormatInt(value, 10)
		return t.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) { return e, h.set(ctx, value) })
	}
	delta := r.Int64N(8) - 2
	op.Arg = strconv.FormatInt(delta, 10)
	return t.Do(ctx, op, func(ctx context.Context) (history.Event, error) { return number(h.add(ctx, delta)) })
}

// The method `final` reads each counter once more.
func (p *countProgram) final(ctx context.Context, env *harness.Env) error {
	return p.counters.last(ctx, env, p.dir, func(open tallyOf) error {
		for n := range p.n + 1 {
			handle := open(n)
			e := history.Event{Kind: history.Invoke, Op: checker.OpGet, Object: p.path(n), Client: history.Nobody, Process: history.Nobody}
			env.Recorder().Record(e)
			value, err := handle.get(ctx)
			if e.Kind, e.Result = history.OK, strconv.FormatInt(value, 10); err != nil {
				e.Kind, e.Result, e.Error = history.Info, "", err.Error()
			}
			env.Recorder().Record(e)
			handle.close(ctx)
		}
		return nil
	})
}

// The type `tallies` has the open handles of a client. The client's threads share each handle.
type tallies struct {
	program *countProgram
	new     tallyOf

	mu   sync.Mutex
	open map[int]*sharedTally
}

type sharedTally struct {
	tally
	saw   lastSeen
	users int // protected by tallies.mu
}

// lastSeen is the last value that any of the threads has seen.
type lastSeen struct {
	mu    sync.Mutex
	value int64
}

func (l *lastSeen) Store(value int64) { l.mu.Lock(); l.value = value; l.mu.Unlock() }
func (l *lastSeen) Load() int64       { l.mu.Lock(); defer l.mu.Unlock(); return l.value }

func (t *tallies) use(n int) *sharedTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[n]
	if h == nil {
		h = &sharedTally{tally: t.new(n)}
		t.open[n] = h
	}
	h.users++
	return h
}

// The method `leave` ends a thread's use of a handle. It closes a handle that no thread uses any
// more, unless the handle is for the current counter.
func (t *tallies) leave(ctx context.Context, n int, h *sharedTally) {
	t.program.mu.Lock()
	over := t.program.n > n
	t.program.mu.Unlock()
	t.mu.Lock()
	h.users--
	over = over && h.users == 0
	if over {
		delete(t.open, n)
	}
	t.mu.Unlock()
	if over {
		h.close(ctx)
	}
}

// The type `tallied` implements tally with a counter.Counter.
type tallied struct{ c *counter.Counter }

func openCounter(s *session.Session, dir string) tallyOf {
	formats := []counter.Format{counter.Decimal, counter.BigEndian}
	return func(n int) tally {
		return tallied{counter.New(s, counterPath(dir, n), counter.Options{Format: formats[n%len(formats)]})}
	}
}

func (t tallied) add(ctx context.Context, delta int64) (int64, error) { return t.c.Add(ctx, delta) }
func (t tallied) get(ctx context.Context) (int64, error)              { return t.c.Get(ctx) }
func (t tallied) set(ctx context.Context, value int64) error          { return t.c.Set(ctx, value) }
func (t tallied) close(ctx context.Context)                           { _ = t.c.Close(ctx) }
func (t tallied) swap(ctx context.Context, old, new int64) (bool, error) {
	return t.c.CompareAndSet(ctx, old, new)
}

// addsOK calls f for each add that succeeded.
func addsOK(h *history.History, f func(history.Operation)) {
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Invoke.Op == checker.OpAdd && o.Outcome() == session.OK {
			f(o)
		}
	}
}

// The function `counted` requires that n adds succeeded.
func counted(n int) checker.Checker {
	return checker.AtLeast("run/adds", n, "adds", func(h *history.History) (found int) {
		addsOK(h, func(history.Operation) { found++ })
		return found
	})
}

// countedTogether requires n adds that each overlap an earlier add of the same client on the same
// counter. Such adds may have been combined.
func countedTogether(n int) checker.Checker {
	type handle struct {
		client int16
		object string
	}
	return checker.AtLeast("run/adds-together", n, "adds at the same time as another one of the same handle", func(h *history.History) (found int) {
		last := make(map[handle]int32) // index of the latest event that ended an earlier add
		addsOK(h, func(o history.Operation) {
			at := handle{o.Invoke.Client, o.Invoke.Object}
			if o.Invoke.Index < last[at] {
				found++
			}
			last[at] = max(last[at], o.Complete.Index)
		})
		return found
	})
}
