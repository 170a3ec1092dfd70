// Package embedded runs a ZooKeeper ensemble inside the test's own process. It adapts package
// zktest to the interface of package ensemble. The ensemble starts at once, needs nothing
// installed, and also runs on the virtual clock of a testing/synctest bubble.
//
// The ensemble is a model: the result of a run on it holds for ZooKeeper only as far as zktest
// behaves like ZooKeeper.
package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/zktest"
)

// Options configure an ensemble. Of Config, only Nodes, TickTime, SyncLimit, Port, Version and Seed
// have an effect. These fields override the options in Model, except Seed, which has an effect only
// if Model has no seed. There is no zoo.cfg, no JVM and no log. Start returns an error if Config
// has Observers or Regions.
type Options struct {
	ensemble.Config

	// Model has the options of the zktest ensemble that Config does not have, for example whether
	// to listen on TCP. If Port is set, the ensemble listens on TCP in any case.
	Model zktest.Options
}

// Ensemble is an embedded ensemble. In addition to ensemble.Ensemble it implements Killer, Pauser,
// Partitioner, DropCounter, Timers, Wiper, Sequencer, LogStaller, TxnLogs and Expirer.
type Ensemble struct {
	// Model is the zktest ensemble, which has further faults: lag, lost replies, sessions that
	// expire on command.
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
	_ ensemble.Expirer     = (*Ensemble)(nil)
)

// Starter returns a function that starts an ensemble for each run. The function uses the run's
// Config in place of opts.Config. If Version is empty in the run's Config, the function uses the
// Version of opts.Config: see ensemble.StarterOf.
func Starter(opts Options) ensemble.Starter {
	return ensemble.StarterOf(opts.Config, func(_ context.Context, config ensemble.Config) (*Ensemble, error) {
		opts := opts
		opts.Config = config
		return Start(opts)
	})
}

// Start starts an ensemble, which serves at once. The caller closes it. If Start was called in a
// testing/synctest bubble, Close must be called in the same bubble.
func Start(opts Options) (*Ensemble, error) {
	cfg, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	if cfg.Observers > 0 || len(cfg.Regions) > 0 {
		return nil, fmt.Errorf("embedded ensemble: "+
			"observers and regions need an ensemble of another kind: %w", ensemble.ErrUnable)
	}
	model := opts.Model
	model.Servers, model.TickTime, model.SyncLimit = cfg.Nodes, cfg.TickTime, cfg.SyncLimit
	model.MaxClientConns, model.KeepLog = -1, true
	model.Version = cmp.Or(zktest.Version(cfg.Version), model.Version)
	model.Seed = cmp.Or(model.Seed, cfg.Seed)
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

// Kind returns "embedded".
func (e *Ensemble) Kind() string { return "embedded" }

// Servers returns the addresses of the nodes. If the ensemble listens on TCP, these are the
// addresses of its sockets.
func (e *Ensemble) Servers() []string { return e.Model.Servers() }

// DialContext connects to the node with that address.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if _, err := ensemble.NodeAt(e.Servers(), network, address); err != nil {
		return nil, err
	}
	return e.Model.DialContext(ctx, network, address)
}

// Ready waits until all nodes that were not killed or paused belong to one quorum.
func (e *Ensemble) Ready(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.Servers(), e.running, nil)
}

// Leader queries all running nodes.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.Servers(), e.running))
}

// Close ends the ensemble and all its goroutines.
func (e *Ensemble) Close(context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.Model.Close()
}

// Kill ends a node without a shutdown.
func (e *Ensemble) Kill(_ context.Context, node int) error {
	return e.change("kill", node, func() {
		if !e.down[node] {
			e.Model.Kill(node)
		}
		e.down[node], e.paused[node] = true, false
	})
}

// Start starts a killed node on the data in its log.
func (e *Ensemble) Start(_ context.Context, node int) error {
	return e.change("start", node, func() {
		if e.down[node] {
			e.Model.Start(node)
		}
		e.down[node] = false
	})
}

