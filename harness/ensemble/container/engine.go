package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/internal/owner"
)

// Labels on everything that an ensemble creates.
const (
	labelEnsemble = "zkcoord.ensemble" // the id of the ensemble
	labelOwner    = "zkcoord.owner"    // the process that runs it
)

// Available returns nil if a Docker engine answers. Otherwise the error says what to do.
func Available(ctx context.Context) error {
	e, err := connect(ctx)
	if err != nil {
		return err
	}
	return e.Close()
}

// engineTimeout bounds the first request to the engine, so that a dead engine is an error within
// seconds.
const engineTimeout = 10 * time.Second

// setUp turns off the log of testcontainers. It also turns off the reaper of testcontainers, unless
// the environment already has a setting for the reaper. Testcontainers reads the environment only
// once, so setUp must run before any call of testcontainers.
var setUp = sync.OnceFunc(func() {
	if os.Getenv("TESTCONTAINERS_RYUK_DISABLED") == "" {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	tclog.SetDefault(tclog.NewNoopLogger())
})

// The type `engine` is the part of the Docker engine that ensembles use.
type engine struct {
	*testcontainers.DockerClient
}

// The function `connect` finds the engine and checks that it answers.
func connect(ctx context.Context) (*engine, error) {
	setUp()
	bounded, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	c, err := testcontainers.NewDockerClientWithOpts(bounded)
	if err == nil {
		if _, err = c.Ping(bounded, client.PingOptions{}); err == nil {
			return &engine{c}, nil
		}
		c.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("no Docker engine answers: %s. Install or start one (on Debian: apt-get install docker.io),"+
		" point DOCKER_HOST to one, or choose an ensemble that does not need one", oneLine(err))
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// The method `local` reports whether the engine runs on this machine. Only then can this process
// check whether the owner of an ensemble has ended. The owner of an ensemble on a remote engine may
// be a process of another machine.
func (e *engine) local() bool { return strings.HasPrefix(e.DaemonHost(), "unix:") }

// The function `labelled` returns the filter for objects with a label; an empty value matches any
// value.
func labelled(label, value string) client.Filters {
	if value != "" {
		label += "=" + value
	}
	return make(client.Filters).Add("label", label)
}

// The method `remove` deletes the objects that the filter selects. First it deletes containers,
// running or not, together with their volumes. Then it deletes separate volumes, and then networks.
func (e *engine) remove(ctx context.Context, what client.Filters) error {
	containers, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: what})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var g errgroup.Group
	for _, c := range containers.Items {
		g.Go(func() error {
			_, err := e.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			return gone("remove container "+c.ID[:12], err)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var errs []error
	volumes, err := e.VolumeList(ctx, client.VolumeListOptions{Filters: what})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range volumes.Items {
		_, err := e.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
		errs = append(errs, gone("remove volume "+v.Name, err))
	}
	networks, err := e.NetworkList(ctx, client.NetworkListOptions{Filters: what})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks.Items {
		_, err := e.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		errs = append(errs, gone("remove network "+n.Name, err))
	}
	return errors.Join(errs...)
}

// The function `gone` evaluates the error `err` of an attempt to remove an object. It returns nil
// if the object does not exist, or if another process is removing it, because two sweeps may run at
// the same time. It returns any other error.
func gone(what string, err error) error {
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// The method `sweep` removes the ensembles of processes that have ended.
func (e *engine) sweep(ctx context.Context) error {
	if !e.local() {
		return nil // The owner may run on another machine.
	}
	dead := map[string]bool{}
	note := func(labels map[string]string) {
		if id := labels[labelEnsemble]; id != "" && owner.Gone(labels[labelOwner]) {
			dead[id] = true
		}
	}
	containers, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: labelled(labelEnsemble, "")})
	if err != nil {
		return err
	}
	for _, c := range containers.Items {
		note(c.Labels)
	}
	networks, err := e.NetworkList(ctx, client.NetworkListOptions{Filters: labelled(labelEnsemble, "")})
	if err != nil {
		return err
	}
	for _, n := range networks.Items {
		note(n.Labels)
	}
	volumes, err := e.VolumeList(ctx, client.VolumeListOptions{Filters: labelled(labelEnsemble, "")})
	if err != nil {
		return err
	}
	for _, v := range volumes.Items {
		note(v.Labels)
	}
	var errs []error
	for id := range dead {
		errs = append(errs, e.remove(ctx, labelled(labelEnsemble, id)))
	}
	return errors.Join(errs...)
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// dialHost returns the host on which published ports are reachable, and the address on which to
// publish them. The argument `network` is the gateway of one of the engine's networks.
//
// Unless TESTCONTAINERS_HOST_OVERRIDE or the engine's URL names a host, both results are usually
// the loopback interface. There is one exception. If this program runs in a container and the
// engine runs outside of that container, the program reaches the ports only at the program's own
// default gateway. Both results are then that gateway.
//
// The file /.dockerenv shows that the program runs in a container, but not where the engine runs.
// If `network` is one of our own addresses, the engine runs in the same container. Then dialHost
// does not use the default gateway.
func (e *engine) dialHost(network netip.Addr) (host string, publish netip.Addr) {
	gateway := loopback
	if _, err := os.Stat("/.dockerenv"); err == nil && !ownAddress(network) {
		gateway = defaultGateway()
	}
	return published(os.Getenv("TESTCONTAINERS_HOST_OVERRIDE"), e.DaemonHost(), gateway)
}

// The function `published` chooses the host and the address for dialHost. If there is no override,
// and the engine's URL names a local socket or pipe or is malformed, both results are the gateway.
// Otherwise the host is the override or, without an override, the host in the URL. If this host is
// loopback, ports are published on loopback. If not, its address on the engine's machine is not
// known. Then `publish` is the zero address, which means that ports are published on all addresses.
func published(override, daemon string, gateway netip.Addr) (host string, publish netip.Addr) {
	u, err := url.Parse(daemon)
	switch {
	case override != "":
		host = override
	case err == nil && u.Scheme != "unix" && u.Scheme != "npipe":
		host = cmp.Or(u.Hostname(), loopback.String())
	default:
		return gateway.String(), gateway
	}
	if host == loopback.String() || host == "localhost" {
		publish = loopback
	}
	return host, publish
}

func ownAddress(a netip.Addr) bool {
	addrs, _ := net.InterfaceAddrs()
	for _, own := range addrs {
		if p, err := netip.ParsePrefix(own.String()); err == nil && p.Addr() == a {
			return true
		}
	}
	return false
}

// defaultGateway reads the kernel's routing table. The default route has destination 0 and a
// gateway in hexadecimal, lowest byte first.
func defaultGateway() netip.Addr {
	table, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		var a, b, c, d byte
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		if n, _ := fmt.Sscanf(f[2], "%02x%02x%02x%02x", &d, &c, &b, &a); n == 4 {
			return netip.AddrFrom4([4]byte{a, b, c, d})
		}
	}
	return loopback
}
