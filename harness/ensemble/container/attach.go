package container

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Labels that docker-compose puts on its containers, of both generations.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	composeFiles   = "com.docker.compose.project.config_files"
	composeDir     = "com.docker.compose.project.working_dir"
)

// Attach returns the ensemble that a docker-compose file has running on this machine: the services that have the port of
// ZooKeeper's clients, in the order of their names. All faults of servers are possible, if the containers have what the nodes
// of docker/zookeeper have: bash, iptables, and the right to use it.
//
// Close undoes the faults that stand and leaves the containers running.
func Attach(ctx context.Context, composeFile string) (*Compose, error) {
	file, err := filepath.Abs(composeFile)
	if err != nil {
		return nil, err
	}
	engine, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("external ensemble: %w", err)
	}
	e, err := attach(ctx, engine, file)
	if err != nil {
		engine.Close()
		return nil, fmt.Errorf("external ensemble: %w", err)
	}
	return &Compose{e}, nil
}

// Compose is an ensemble of somebody else's containers. Besides ensemble.Ensemble it is all that Ensemble is, but for Clock and
// Disk, which a node has to be made for.
type Compose struct{ *cluster }

func attach(ctx context.Context, engine *engine, file string) (*cluster, error) {
	list, err := engine.ContainerList(ctx, client.ContainerListOptions{Filters: labelled(composeProject, "")})
	if err != nil {
		return nil, err
	}
	nodes := slices.DeleteFunc(list.Items, func(c mobycontainer.Summary) bool {
		return !of(c.Labels, file) || !slices.ContainsFunc(c.Ports, func(p mobycontainer.PortSummary) bool {
			return p.PrivatePort == clientPort && p.PublicPort != 0
		})
	})
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s has no server running that publishes port %d: start it with docker-compose -f %[1]s up -d",
			file, clientPort)
	}
	slices.SortFunc(nodes, func(a, b mobycontainer.Summary) int {
		return cmp.Compare(a.Labels[composeService], b.Labels[composeService])
	})
	for _, c := range nodes[1:] {
		if c.Labels[composeProject] != nodes[0].Labels[composeProject] {
			return nil, fmt.Errorf("%s runs as two projects, %s and %s: stop one", file,
				c.Labels[composeProject], nodes[0].Labels[composeProject])
		}
	}
	e := newCluster(engine, "external", len(nodes))
	e.image = nodes[0].Image
	for i, c := range nodes {
		e.nodes[i] = c.ID
		e.servers[i] = fmt.Sprintf("%s:%d", c.Labels[composeService], clientPort)
		e.paused[i] = c.State == mobycontainer.StatePaused
		for _, n := range c.NetworkSettings.Networks {
			e.host = engine.dialHost(n.Gateway)
		}
	}
	return e, nil
}

// of reports whether labels are those of a container of a compose file. The first generation notes the file as it was given, the
// second its full path.
func of(labels map[string]string, file string) bool {
	for name := range strings.SplitSeq(labels[composeFiles], ",") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(labels[composeDir], name)
		}
		if filepath.Clean(name) == file {
			return true
		}
	}
	return false
}
