package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/network"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/owner"
)

// Options say what ensemble to start. The zero value is three nodes of the image that docker/zookeeper makes.
type Options struct {
	ensemble.Config

	// Image is the image of a node, which the engine must have, where no version is named. If empty, docker/zookeeper
	// gets one, as for each version that is named: that may take minutes the first time on a machine.
	Image string

	// Progress gets a line for each thing that takes long. Nil keeps quiet.
	Progress io.Writer
}

const (
	startTimeout   = 90 * time.Second // from the first container to a quorum
	cleanUpTimeout = 30 * time.Second
	clientPort     = 2181
)

// Ensemble is a ZooKeeper ensemble of containers. Besides ensemble.Ensemble it is a Killer, a Pauser, a Partitioner, a
// DropCounter, Lossy, an Upgrader, a Wiper, a Truncater, and has Clock, Disk and Logs. Clock works if the Config asked for
// Clocks, Disk if it asked for a Disk.
type Ensemble struct {
	*cluster
	id       string
	config   ensemble.Config
	labels   map[string]string
	network  *testcontainers.DockerNetwork
	images   map[string]string // by version
	versions []string          // of the nodes; guarded by turn and mu
}

// cluster is what ensembles of our own containers and of somebody else's have in common.
type cluster struct {
	engine  *engine
	kind    string
	remove  client.Filters // what Close removes; nil if the containers are somebody else's
	host    string         // where published ports are
	publish netip.Addr     // the address that they are published on; the zero one is all
	logDir  string
	servers []string
	nodes   []string // ids of containers; mu and turn guard them where there is an Upgrader
	image   string   // that of the nodes
	clocks  bool     // the nodes' wall clocks can be set
	disks   string   // id of the container that keeps the nodes' small disks; empty if there are none

	// turn is taken by whoever changes what is broken, and by Close: one at a time, giving up with its context.
	turn chan struct{}
	// It guards the fields that follow.
	cuts  map[ensemble.Edge]bool
	loss  map[ensemble.Edge]float64
	ruled []bool   // the node has rules of ours
	wall  []string // what the node's clock is to be, as libfaketime has it; empty if nobody set it

	mu      sync.Mutex
	down    []bool
	paused  []bool
	ports   []string // published ports; empty where not known
	before  [][]byte // logs of containers that the nodes had before
	dropped int64    // packets, counted so far since the last Mend
	lost    int64    // packets
	closed  bool
}

var (
	_ ensemble.Ensemble    = (*cluster)(nil)
	_ ensemble.Killer      = (*cluster)(nil)
	_ ensemble.Pauser      = (*cluster)(nil)
	_ ensemble.Partitioner = (*cluster)(nil)
	_ ensemble.DropCounter = (*cluster)(nil)
	_ ensemble.Lossy       = (*cluster)(nil)
	_ ensemble.Wiper       = (*cluster)(nil)
	_ ensemble.Truncater   = (*cluster)(nil)
	_ ensemble.Logs        = (*cluster)(nil)
	_ ensemble.TxnLogs     = (*cluster)(nil)
	_ ensemble.Upgrader    = (*Ensemble)(nil)
	_ ensemble.Clock       = (*Ensemble)(nil)
	_ ensemble.Disk        = (*Ensemble)(nil)
)

// Starter returns what starts such ensembles for a run; see ensemble.StarterOf.
func Starter(opts Options) ensemble.Starter {
	return ensemble.StarterOf(opts.Config, func(ctx context.Context, config ensemble.Config) (*Ensemble, error) {
		opts := opts
		opts.Config = config
		return Start(ctx, opts)
	})
}

// Start starts an ensemble and returns when it has a quorum. The caller closes it.
//
// It first removes what runs that were killed have left. If it fails or ctx ends, nothing of it remains, and the error says
// in a paragraph what is missing: an engine, an image, a port, or what the log of a dead node ends with.
func Start(ctx context.Context, opts Options) (*Ensemble, error) {
	e, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("container ensemble: %w", err)
	}
	return e, nil
}

