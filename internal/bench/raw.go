package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"
)

// The type `raw` is the library go-zookeeper. If the field `floor` is false, its clients use
// zk.Lock. If `floor` is true, they send only the requests that no recipe can avoid, and exchange
// all other information in memory.
type raw struct{ floor bool }

func (r raw) name() string {
	if r.floor {
		return "floor"
	}
	return "zk.Lock"
}

func (r raw) does(j Job) bool {
	switch j.Kind {
	case Lock:
		return true
	case Count, Put, Take, Watch:
		return r.floor && !j.Relaxed
	}
	return false
}

func (raw) close() {}

func (r raw) open(ctx context.Context, servers []string, n int) (fleet, error) {
	f := &rawFleet{floor: r.floor, conns: make([]*zk.Conn, n)}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(16)
	for i := range f.conns {
		work.Go(func() (err error) {
			f.conns[i], err = connect(ctx, servers[i%len(servers)])
			return err
		})
	}
	if err := work.Wait(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// The function `connect` opens a session. It discards the log messages of package zk.
func connect(ctx context.Context, server string) (*zk.Conn, error) {
	conn, events, err := zk.Connect([]string{server}, sessionTimeout, zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				return conn, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, context.Cause(ctx)
		}
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

type rawFleet struct {
	floor bool
	conns []*zk.Conn
}

func (f *rawFleet) close() {
	var work sync.WaitGroup
	for _, c := range f.conns {
		if c != nil {
			work.Go(c.Close)
		}
	}
	work.Wait()
}

var world = zk.WorldACL(zk.PermAll)

func (f *rawFleet) do(ctx context.Context, j Job) (Sample, error) {
	switch {
	case j.Kind == Lock && !f.floor:
		return f.lock(ctx, j)
	case j.Kind == Lock:
		return f.cycle(ctx, j)
	case j.Kind == Count:
		return f.count(ctx, j)
	case j.Kind == Put:
		return f.put(ctx, j)
	case j.Kind == Take:
		return f.take(ctx, j)
	case j.Kind == Watch:
		return f.watch(ctx, j)
	}
	return Sample{}, fmt.Errorf("no jobs of kind %q", j.Kind)
}

func (f *rawFleet) lock(ctx context.Context, j Job) (Sample, error) {
	locks := make([]*zk.Lock, j.Clients)
	for i := range locks {
		locks[i] = zk.NewLock(f.conns[i], pathOf(j, i), world)
	}
	return j.repeat(ctx, func(_ context.Context, i, _ int) error {
		if err := locks[i].Lock(); err != nil {
			return err
		}
		return locks[i].Unlock()
	})
}

// The method `cycle` sends a create and a list together, and then a delete, like a contender in a
// lock queue. A mutex in memory ensures that only one client of each path sends a delete at a time.
func (f *rawFleet) cycle(ctx context.Context, j Job) (Sample, error) {
	turns := make([]sync.Mutex, max(j.Width, 1))
	for i := range turns {
		if err := ignore(f.conns[0].Create(pathOf(j, i), nil, 0, world))(zk.ErrNodeExists); err != nil {
			return Sample{}, err
		}
	}
	return j.repeat(ctx, func(_ context.Context, i, _ int) error {
		dir, c := pathOf(j, i), f.conns[i]
		var list errgroup.Group
		list.Go(func() error { _, _, err := c.Children(dir); return err })
		node, err := c.Create(dir+"/n-", nil, zk.FlagEphemeralSequential, world)
		if err = errors.Join(err, list.Wait()); err != nil {
			return err
		}
		turn := &turns[i%len(turns)]
		turn.Lock()
		defer turn.Unlock()
		return c.Delete(node, -1)
	})
}

// The method `count` increments a counter in memory and writes its value to a znode. A mutex in
// memory ensures that only one client does so at a time.
func (f *rawFleet) count(ctx context.Context, j Job) (Sample, error) {
	var turn sync.Mutex
	value := 0
	return j.repeat(ctx, func(_ context.Context, i, _ int) error {
		turn.Lock()
		defer turn.Unlock()
		value++
		_, err := f.conns[i].Set(j.Path, []byte(strconv.Itoa(value)), -1)
		return err
	})
}

// The function `ignore` is for expressions of the form ignore(f())(what). Such an expression
// discards the first result of f. The value of the expression is nil if the error of f is `what`,
// and otherwise it is the error of f.
func ignore[T any](_ T, err error) func(error) error {
	return func(what error) error {
		if errors.Is(err, what) {
			return nil
		}
		return err
	}
}

func (f *rawFleet) put(ctx context.Context, j Job) (Sample, error) {
	item := make([]byte, itemSize)
	return j.spread(ctx, func(_ context.Context, i, n int) error {
		create := zk.CreateRequest{Path: j.Path + "/n-", Data: item, Acl: world, Flags: zk.FlagSequence}
		if n == 1 {
			_, err := f.conns[i].Create(create.Path, create.Data, create.Flags, create.Acl)
			return err
		}
		_, err := f.conns[i].Multi(slices.Repeat([]any{&create}, n)...)
		return err
	})
}

// The method `take` lists the items once for all clients, and distributes the items among the
// clients.
func (f *rawFleet) take(ctx context.Context, j Job) (Sample, error) {
	names, _, err := f.conns[0].Children(j.Path)
	if err != nil {
		return Sample{}, err
	}
	slices.Sort(names)
	left := make(chan string, len(names))
	for _, name := range names {
		left <- j.Path + "/" + name
	}
	close(left)
	return j.drain(ctx, func(_ context.Context, i int) (int, error) {
		var gets []string
		var deletes []any
		for path := range left {
			gets, deletes = append(gets, path), append(deletes, &zk.DeleteRequest{Path: path, Version: -1})
			if len(gets) == j.Batch {
				break
			}
		}
		if len(gets) == 0 {
			return 0, nil
		}
		var work errgroup.Group
		for _, path := range gets {
			work.Go(func() error { _, _, err := f.conns[i].Get(path); return err })
		}
		if err := work.Wait(); err != nil {
			return 0, err
		}
		if len(gets) == 1 {
			return 1, f.conns[i].Delete(gets[0], -1)
		}
		_, err := f.conns[i].Multi(deletes...)
		return len(gets), err
	})
}

func (f *rawFleet) watch(ctx context.Context, j Job) (Sample, error) {
	return j.fanOut(ctx, func(_ context.Context, k int) error {
		_, err := f.conns[0].Set(j.Path, []byte(strconv.Itoa(k)), -1)
		return err
	}, func(ctx context.Context, i int, seen func(int)) error {
		// Possibly the server of this client does not have the znode yet.
		if _, err := f.conns[i].Sync(j.Path); err != nil {
			return err
		}
		for {
			data, _, event, err := f.conns[i].GetW(j.Path)
			if err != nil {
				return err
			}
			seen(number(data))
			select {
			case <-event:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}
