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
	"github.com/zkcoord/zkcoord/internal/turn"
)

// Options configure an ensemble. The zero value is three nodes of the image that docker/zookeeper
// builds.
type Options struct {
	ensemble.Config

	// Image is the image of the nodes for which Config names no version. The engine must have it.
	// If Image is empty, docker/zookeeper provides the image. It also provides the image of each
	// version that Config names. The first time on a machine, this may take minutes.
	Image string

	// Progress gets a line for each slow step. If it is nil, nothing is written.
	Progress io.Writer
}

const (
	startTimeout   = 90 * time.Second // from the first container to a quorum
	cleanUpTimeout = 30 * time.Second
	clientPort     = 2181
)

// Ensemble is a ZooKeeper ensemble of containers. In addition to ensemble.Ensemble it implements
// Killer, Pauser, Partitioner, DropCounter, Lossy, Upgrader, Wiper, Truncater, Members, Clock,
// Disk, Logs and TxnLogs. The methods of Members work only with Config.Members, those of Clock only
// with Config.Clocks, and those of Disk only with Config.Disk.
type Ensemble struct {
	*cluster
	id       string
	config   ensemble.Config
	labels   map[string]string
	network  *testcontainers.DockerNetwork
	images   map[string]string // version -> its image
	versions []string          // of the nodes; guarded by turn and mu
}

// The type `cluster` is the part that Ensemble and Compose have in common. The harness creates the
// containers of an Ensemble; someone else runs those of a Compose.
type cluster struct {
	engine  *engine
	kind    string
	remove  client.Filters // selects what Close removes; nil if someone else runs the containers
	host    string         // host on which published ports are reachable
	publish netip.Addr     // address on which ports are published; the zero value is all addresses
	logDir  string
	servers []string
	nodes   []string // ids of containers; SetVersion changes them while it holds mu and turn
	image   string   // of the nodes
	clocks  bool     // the nodes' wall clocks can be set
	disks   string   // id of the container that keeps the nodes' small disks alive; empty if there are none

	// Each call that changes faults holds the mutex `turn`, and so does Close. So only one of them
	// runs at a time. A call that waits for `turn` gives up when the context of the call ends.
	turn turn.Turn
	// The mutex `turn` guards the following fields up to `mu`.
	cuts  map[ensemble.Edge]bool
	loss  map[ensemble.Edge]float64
	ruled []bool   // whether the node has iptables rules of ours
	wall  []string // the setting of the node's clock in libfaketime's format; empty if it was never set

	mu      sync.Mutex
	down    []bool
	paused  []bool
	ports   []string // published ports; empty if unknown
	before  [][]byte // logs of the previous containers of the nodes
	dropped int64    // packets, counted since the last Mend of all edges
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
	_ ensemble.Members     = (*Ensemble)(nil)
	_ ensemble.Clock       = (*Ensemble)(nil)
	_ ensemble.Disk        = (*Ensemble)(nil)
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
// Start first removes the leftovers of killed runs. If Start fails, for example because ctx ends,
// nothing of the ensemble remains. The error is one paragraph. It names what is missing (an engine,
// an image, a port) or quotes the end of the log of a dead node.
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
	if len(cfg.Regions) > 0 {
		return nil, fmt.Errorf("regions need an ensemble of kind process: %w", ensemble.ErrUnable)
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
		fmt.Fprintf(progress, "cannot remove the leftovers of earlier runs: %v\n", err)
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
	// From here on, containers and networks may exist. If an error follows, Close removes them.
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
	return e, ensemble.ReadyWithin(ctx, e, startTimeout)
}

// imagesOf returns a map from each version to its image. If `given` is not empty, the image of the
// empty version is `given`. The other images are obtained concurrently.
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
		cuts: map[ensemble.Edge]bool{}, loss: map[ensemble.Edge]float64{}, ruled: make([]bool, nodes), wall: make([]string, nodes),
		down: make([]bool, nodes), paused: make([]bool, nodes), ports: make([]string, nodes),
		before: make([][]byte, nodes),
	}
}

