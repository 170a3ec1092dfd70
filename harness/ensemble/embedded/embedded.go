// Package embedded is a ZooKeeper ensemble inside the test's own process: package zktest behind the interface of package
// ensemble. It starts in no time, needs nothing, and runs on the virtual clock of a testing/synctest bubble as well.
//
// It is a model: what a run on it shows is to be believed of ZooKeeper as far as zktest is.
package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/zktest"
)

// Options say what ensemble to start. Of Config, Nodes, TickTime, SyncLimit, Port and Version mean something to it, and win
// over Model; there is no zoo.cfg, no JVM and no log.
type Options struct {
	ensemble.Config

	// Model is the rest: the seed, whether to listen on TCP, whether to step. A Port listens on TCP.
	Model zktest.Options
}

// Ensemble is an embedded ensemble. Besides ensemble.Ensemble it is a Killer, a Pauser, a Partitioner, a Wiper, a
// LogStaller, and has Timers and a Sequencer.
type Ensemble struct {
	// Model is what it is made of, with faults of its own: lag, lost replies, sessions that expire when told.
	Model *zktest.Ensemble

	mu     sync.Mutex
	down   []bool
	paused []bool
	closed bool
}

var (
	_ ensemble.Ensemble    = (*Ensemble)(nil)
	_ ensemble.Killer      = (*Ensemble)(nil)
	_ ensemble.Pauser      = (*Ensemble)(nil)
	_ ensemble.Partitioner = (*Ensemble)(nil)
	_ ensemble.DropCounter = (*Ensemble)(nil)
	_ ensemble.Timers      = (*Ensemble)(nil)
	_ ensemble.Wiper       = (*Ensemble)(nil)
	_ ensemble.Sequencer   = (*Ensemble)(nil)
	_ ensemble.LogStaller  = (*Ensemble)(nil)
	_ ensemble.TxnLogs     = (*Ensemble)(nil)
)

// Starter returns what starts such ensembles for a run; see ensemble.StarterOf.
// A model without a seed gets that of the run.
func Starter(opts Options) ensemble.Starter {
	return ensemble.StarterOf(opts.Config, func(_ context.Context, config ensemble.Config) (*Ensemble, error) {
		opts := opts
		opts.Config = config
		opts.Model.Seed = cmp.Or(opts.Model.Seed, config.Seed)
		return Start(opts)
	})
}

// Start starts an ensemble, which serves at once. The caller closes it, in the bubble that it was started in.
func Start(opts Options) (*Ensemble, error) {
	cfg, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	model := opts.Model
	model.Servers, model.TickTime, model.SyncLimit = cfg.Nodes, cfg.TickTime, cfg.SyncLimit
	model.MaxClientConns, model.KeepLog = -1, true
	model.Version = cmp.Or(zktest.Version(cfg.Version), model.Version)
	if cfg.Port != 0 {
		model.Listen = nil
		for i := range cfg.Nodes {
			model.Listen = append(model.Listen, fmt.Sprintf("127.0.0.1:%d", cfg.Port+i))
		}
	}
	m, err := zktest.New(model)
	if err != nil {
		return nil, fmt.Errorf("embedded ensemble: %w", err)
	}
	return &Ensemble{Model: m, down: make([]bool, cfg.Nodes), paused: make([]bool, cfg.Nodes)}, nil
}

// Kind is "embedded".
func (e *Ensemble) Kind() string { return "embedded" }

// Servers returns the addresses, which are real ones if the ensemble listens on TCP.
func (e *Ensemble) Servers() []string { return e.Model.Servers() }

// DialContext connects to the node of that address.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if !slices.Contains(e.Servers(), address) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is none of %v", address, e.Servers())}
	}
	return e.Model.DialContext(ctx, network, address)
}

// Ready waits for one quorum of all nodes that were not killed or paused.
func (e *Ensemble) Ready(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.Servers(), e.running, nil)
}

// Leader asks all nodes that run.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.Servers(), e.running))
}

// Close ends the ensemble and all that runs for it.
func (e *Ensemble) Close(context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.Model.Close()
}

// Kill ends a node without warning.
func (e *Ensemble) Kill(_ context.Context, node int) error {
	return e.change("kill", node, func() {
		if !e.down[node] {
			e.Model.Kill(node)
		}
		e.down[node], e.paused[node] = true, false
	})
}