// Pause suspends a node and leaves all its connections open.
func (e *Ensemble) Pause(_ context.Context, node int) error {
	return e.change("pause", node, func() {
		if !e.down[node] && !e.paused[node] {
			e.Model.Pause(node)
			e.paused[node] = true
		}
	})
}

// Resume resumes a paused node.
func (e *Ensemble) Resume(_ context.Context, node int) error {
	return e.change("resume", node, func() {
		if e.paused[node] {
			e.Model.Resume(node)
			e.paused[node] = false
		}
	})
}

// Cut drops the packets of the edges.
func (e *Ensemble) Cut(_ context.Context, edges ...ensemble.Edge) error {
	all, err := e.links("cut", edges)
	if err == nil {
		e.Model.Cut(all...)
	}
	return err
}

// Mend restores the edges, or all edges if none is given. If a cut has stopped packets, their data
// arrive when the sender retransmits them.
func (e *Ensemble) Mend(_ context.Context, edges ...ensemble.Edge) error {
	all, err := e.links("mend", edges)
	if err == nil {
		e.Model.Mend(all...)
	}
	return err
}

// The method `links` returns the edges as links of the model.
func (e *Ensemble) links(what string, edges []ensemble.Edge) (all []zktest.Link, err error) {
	if err := ensemble.CheckEdges(what, edges, len(e.Servers())); err != nil {
		return nil, err
	}
	for _, l := range edges {
		all = append(all, zktest.Link(l))
	}
	return all, e.open()
}

// Dropped returns the number of packets that cuts have stopped so far. Mend does not reset the
// number.
func (e *Ensemble) Dropped(context.Context) (int64, error) {
	return int64(e.Model.HeldBack()), e.open()
}

// SetTimers makes the timers of a node run at a rate; 1 is normal.
func (e *Ensemble) SetTimers(_ context.Context, node int, rate float64) error {
	return e.change("set the timers of", node, func() { e.Model.SetClockRate(node, rate) })
}

// StallLog stalls the thread that expires sessions. The thread blocks when it next writes a line to
// the log, and closes no session after that. No other thread of the model writes to the log.
func (e *Ensemble) StallLog(_ context.Context, node int) error {
	const noExpiry = 1 << 40 * time.Millisecond // about 35 years
	return e.change("stall the log of", node, func() { e.Model.SetExpirerPace(node, noExpiry) })
}

// FlowLog lets the log accept bytes again.
func (e *Ensemble) FlowLog(_ context.Context, node int) error {
	return e.change("resume the log of", node, func() { e.Model.SetExpirerPace(node, 0) })
}

// Wipe deletes the data of a killed node.
func (e *Ensemble) Wipe(_ context.Context, node int) error {
	runs := false
	err := e.change("wipe", node, func() {
		if runs = !e.down[node]; !runs {
			e.Model.Wipe(node)
		}
	})
	if runs {
		err = fmt.Errorf("wipe node %d: the node runs: kill it first", node)
	}
	return err
}

// SetSequence sets the counter of a znode's sequential children.
func (e *Ensemble) SetSequence(_ context.Context, path string, n int32) error {
	if err := e.open(); err != nil {
		return err
	}
	if !e.Model.SetSequence(path, n) {
		return fmt.Errorf("set the sequence of %s: the znode does not exist", path)
	}
	return nil
}

// The method `change` runs a fault on one node, unless the ensemble is closed. It holds the mutex
// only briefly, because the functions of the model do not wait.
func (e *Ensemble) change(what string, node int, f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := ensemble.CheckNode(what, node, len(e.down)); err != nil {
		return err
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

// Expiries returns the sessions that leaders have expired.
func (e *Ensemble) Expiries(context.Context) ([]ensemble.Expiry, error) {
	var all []ensemble.Expiry
	for _, x := range e.Model.Expiries() {
		all = append(all, ensemble.Expiry(x))
	}
	return all, e.open()
}