func start(ctx context.Context, opts Options) (_ *Ensemble, err error) {
	cfg, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	progress := opts.Progress
	if progress == nil {
		progress = io.Discard
	}
	engine, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := engine.sweep(ctx); err != nil {
		fmt.Fprintf(progress, "leftovers of earlier runs stay: %v\n", err)
	}
	images, err := imagesOf(ctx, cfg.Versions(), opts.Image, progress)
	if err != nil {
		engine.Close()
		return nil, err
	}
	id := strings.ToLower(rand.Text()[:8])
	e := &Ensemble{
		cluster: newCluster(engine, "container", cfg.Nodes), id: id, config: cfg, images: images,
		labels: map[string]string{labelEnsemble: id, labelOwner: owner.Self()},
	}
	for i := range cfg.Nodes {
		e.versions = append(e.versions, cfg.VersionOf(i))
	}
	e.image, e.clocks = images[cfg.VersionOf(0)], cfg.Clocks
	e.remove = labelled(labelEnsemble, id)
	e.logDir = cfg.LogDir
	for i := range cfg.Nodes {
		e.servers[i] = fmt.Sprintf("node%d:%d", i, clientPort)
	}
	// From here on things exist outside this process.
	defer func() {
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
			defer cancel()
			err = errors.Join(err, e.Close(clean))
		}
	}()
	if err := e.create(ctx); err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("after %v", startTimeout))
	defer cancel()
	if err := e.Ready(ready); err != nil {
		return nil, err
	}
	return e, nil
}

