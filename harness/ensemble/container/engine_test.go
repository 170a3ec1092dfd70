package container

import (
	"net/netip"
	"strings"
	"testing"

	mobycontainer "github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
)

// Regression: if the program ran in a container and used the socket of an engine outside of that
// container, ports were published on all addresses, although no setting requested that.
func TestPortsArePublishedWhereTheyAreDialled(t *testing.T) {
	const socket = "unix:///var/run/docker.sock"
	outside := netip.MustParseAddr("172.17.0.1")
	all := netip.Addr{}
	for _, c := range []struct {
		override, daemon string
		gateway          netip.Addr
		host             string
		publish          netip.Addr
	}{
		{"", socket, loopback, "127.0.0.1", loopback},
		{"", socket, outside, "172.17.0.1", outside},
		{"", "npipe:////./pipe/docker_engine", loopback, "127.0.0.1", loopback},
		{"", "tcp://127.0.0.1:2375", outside, "127.0.0.1", loopback},
		{"", "tcp://localhost:2375", loopback, "localhost", loopback},
		{"", "tcp://docker:2375", loopback, "docker", all},
		{"localhost", socket, outside, "localhost", loopback},
		{"10.0.0.9", socket, outside, "10.0.0.9", all},
	} {
		host, publish := published(c.override, c.daemon, c.gateway)
		if host != c.host || publish != c.publish {
			t.Errorf("%q, %s, gateway %v: got host %s, publish %v; want %s, %v", c.override, c.daemon, c.gateway, host, publish, c.host, c.publish)
		}
		e := &Ensemble{cluster: newCluster(nil, "container", 1)}
		e.publish = publish
		var config mobycontainer.HostConfig
		e.configureHost(&config, 0)
		if bindings := config.PortBindings[mobynetwork.MustParsePort("2181")]; len(bindings) != 1 || bindings[0].HostIP != c.publish {
			t.Errorf("%q, %s, gateway %v: got port bindings %v, want one on %v",
				c.override, c.daemon, c.gateway, bindings, c.publish)
		}
	}
}

// Regression: if Dropped could not read the counts, its error was about cutting edges.
func TestACountThatFailsIsNoCut(t *testing.T) {
	e := newCluster(needEngine(t), "container", 1)
	e.nodes[0], e.ruled[0] = "zkcoord-there-is-none", true
	if _, err := e.Dropped(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "count ") {
		t.Errorf("got error %v, want one that starts with %q", err, "count ")
	}
}