// Start starts a killed node on what it had in its log.
func (e *Ensemble) Start(_ context.Context, node int) error {
	return e.change("start", node, func() {
		if e.down[node] {
			e.Model.Start(node)
		}
		e.down[node] = false
	})
}

// Pause makes a node do nothing, with all its connections open.
func (e *Ensemble) Pause(_ context.Context, node int) error {
	return e.change("pause", node, func() {
		if !e.down[node] && !e.paused[node] {
			e.Model.Pause(node)
			e.paused[node] = true
		}
	})
}

// Resume lets a paused node go on.
func (e *Ensemble) Resume(_ context.Context, node int) error {
	return e.change("resume", node, func() {
		if e.paused[node] {
			e.Model.Resume(node)
			e.paused[node] = false
		}
	})
}

// Cut drops what the links carry.
func (e *Ensemble) Cut(_ context.Context, edges ...ensemble.Edge) error {
	all, err := e.links("cut", edges)
	if err == nil {
		e.Model.Cut(all...)
	}
	return err
}

// Mend restores the links, or all. What waits on a link arrives with its sender's next retransmission.
func (e *Ensemble) Mend(_ context.Context, edges ...ensemble.Edge) error {
	all, err := e.links("mend", edges)
	if err == nil {
		e.Model.Mend(all...)
	}
	return err
}

// links returns the model's links.
func (e *Ensemble) links(what string, edges []ensemble.Edge) (all []zktest.Link, err error) {
	n := len(e.Servers())
	for _, l := range edges {
		if l.From < 0 || l.From >= n || l.To < 0 || l.To >= n || l.From == l.To {
			return nil, fmt.Errorf("%s %d->%d: no such link among %d nodes", what, l.From, l.To, n)
		}
		all = append(all, zktest.Link(l))
	}
	return all, e.open()
}

// Dropped returns how many packets the cuts have held back so far. Mend does not reset it.
func (e *Ensemble) Dropped(context.Context) (int64, error) {
	return int64(e.Model.HeldBack()), e.open()
}

// SetTimers makes the timers of a node run at a rate.
func (e *Ensemble) SetTimers(_ context.Context, node int, rate float64) error {
	return e.change("set the timers of", node, func() { e.Model.SetClockRate(node, rate) })
}

// StallLog stops the thread that expires sessions when it next writes to the log: it closes none. The model has no other threads
// that write there.
func (e *Ensemble) StallLog(_ context.Context, node int) error {
	const noExpiry = 1 << 40 * time.Millisecond // about 35 years
	return e.change("stall the log of", node, func() { e.Model.SetExpirerPace(node, noExpiry) })
}

// FlowLog lets it go on.
func (e *Ensemble) FlowLog(_ context.Context, node int) error {
	return e.change("let flow the log of", node, func() { e.Model.SetExpirerPace(node, 0) })
}

// Wipe deletes what a killed node has stored.
func (e *Ensemble) Wipe(_ context.Context, node int) error {
	runs := false
	err := e.change("wipe", node, func() {
		if runs = !e.down[node]; !runs {
			e.Model.Wipe(node)
		}
	})
	if runs {
		err = fmt.Errorf("wipe node %d: it runs", node)
	}
	return err
}

// SetSequence sets the counter of a znode's sequential children.
func (e *Ensemble) SetSequence(_ context.Context, path string, n int32) error {
	if err := e.open(); err != nil {
		return err
	}
	if !e.Model.SetSequence(path, n) {
		return fmt.Errorf("set the sequence of %s: there is no such znode", path)
	}
	return nil
}

// change runs a fault on one node. The model does it at once, so the mutex is held for no time.
func (e *Ensemble) change(what string, node int, f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if node < 0 || node >= len(e.down) {
		return fmt.Errorf("%s node %d: the ensemble has %d nodes", what, node, len(e.down))
	}
	if e.closed {
		return ensemble.ErrClosed
	}
	f()
	return nil
}

func (e *Ensemble) running(node int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.down[node] && !e.paused[node]
}

func (e *Ensemble) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ensemble.ErrClosed
	}
	return nil
}

// CopyTxnLogs writes the log of a node as one file.
func (e *Ensemble) CopyTxnLogs(_ context.Context, node int, dir string) error {
	var log bytes.Buffer
	var err error
	if changed := e.change("copy the transaction log of", node, func() { err = e.Model.WriteLog(node, &log) }); changed != nil {
		return changed
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "log.1"), log.Bytes(), 0o644)
}
