// Package embedded makes an ensemble of the harness of package zktest: servers inside of the process, up in milliseconds,
// without Java and without Docker.
//
// # Guarantees
//
// Called in a synctest bubble, it runs on the bubble's clock.
//
// # Not guaranteed
//
// It is a model of ZooKeeper, as good as package zktest is. What a run shows on it, a run in containers has to confirm.
package embedded

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/zktest"
)

// Options say what ensemble to start. The zero value is three servers in memory.
type Options struct {
	ensemble.Config // InitLimit, Extra, JVMFlags and LogDir mean nothing here

	TCP bool // listen on the loopback interface; so does a Config with a Port
}

// Ensemble is an ensemble of the harness that is a zktest.Ensemble. It is a Killer, a Pauser and a Partitioner.
type Ensemble struct {
	*zktest.Ensemble
	nodes int

	mu     sync.Mutex
	closed bool
}

var (
	_ ensemble.Ensemble    = (*Ensemble)(nil)
	_ ensemble.Killer      = (*Ensemble)(nil)
	_ ensemble.Pauser      = (*Ensemble)(nil)
	_ ensemble.Partitioner = (*Ensemble)(nil)
)

// Start starts an ensemble. The caller closes it.
func Start(o Options) (*Ensemble, error) {
	config, err := o.Config.Complete()
	if err != nil {
		return nil, err
	}
	zo := zktest.Options{
		Servers: config.Nodes, Seed: config.Seed, TickTime: config.TickTime, SyncLimit: config.SyncLimit,
		MaxClientConns: -1, TCP: o.TCP,
	}
	if config.Port != 0 {
		for i := range config.Nodes {
			zo.Listen = append(zo.Listen, fmt.Sprintf("127.0.0.1:%d", config.Port+i))
		}
	}
	z, err := zktest.New(zo)
	if err != nil {
		return nil, err
	}
	return &Ensemble{Ensemble: z, nodes: config.Nodes}, nil
}

// Kind is "embedded".
func (e *Ensemble) Kind() string { return "embedded" }

// DialContext connects to a server by its address.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if e.isClosed() {
		return nil, ensemble.ErrClosed
	}
	return e.Ensemble.DialContext(ctx, network, address)
}

// Ready waits until all servers that are not killed serve under one leader.
func (e *Ensemble) Ready(ctx context.Context) error {
	for !e.Ensemble.Ready() {
		if e.isClosed() {
			return ensemble.ErrClosed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no quorum of the %d embedded servers: %w", e.nodes, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return e.open()
}

// Leader returns the index of the server that leads a majority.
func (e *Ensemble) Leader(context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	leader := e.Ensemble.Leader()
	if leader < 0 {
		return 0, ensemble.ErrNoLeader
	}
	return leader, nil
}

// Close stops the servers and closes all connections.
func (e *Ensemble) Close(context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.Ensemble.Close()
}

func (e *Ensemble) isClosed() bool { return e.open() != nil }

func (e *Ensemble) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ensemble.ErrClosed
	}
	return nil
}

// Kill ends a server without any shutdown.
func (e *Ensemble) Kill(_ context.Context, node int) error { return e.fault(e.Ensemble.Kill, node) }

// Start starts a server again, on its old data.
func (e *Ensemble) Start(_ context.Context, node int) error { return e.fault(e.Ensemble.Start, node) }

// Pause makes a server do nothing, without telling anybody.
func (e *Ensemble) Pause(_ context.Context, node int) error { return e.fault(e.Ensemble.Pause, node) }

// Resume lets it go on.
func (e *Ensemble) Resume(_ context.Context, node int) error { return e.fault(e.Ensemble.Resume, node) }

func (e *Ensemble) fault(apply func(int), node int) error {
	if err := e.open(); err != nil {
		return err
	}
	if node < 0 || node >= e.nodes {
		return fmt.Errorf("embedded: no node %d of %d", node, e.nodes)
	}
	apply(node)
	return nil
}

// Cut adds to the links that are cut.
func (e *Ensemble) Cut(_ context.Context, links ...ensemble.Link) error {
	if err := e.open(); err != nil {
		return err
	}
	for _, l := range links {
		if l.From == l.To || min(l.From, l.To) < 0 || max(l.From, l.To) >= e.nodes {
			return fmt.Errorf("embedded: no link from node %d to node %d of %d", l.From, l.To, e.nodes)
		}
	}
	for _, l := range links {
		e.Ensemble.Cut(zktest.Link(l))
	}
	return nil
}

// Mend restores all links.
func (e *Ensemble) Mend(context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	e.Ensemble.Mend()
	return nil
}