// The method `create` creates the network and starts all nodes concurrently. If it started one node
// after another, a node could wait a minute until it can resolve the host names of its peers,
// because these names do not exist before the peers' containers.
func (e *Ensemble) create(ctx context.Context) error {
	cfg := e.config
	for i := range cfg.Nodes {
		if err := portFree(cfg, i); err != nil {
			return err
		}
	}
	// The end of ctx does not cancel a request to the engine, because a canceled request might
	// still create something after the clean-up. Only the timeout of the context `steady` ends a
	// request.
	steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	net, err := network.New(steady, network.WithLabels(e.labels))
	if err != nil {
		return fmt.Errorf("create a network: %w", err)
	}
	e.network = net
	e.host, e.publish = e.engine.dialHost(e.gateway(steady, net.ID))
	if cfg.Disk > 0 {
		if err := e.createDisks(steady, e.id, e.labels, cfg); err != nil {
			return fmt.Errorf("create disks of %d bytes: %w", cfg.Disk, err)
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

// The method `run` creates a container for a node and starts it, unless one of the options `opts`
// prevents the start. The id is empty if no container was created.
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

// bindDisk mounts the node's small disk, if there is one.
func (e *Ensemble) bindDisk(h *mobycontainer.HostConfig, node int) {
	if e.disks != "" {
		h.Binds = append(h.Binds, diskName(e.id, node)+":"+logDir)
	}
}

// withoutHealthCheck turns off health checks, which would run a command in each node every two
// seconds. Ready queries the servers itself.
func withoutHealthCheck(c *mobycontainer.Config) { c.Healthcheck = noHealthCheck }

var noHealthCheck = &mobycontainer.HealthConfig{Test: []string{"NONE"}}

// configureHost gives a node the right to cut its own edges, and publishes its port.
func (e *Ensemble) configureHost(h *mobycontainer.HostConfig, node int) {
	h.CapAdd = append(h.CapAdd, "NET_ADMIN")
	binding := mobynetwork.PortBinding{HostIP: e.publish}
	if e.config.Port != 0 {
		binding.HostPort = strconv.Itoa(e.config.Port + node)
	}
	h.PortBindings = mobynetwork.PortMap{mobynetwork.MustParsePort(fmt.Sprint(clientPort)): {binding}}
}

// The function `environment` returns the variables that docker/zookeeper/entrypoint.sh reads. The
// settings are appended to zoo.cfg as ZOO_CFG_EXTRA; the last of two lines with the same key wins.
func environment(cfg ensemble.Config, node int) map[string]string {
	var servers, settings []string
	for i := range cfg.Nodes {
		servers = append(servers, fmt.Sprintf("server.%d=%s", i+1, member(i, cfg.RoleOf(i))))
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

// portFree returns an error if it cannot listen on the requested port. The engine's own error is
// less clear.
func portFree(cfg ensemble.Config, node int) error {
	if cfg.Port == 0 {
		return nil
	}
	address := fmt.Sprintf("127.0.0.1:%d", cfg.Port+node)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("port of node %d: %w: choose another port, or 0 for any", node, err)
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

// whyNotStarted adds the end of the node's log to an error of the engine, if there is a log.
func (e *cluster) whyNotStarted(ctx context.Context, node int, err error) error {
	err = fmt.Errorf("node %d does not start: %s", node, oneLine(err))
	if tail := e.tail(ctx, node); tail != "" {
		err = fmt.Errorf("%w; its log ends with: %s", err, tail)
	}
	return err
}

// Kind returns "container", or "external" for an ensemble that Attach returned.
func (e *cluster) Kind() string { return e.kind }

// Servers returns node0:2181, node1:2181 and so on. For an ensemble that Attach returned, it uses
// the names of the services instead.
func (e *cluster) Servers() []string { return slices.Clone(e.servers) }

// DialContext connects to the node with that address. The published port of a node may change with
// every start of its container, so DialContext queries the engine again after each start.
func (e *cluster) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	node, err := ensemble.NodeAt(e.servers, network, address)
	if err != nil {
		return nil, err
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
		e.forget(node) // Someone else may have restarted the node on another port.
	}
	return conn, err
}

var errDown = errors.New("the node is down")

// The method `port` returns the published port of a node. A query to the engine takes milliseconds,
// and the queries of a hundred clients that reconnect take seconds. So the result is cached until
// the node is started again. If someone else runs the containers, nothing is cached: a container
// may be restarted, and the engine may give its old port to another container.
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
		return "", fmt.Errorf("query its port: %w", err)
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

// The method `container` returns the id of the container of a node.
func (e *cluster) container(node int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[node]
}

// The method `forget` discards the cached port of a node, so that the next dial queries the engine
// again.
func (e *cluster) forget(node int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports[node] = ""
}

// The method `running` reports whether a node should run and is not paused.
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

// Ready waits until all nodes that were not killed or paused belong to one quorum. If one of these
// nodes has ended by itself, Ready returns at once with an error that quotes the end of the node's
// log.
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
			return fmt.Errorf("inspect node %d: %w", node, err)
		}
		if s := c.Container.State; s != nil && !s.Running && e.running(node) {
			return fmt.Errorf("node %d died with status %d; its log ends with: %s", node, s.ExitCode, e.tail(ctx, node))
		}
	}
	return nil
}

// Leader queries all running nodes.
func (e *cluster) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.servers, e.running))
}

// Close stores the logs if Config has a LogDir. It removes the containers, the volumes and the
// network. If this removal fails, the caller can call Close again.
//
// For an ensemble that Attach returned, Close heals all faults and removes nothing. If Close cannot
// heal a fault, a second call does not try again.
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

// The method `take` acquires the mutex `turn`. The returned function releases it.
func (e *cluster) take(ctx context.Context) (release func(), err error) {
	if err := e.turn.Take(ctx, ctx); err != nil {
		return nil, err
	}
	if err := e.open(); err != nil {
		e.turn.End()
		return nil, err
	}
	return e.turn.End, nil
}

// The method `tail` returns the end of a node's log in one line, for errors.
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
