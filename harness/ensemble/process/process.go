package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// Options configure an ensemble. The zero value is three nodes of the default version. Find
// describes where each version is found.
type Options struct {
	ensemble.Config

	// Progress gets a line for each slow step. If it is nil, nothing is written.
	Progress io.Writer

	// Dir is the directory in which the ensemble creates a directory for data and logs while it
	// runs. If it is empty, the system's temporary directory is used.
	Dir string
}

const startTimeout = 60 * time.Second

// Ensemble is a ZooKeeper ensemble of local JVMs. In addition to ensemble.Ensemble it implements
// Killer, Upgrader, Pauser, Partitioner, DropCounter, Pacer, Members, Syncer, Decayer, Truncater,
// LogStaller, TxnLogs and Logs.
type Ensemble struct {
	config  ensemble.Config
	found   map[string]install // version -> its installation
	dir     string
	servers []string
	nodes   []*node
	relays  []*relay
	library string // library that servers preload; empty if there is none. See slowdisk.go
	gates   map[ensemble.Edge]*gate

	mu     sync.Mutex // held while nodes start and end, so that Close leaves none running
	closed bool
}

var (
	_ ensemble.Ensemble    = (*Ensemble)(nil)
	_ ensemble.Killer      = (*Ensemble)(nil)
	_ ensemble.Upgrader    = (*Ensemble)(nil)
	_ ensemble.Pauser      = (*Ensemble)(nil)
	_ ensemble.Partitioner = (*Ensemble)(nil)
	_ ensemble.DropCounter = (*Ensemble)(nil)
	_ ensemble.Pacer       = (*Ensemble)(nil)
	_ ensemble.Members     = (*Ensemble)(nil)
	_ ensemble.Syncer      = (*Ensemble)(nil)
	_ ensemble.Decayer     = (*Ensemble)(nil)
	_ ensemble.Truncater   = (*Ensemble)(nil)
	_ ensemble.LogStaller  = (*Ensemble)(nil)
	_ ensemble.TxnLogs     = (*Ensemble)(nil)
	_ ensemble.Logs        = (*Ensemble)(nil)
)

// Starter returns a function that starts an ensemble for each run. The function uses the run's
// Config in place of opts.Config. If LogDir or Version is empty in the run's Config, the function
// uses the LogDir or Version of opts.Config: see ensemble.StarterOf.
func Starter(opts Options) ensemble.Starter {
	return ensemble.StarterOf(opts.Config, func(ctx context.Context, config ensemble.Config) (*Ensemble, error) {
		opts := opts
		opts.Config = config
		return Start(ctx, opts)
	})
}

// Start starts an ensemble and returns when the ensemble has a quorum. The caller closes it.
//
// If Start fails, for example because ctx ends, nothing of the ensemble remains. The error names
// what is missing (Java, ZooKeeper, a port) or quotes the end of the log of a dead node.
func Start(ctx context.Context, opts Options) (*Ensemble, error) {
	e, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("process ensemble: %w", err)
	}
	return e, nil
}

func start(ctx context.Context, opts Options) (*Ensemble, error) {
	cfg, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	if err := procs.Able(); err != nil {
		return nil, err
	}
	e := &Ensemble{config: cfg, gates: map[ensemble.Edge]*gate{}, found: map[string]install{}}
	for _, version := range cfg.Versions() {
		found, err := find(ctx, version, opts.Progress)
		if err != nil {
			return nil, err
		}
		e.found[version], e.found[found.version] = found, found
	}
	if e.dir, err = owner.MkdirTemp(opts.Dir, "process"); err != nil {
		return nil, err
	}
	if cfg.Syncs {
		e.library, err = buildSlowdisk(ctx, e.dir)
	}
	if err == nil {
		err = e.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close(context.WithoutCancel(ctx)))
	}
	return e, nil
}

