package scenarios

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A plainCounter implements a counter as many programs do. It reads the value, and writes the new
// value on condition that the version has not changed. If a reply is lost, it reports that the
// outcome is unknown. So a plainCounter without any of the countMistakes passes the scenario
// `counter`.
type plainCounter struct {
	s    *session.Session
	path string
	does countMistakes

	turn chan struct{}
	mu   sync.Mutex
	adds []*combinedAdd
}

// countMistakes are the mistakes of a plainCounter.
type countMistakes struct {
	blind         bool // makes the change again when the reply is lost
	versionless   bool // writes without the version
	oneResult     bool // combines adds, and gives all of them the last value
	reportsFailed bool // reports a write as failed if its reply is lost
	ownServer     bool // reads the value without a read barrier
}

func openPlain(does countMistakes) func(s *session.Session, dir string) tallyOf {
	return func(s *session.Session, dir string) tallyOf {
		return func(n int) tally {
			return &plainCounter{s: s, path: counterPath(dir, n), does: does, turn: make(chan struct{}, 1)}
		}
	}
}

// The method `read` returns the value and its version. If there is no counter, `read` creates it
// with the value 0.
func (p *plainCounter) read(ctx context.Context) (int64, int32, error) {
	for {
		if err := recipe.ReadBarrier(ctx, p.s, p.path); err != nil {
			return 0, 0, err
		}
		node, err := p.s.Get(ctx, p.path)
		if err == nil {
			value, err := strconv.ParseInt(string(node.Data), 10, 64)
			return value, node.Stat.Version, err
		}
		if !errors.Is(err, session.ErrNoNode) {
			return 0, 0, err
		}
		err = recipe.WithParents(ctx, p.s, p.path, func(ctx context.Context) error {
			_, err := p.s.Create(ctx, p.path, []byte("0"), session.Persistent)
			return err
		})
		if err != nil && !errors.Is(err, session.ErrNodeExists) && !session.ConnectionLost(err) {
			return 0, 0, err
		}
	}
}

// errNoChange is the error of a change that leaves the value as it is.
var errNoChange = errors.New("no change")

func (p *plainCounter) change(ctx context.Context, to func(value int64) (int64, error)) (int64, error) {
	failed := func(err error) error {
		return &session.RequestError{Op: "set", Path: p.path, Outcome: session.Failed, Err: err}
	}
	for {
		value, version, err := p.read(ctx)
		if err != nil {
			return 0, failed(err)
		}
		after, err := to(value)
		if err != nil {
			return 0, failed(err)
		}
		if p.does.versionless {
			version = session.AnyVersion
		}
		_, err = p.s.Set(ctx, p.path, strconv.AppendInt(nil, after, 10), version)
		unsent := session.OutcomeOf(err) == session.Failed
		switch {
		case err == nil:
			return after, nil
		case errors.Is(err, session.ErrBadVersion), session.ConnectionLost(err) && (unsent || p.does.blind):
			continue
		case p.does.reportsFailed:
			return 0, failed(err)
		}
		return 0, err
	}
}

func (p *plainCounter) add(ctx context.Context, delta int64) (int64, error) {
	if p.does.oneResult {
		return p.addTogether(ctx, delta)
	}
	return p.change(ctx, func(value int64) (int64, error) { return value + delta, nil })
}

func (p *plainCounter) get(ctx context.Context) (int64, error) {
	if !p.does.ownServer {
		value, _, err := p.read(ctx)
		return value, err
	}
	node, err := p.s.Get(ctx, p.path)
	if errors.Is(err, session.ErrNoNode) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(node.Data), 10, 64)
}

func (p *plainCounter) set(ctx context.Context, value int64) error {
	_, err := p.change(ctx, func(int64) (int64, error) { return value, nil })
	return err
}

func (p *plainCounter) swap(ctx context.Context, old, new int64) (bool, error) {
	_, err := p.change(ctx, func(value int64) (int64, error) {
		if value != old {
			return 0, errNoChange
		}
		return new, nil
	})
	if errors.Is(err, errNoChange) {
		return false, nil
	}
	return err == nil, err
}

func (p *plainCounter) close(context.Context) {}

// A combinedAdd is the add of one call of addTogether. Either that call writes the add, or another
// call writes it together with its own add.
type combinedAdd struct {
	delta, value int64
	err          error
	done         chan struct{}
}

// addTogether waits for its turn, and then writes the sum of all adds that wait at that time. It
// returns earlier if another call has already written this call's add.
func (p *plainCounter) addTogether(ctx context.Context, delta int64) (int64, error) {
	a := &combinedAdd{delta: delta, done: make(chan struct{})}
	p.mu.Lock()
	p.adds = append(p.adds, a)
	p.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	p.mu.Lock()
	all := p.adds
	p.adds = nil
	p.mu.Unlock()
	sum := int64(0)
	for _, one := range all {
		sum += one.delta
	}
	if len(all) > 0 {
		value, err := p.change(ctx, func(value int64) (int64, error) { return value + sum, nil })
		for _, one := range all {
			one.value, one.err = value, err
			close(one.done)
		}
	}
	return a.value, a.err
}