// imagesOf gets the images of versions, several at the same time.
func imagesOf(ctx context.Context, versions []string, given string, progress io.Writer) (map[string]string, error) {
	found := make([]string, len(versions))
	var g errgroup.Group
	for i, version := range versions {
		if version == "" && given != "" {
			found[i] = given
			continue
		}
		g.Go(func() (err error) {
			found[i], err = zookeeper.Image(ctx, version, progress)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	images := map[string]string{}
	for i, version := range versions {
		images[version] = found[i]
	}
	return images, nil
}

func newCluster(engine *engine, kind string, nodes int) *cluster {
	return &cluster{
		engine: engine, kind: kind, host: "127.0.0.1",
		servers: make([]string, nodes), nodes: make([]string, nodes),
		turn: make(chan struct{}, 1), cuts: map[ensemble.Edge]bool{}, loss: map[ensemble.Edge]float64{}, ruled: make([]bool, nodes), wall: make([]string, nodes),
		down: make([]bool, nodes), paused: make([]bool, nodes), ports: make([]string, nodes),
		before: make([][]byte, nodes),
	}
}

// create makes the network and starts all nodes at once: a node alone waits a minute for the names of peers that do not
// exist yet.
func (e *Ensemble) create(ctx context.Context) error {
	cfg := e.config
	for i := range cfg.Nodes {
		if err := portFree(cfg, i); err != nil {
			return err
		}
	}
	// Requests to the engine are let finish: one that is given up half-way may yet make something, after the clean-up.
	steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	net, err := network.New(steady, network.WithLabels(e.labels))
	if err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	e.network = net
	e.host, e.publish = e.engine.dialHost(e.gateway(steady, net.ID))
	if cfg.Disk > 0 {
		if err := e.createDisks(steady, e.id, e.labels, cfg); err != nil {
			return fmt.Errorf("make disks of %d bytes: %w", cfg.Disk, err)
		}
	}
	var g errgroup.Group
	for i := range cfg.Nodes {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			id, err := e.run(steady, i, e.versions[i], func(h *mobycontainer.HostConfig) { e.bindDisk(h, i) })
			e.nodes[i] = id
			if err != nil {
				return e.whyNotStarted(steady, i, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// run makes a container for a node and starts it, unless an option says otherwise. The id is empty if there is none.
func (e *Ensemble) run(ctx context.Context, node int, version string, volumes func(*mobycontainer.HostConfig),
	opts ...testcontainers.ContainerCustomizer) (id string, err error) {
	c, err := testcontainers.Run(ctx, e.images[version], append([]testcontainers.ContainerCustomizer{
		testcontainers.WithLogger(tclog.NewNoopLogger()),
		testcontainers.WithName(fmt.Sprintf("zkcoord-%s-node%d", e.id, node)),
		network.WithNetwork([]string{fmt.Sprintf("node%d", node)}, e.network),
		testcontainers.WithLabels(e.labels),
		testcontainers.WithEnv(environment(e.config, node)),
		testcontainers.WithExposedPorts(fmt.Sprint(clientPort)),
		testcontainers.WithConfigModifier(withoutHealthCheck),
		testcontainers.WithHostConfigModifier(func(h *mobycontainer.HostConfig) {
			e.configureHost(h, node)
			volumes(h)
		}),
	}, opts...)...)
	if c != nil {
		id = c.GetContainerID()
	}
	return id, err
}

// bindDisk gives a node its small disk, if it has one.
func (e *Ensemble) bindDisk(h *mobycontainer.HostConfig, node int) {
	if e.disks != "" {
		h.Binds = append(h.Binds, diskName(e.id, node)+":"+logDir)
	}
}

// withoutHealthCheck spares the engine a command in each node every two seconds: Ready asks the servers themselves.
func withoutHealthCheck(c *mobycontainer.Config) { c.Healthcheck = noHealthCheck }

var noHealthCheck = &mobycontainer.HealthConfig{Test: []string{"NONE"}}

// configureHost gives a node the right to cut its own links, and its port.
func (e *Ensemble) configureHost(h *mobycontainer.HostConfig, node int) {
	h.CapAdd = append(h.CapAdd, "NET_ADMIN")
	binding := mobynetwork.PortBinding{HostIP: e.publish}
	if e.config.Port != 0 {
		binding.HostPort = strconv.Itoa(e.config.Port + node)
	}
	h.PortBindings = mobynetwork.PortMap{mobynetwork.MustParsePort(fmt.Sprint(clientPort)): {binding}}
}

// environment is the contract of docker/zookeeper/entrypoint.sh. Settings go last into zoo.cfg as ZOO_CFG_EXTRA, and the
// last of two lines wins.
func environment(cfg ensemble.Config, node int) map[string]string {
	var servers, settings []string
	for i := range cfg.Nodes {
		servers = append(servers, fmt.Sprintf("server.%d=node%d:2888:3888;%d", i+1, i, clientPort))
	}
	for k, v := range cfg.Settings() {
		settings = append(settings, k+"="+v)
	}
	slices.Sort(settings)
	env := map[string]string{
		"ZOO_MY_ID":     strconv.Itoa(node + 1),
		"ZOO_SERVERS":   strings.Join(servers, " "),
		"ZOO_CFG_EXTRA": strings.Join(settings, " "),
		"JVMFLAGS":      strings.Join(cfg.NodeFlags(), " "),
	}
	if cfg.Clocks {
		maps.Copy(env, clockEnvironment)
	}
	return env
}

// portFree fails if the port that was asked for is taken. The engine would say so too, less clearly.
func portFree(cfg ensemble.Config, node int) error {
	if cfg.Port == 0 {
		return nil
	}
	address := fmt.Sprintf("127.0.0.1:%d", cfg.Port+node)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("the port of node %d, %s, is taken: choose another one, or none: %w", node, address, err)
	}
	return l.Close()
}

func (e *cluster) gateway(ctx context.Context, networkID string) netip.Addr {
	if n, err := e.engine.NetworkInspect(ctx, networkID, client.NetworkInspectOptions{}); err == nil {
		for _, c := range n.Network.IPAM.Config {
			return c.Gateway
		}
	}
	return netip.Addr{}
}

// whyNotStarted adds to an error of the engine what the node itself said, if it came so far.
func (e *cluster) whyNotStarted(ctx context.Context, node int, err error) error {
	err = fmt.Errorf("node %d does not start: %s", node, oneLine(err))
	if tail := e.tail(ctx, node); tail != "" {
		err = fmt.Errorf("%w; its log ends with: %s", err, tail)
	}
	return err
}

// Kind is "container".
func (e *cluster) Kind() string { return e.kind }

// Servers returns node0:2181, node1:2181 and so on.
func (e *cluster) Servers() []string { return slices.Clone(e.servers) }

// DialContext connects to the node of that address. Its published port changes with every start of the container, so it is
// looked up again after each.
func (e *cluster) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	node := slices.Index(e.servers, address)
	if node < 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is none of %v", address, e.servers)}
	}
	if err := e.open(); err != nil {
		return nil, err
	}
	port, err := e.port(ctx, node)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", address, err)}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, net.JoinHostPort(e.host, port))
	if err != nil {
		e.forget(node) // It may have been started by somebody else.
	}
	return conn, err
}

var errDown = errors.New("the node is down")

// port returns the published port of a node. Asking the engine costs it milliseconds, and a hundred clients that reconnect
// cost it seconds, so what it said is kept until the node is started again. Containers of somebody else's may be started
// behind our back, and their old ports given to others: there it is asked each time.
func (e *cluster) port(ctx context.Context, node int) (string, error) {
	e.mu.Lock()
	port, down := e.ports[node], e.down[node]
	e.mu.Unlock()
	if down {
		return "", errDown
	}
	if port != "" {
		return port, nil
	}
	state, err := e.engine.ContainerInspect(ctx, e.container(node), client.ContainerInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("look up its port: %w", err)
	}
	if settings := state.Container.NetworkSettings; settings != nil {
		for inside, bindings := range settings.Ports {
			if inside.Num() == clientPort && len(bindings) > 0 {
				port = bindings[0].HostPort
			}
		}
	}
	if port == "" {
		return "", errDown
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.remove != nil && !e.down[node] {
		e.ports[node] = port
	}
	return port, nil
}

// container returns the id of the container of a node.
func (e *cluster) container(node int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[node]
}

// forget makes the next dial look the port up again.
func (e *cluster) forget(node int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports[node] = ""
}

// running reports whether a node is meant to run and not paused.
func (e *cluster) running(node int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.down[node] && !e.paused[node]
}

func (e *cluster) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ensemble.ErrClosed
	}
	return nil
}

// Ready waits for one quorum of all nodes that were not killed or paused. A node that has died by itself is an error at
// once, with the end of its log.
func (e *cluster) Ready(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.servers, e.running, func() error { return e.died(ctx) })
}

func (e *cluster) died(ctx context.Context) error {
	for node := range e.nodes {
		if !e.running(node) {
			continue
		}
		c, err := e.engine.ContainerInspect(ctx, e.container(node), client.ContainerInspectOptions{})
		if err != nil {
			return fmt.Errorf("node %d: %w", node, err)
		}
		if s := c.Container.State; s != nil && !s.Running && e.running(node) {
			return fmt.Errorf("node %d died with status %d; its log ends with: %s", node, s.ExitCode, e.tail(ctx, node))
		}
	}
	return nil
}

// Leader asks all nodes that run.
func (e *cluster) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.servers, e.running))
}

// Close keeps the logs, if a directory was named, and removes containers, volumes and network. If it fails it may be
// called again.
func (e *cluster) Close(ctx context.Context) error {
	release, err := e.take(ctx)
	if errors.Is(err, ensemble.ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	err = e.keepLogs(ctx)
	if e.remove != nil {
		if removeErr := e.engine.remove(ctx, e.remove); removeErr != nil {
			return errors.Join(err, removeErr)
		}
	} else {
		err = errors.Join(err, e.healLocked(ctx))
	}
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return errors.Join(err, e.engine.DockerClient.Close())
}

// take waits for the turn; the returned function gives it back.
func (e *cluster) take(ctx context.Context) (release func(), err error) {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	release = func() { <-e.turn }
	if err := e.open(); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// tail is the end of a node's log in one line, for errors.
func (e *cluster) tail(ctx context.Context, node int) string {
	if e.container(node) == "" {
		return ""
	}
	var text bytes.Buffer
	if err := e.copyLog(ctx, node, &text, "12"); err != nil {
		return ""
	}
	return strings.Join(strings.FieldsFunc(text.String(), func(r rune) bool { return r == '\n' || r == '\r' }), " | ")
}