func (e *Ensemble) run(ctx context.Context) error {
	for i := range e.config.Nodes {
		e.servers = append(e.servers, fmt.Sprintf("node%d:2181", i))
		dir := filepath.Join(e.dir, fmt.Sprintf("node%d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		n := &node{index: i, dir: dir, peers: make([]peer, e.config.Nodes), install: e.found[e.config.VersionOf(i)]}
		e.nodes = append(e.nodes, n)
		if err := n.reserveClient(e.config); err != nil {
			return err
		}
	}
	connect := e.connect
	if e.config.Members {
		connect = e.chooseMembers
	}
	if err := connect(); err != nil {
		return err
	}
	for _, n := range e.nodes {
		if err := n.launch(e.config, e.library); err != nil {
			return fmt.Errorf("start node %d: %w", n.index, err)
		}
	}
	return ensemble.ReadyWithin(ctx, e, startTimeout)
}

// The method `connect` creates relays between all pairs of nodes, in both directions.
func (e *Ensemble) connect() error {
	for from := range e.nodes {
		for to := range e.nodes {
			if from != to {
				edge := ensemble.Edge{From: from, To: to}
				e.gates[edge] = &gate{distance: e.config.PaceOf(edge)}
			}
		}
	}
	for link, there := range e.gates {
		from, to := e.nodes[link.From], e.nodes[link.To]
		back := e.gates[ensemble.Edge{From: link.To, To: link.From}]
		quorum := &relay{there: there, back: back, target: to.quorumAddress}
		// When node `from` connects to node `to`, node `from` announces its election address. This
		// relay replaces that address with the address of the relay for the opposite direction.
		election := &relay{there: there, back: back, target: to.electionAddress,
			translate: greet(func() string { return to.peers[link.From].election })}
		for _, r := range []*relay{quorum, election} {
			if err := r.listen(); err != nil {
				return err
			}
			e.relays = append(e.relays, r)
		}
		from.peers[link.To] = peer{quorum: quorum.address(), election: election.address()}
	}
	return nil
}

// Kind returns "process".
func (e *Ensemble) Kind() string { return "process" }

// Servers returns node0:2181, node1:2181 and so on.
func (e *Ensemble) Servers() []string { return slices.Clone(e.servers) }

// DialContext connects to the node with that address.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	i, err := ensemble.NodeAt(e.servers, network, address)
	if err != nil {
		return nil, err
	}
	if err := e.open(); err != nil {
		return nil, err
	}
	n := e.nodes[i]
	if !n.alive() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is down", address)}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, n.clientAddress())
}

func (e *Ensemble) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ensemble.ErrClosed
	}
	return nil
}

func (e *Ensemble) running(i int) bool { return e.nodes[i].running() }

// Ready waits until all nodes that were not killed or paused belong to one quorum. If a node has
// ended by itself, Ready returns at once with an error that quotes the end of the node's log.
func (e *Ensemble) Ready(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	for {
		if err := ensemble.AwaitQuorum(ctx, e.DialContext, e.servers, e.running, e.died); err != nil {
			return err
		}
		// Another program may have taken one of our ports, so that its server answered AwaitQuorum
		// in place of our server. Our server for that port has then died, or is about to die. So
		// check that no node has died, and that the server at each port is ours.
		died := errors.Join(e.open(), e.died())
		err := errors.Join(died, e.verify(ctx))
		if died != nil || !errors.Is(err, errQuorumLost) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// errQuorumLost means that a node stopped serving after the quorum had been found.
var errQuorumLost = errors.New("the quorum was lost again")

func (e *Ensemble) died() error {
	var errs []error
	for _, n := range e.nodes {
		errs = append(errs, n.died())
	}
	return errors.Join(errs...)
}

// The method `verify` checks that each node reports a configuration that names the directory of
// that node.
func (e *Ensemble) verify(ctx context.Context) error {
	for i, n := range e.nodes {
		if !n.running() {
			continue
		}
		text, err := ensemble.FourLetters(ctx, e.DialContext, e.servers[i], "conf")
		if err != nil { // such as a reset by a server that is losing its quorum
			return fmt.Errorf("%w: node %d: %w", errQuorumLost, i, err)
		}
		if err := ours(text, n.dir); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

// The function `ours` checks that a server's answer to the four-letter word conf contains the
// directory `dir`. The argument `conf` is that answer. A server without a quorum does not name its
// directory, and the answer of a server that is just losing its quorum can be empty. For an answer
// of these two kinds, `ours` returns errQuorumLost.
func ours(conf, dir string) error {
	switch {
	case strings.Contains(conf, dir):
		return nil
	case !strings.Contains(conf, "dataDir=") && !strings.Contains(conf, "whitelist"):
		return errQuorumLost
	}
	return fmt.Errorf("the server at its port may belong to another program: "+
		"its answer to conf does not contain %s: %.200q", dir, conf)
}

// Leader queries all running nodes.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.servers, e.running))
}

// Logs returns the log of a node since the ensemble was started.
func (e *Ensemble) Logs(_ context.Context, i int) (io.ReadCloser, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if err := ensemble.CheckNode("read the log of", i, len(e.nodes)); err != nil {
		return nil, err
	}
	return os.Open(e.nodes[i].logFile())
}

// Close ends the JVMs and relays, stores the logs if Config has a LogDir, and removes the directory
// of the ensemble.
func (e *Ensemble) Close(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	var errs []error
	for _, n := range e.nodes {
		errs = append(errs, n.close())
	}
	for _, r := range e.relays {
		r.close()
	}
	e.relays = nil // so that a repeated Close after an error does not close them again
	errs = append(errs, e.keepLogs())
	if err := os.RemoveAll(e.dir); err != nil {
		return errors.Join(append(errs, err)...)
	}
	e.closed = true
	return errors.Join(errs...)
}

func (e *Ensemble) keepLogs() error {
	if e.config.LogDir == "" {
		return nil
	}
	if err := os.MkdirAll(e.config.LogDir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, n := range e.nodes {
		text, err := os.ReadFile(n.logFile())
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(e.config.LogDir, fmt.Sprintf("node%d.log", n.index)), text, 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
