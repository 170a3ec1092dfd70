package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Kill ends the server of a node with SIGKILL and waits until it has ended. The node keeps its
// data.
func (e *Ensemble) Kill(_ context.Context, i int) error {
	return e.change("kill", i, (*node).kill)
}

// Start starts a killed node on its data. The node may have other ports than before.
func (e *Ensemble) Start(_ context.Context, i int) error {
	return e.change("start", i, func(n *node) error { return n.launch(e.config, e.library) })
}

// Version returns the version of a node. If no version was configured, the result is the version of
// the node's jars.
func (e *Ensemble) Version(i int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[i].install.version
}

// SetVersion gives a killed node the jars of another version.
func (e *Ensemble) SetVersion(_ context.Context, i int, version string) error {
	return e.change("set the version of", i, func(n *node) error {
		found, ok := e.found[version]
		if !ok {
			return fmt.Errorf("version %q is neither in Config.Version nor in Config.Later: %w",
				version, ensemble.ErrUnable)
		}
		return n.whileDown(func() error {
			n.install = found
			return nil
		})
	})
}

// Pause stops the process of a node. The kernel still accepts connections, but nothing answers.
func (e *Ensemble) Pause(_ context.Context, i int) error {
	return e.change("pause", i, func(n *node) error { return n.stop(true) })
}

// Resume resumes a paused node.
func (e *Ensemble) Resume(_ context.Context, i int) error {
	return e.change("resume", i, func(n *node) error { return n.stop(false) })
}

// StallLog fills the pipe to which the server of a node writes its log, and stops reading from it.
func (e *Ensemble) StallLog(ctx context.Context, i int) error {
	return e.change("stall the log of", i, func(n *node) error { return n.stallLog(ctx) })
}

// FlowLog resumes reading from the pipe to which the server writes its log.
func (e *Ensemble) FlowLog(_ context.Context, i int) error {
	return e.change("resume the log of", i, (*node).flowLog)
}

// Wipe deletes the data of a killed node.
func (e *Ensemble) Wipe(_ context.Context, i int) error {
	return e.change("wipe", i, func(n *node) error { return n.whileDown(n.wipe) })
}

// FlipBit flips a bit of a killed node's newest transaction log or snapshot.
func (e *Ensemble) FlipBit(_ context.Context, i int, file ensemble.StoredFile, share float64) error {
	return e.change("flip a bit of", i, func(n *node) error { return n.whileDown(func() error { return n.flipBit(file, share) }) })
}

// Save copies the data of a killed node.
func (e *Ensemble) Save(_ context.Context, i int) error {
	return e.change("save", i, func(n *node) error {
		return n.whileDown(func() error {
			return errors.Join(os.RemoveAll(n.saved()), os.CopyFS(n.saved(), os.DirFS(n.data())))
		})
	})
}

// Restore replaces the data of a killed node with the copy that Save made.
func (e *Ensemble) Restore(_ context.Context, i int) error {
	return e.change("restore", i, func(n *node) error {
		return n.whileDown(func() error {
			if _, err := os.Stat(n.saved()); err != nil {
				return fmt.Errorf("%w: %w", ensemble.ErrNothingStored, err)
			}
			return errors.Join(os.RemoveAll(n.data()), os.CopyFS(n.data(), os.DirFS(n.saved())))
		})
	})
}

// Truncate removes about half of the newest transaction log of a killed node.
func (e *Ensemble) Truncate(_ context.Context, i int) error {
	return e.change("truncate", i, func(n *node) error { return n.whileDown(n.truncate) })
}

// The method `change` runs a fault on one node, unless the ensemble is closed.
func (e *Ensemble) change(what string, i int, f func(*node) error) error {
	if err := ensemble.CheckNode(what, i, len(e.nodes)); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ensemble.ErrClosed
	}
	if err := f(e.nodes[i]); err != nil {
		return fmt.Errorf("%s node %d: %w", what, i, err)
	}
	return nil
}

// Cut stops the streams of the edges in the relays, and resets new connections on these edges.
func (e *Ensemble) Cut(_ context.Context, edges ...ensemble.Edge) error {
	if err := e.open(); err != nil {
		return err
	}
	gates, err := e.gatesOf("cut", edges)
	for _, g := range gates {
		g.cut()
	}
	return err
}

// Mend lets the streams of the given edges continue where they stopped. If no edge is given, Mend
// does so for all edges.
func (e *Ensemble) Mend(_ context.Context, edges ...ensemble.Edge) error {
	if err := e.open(); err != nil {
		return err
	}
	if len(edges) == 0 {
		for _, g := range e.gates {
			g.mend()
			g.stopped.Store(0)
		}
	}
	gates, err := e.gatesOf("mend", edges)
	for _, g := range gates {
		g.mend()
	}
	return err
}

// SetPace sets the pace of the edges in the relays.
func (e *Ensemble) SetPace(_ context.Context, pace ensemble.Pace, edges ...ensemble.Edge) error {
	if err := e.open(); err != nil {
		return err
	}
	gates, err := e.gatesOf("set the pace", edges)
	for _, g := range gates {
		g.pace.Store(&pace)
	}
	return err
}

// gatesOf returns the gates of the given edges. If it returns an error, it returns no gates.
func (e *Ensemble) gatesOf(what string, edges []ensemble.Edge) (gates []*gate, err error) {
	if e.config.Members && len(edges) > 0 {
		return nil, fmt.Errorf("%s: nodes whose membership may change have no relays between them: %w", what, ensemble.ErrUnable)
	}
	if err := ensemble.CheckEdges(what, edges, len(e.nodes)); err != nil {
		return nil, err
	}
	for _, l := range edges {
		gates = append(gates, e.gates[l])
	}
	return gates, nil
}

// Paced returns the number of chunks of streams that SetPace has delayed.
func (e *Ensemble) Paced(context.Context) (n int64, err error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	for _, g := range e.gates {
		n += g.paced.Load()
	}
	return n, nil
}

// Dropped returns the number of chunks of data that cuts have stopped, plus the number of
// connections that cuts have reset.
func (e *Ensemble) Dropped(context.Context) (n int64, err error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	for _, g := range e.gates {
		n += g.stopped.Load()
	}
	return n, nil
}
