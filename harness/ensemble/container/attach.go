package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	mobycontainer "github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Labels that both generations of docker-compose put on their containers.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	composeFiles   = "com.docker.compose.project.config_files"
	composeDir     = "com.docker.compose.project.working_dir"
)

// Attach returns the ensemble that runs on this machine and that was started from a docker-compose
// file. Its nodes are the services that publish ZooKeeper's client port, in the order of their
// names. The documentation of type Compose says which faults are possible. Kills and pauses need
// nothing in the containers. The other faults of servers need the tools of docker/zookeeper: bash,
// iptables, and the right to use iptables.
//
// Attach first undoes the faults that a killed run may have left active. It resumes the file's
// paused containers, starts the file's containers that SIGKILL ended, and restores all cut edges.
// It would also undo the faults of a run that is still active, so never attach two runs to a
// project at the same time.
//
// Close heals the active faults and leaves the containers running.
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

// Compose is an ensemble of containers that someone else runs. It implements the same interfaces as
// Ensemble except Members, Clock, Disk and Upgrader. These work only with containers that the
// harness itself has created.
type Compose struct{ *cluster }

func attach(ctx context.Context, engine *engine, file string) (*cluster, error) {
	if err := engine.heal(ctx, file); err != nil {
		return nil, fmt.Errorf("undo the faults of an earlier run: %w", err)
	}
	list, err := engine.ContainerList(ctx, client.ContainerListOptions{Filters: labelled(composeProject, "")})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	nodes := slices.DeleteFunc(list.Items, func(c mobycontainer.Summary) bool {
		return !of(c.Labels, file) || !slices.ContainsFunc(c.Ports, func(p mobycontainer.PortSummary) bool {
			return p.PrivatePort == clientPort && p.PublicPort != 0
		})
	})
	if len(nodes) == 0 {
		return nil, fmt.Errorf("no running container of %s publishes port %d: start it with docker-compose -f %[1]s up -d",
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
		for _, n := range c.NetworkSettings.Networks {
			e.host, _ = engine.dialHost(n.Gateway)
		}
	}
	return e, nil
}

// The constant `killed` is the exit status of a process that SIGKILL ended, in the notation of a
// shell.
const killed = 128 + 9

// The method `heal` undoes all faults that a run can have left active in a project.
func (e *engine) heal(ctx context.Context, file string) error {
	list, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: labelled(composeProject, "")})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		if of(c.Labels, file) {
			errs = append(errs, e.healContainer(ctx, c))
		}
	}
	return errors.Join(errs...)
}

func (e *engine) healContainer(ctx context.Context, c mobycontainer.Summary) (err error) {
	if c.Labels[temporary] != "" {
		_, err := e.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		return gone("remove a temporary container", err)
	}
	switch c.State {
	case mobycontainer.StatePaused:
		_, err = e.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
	case mobycontainer.StateExited:
		err = e.startKilled(ctx, c.ID)
	}
	// Ignore the error of removing the rules, because a container that does not run, or that lacks
	// iptables, has no rules to remove. The error below is that of the switch.
	_, _ = e.exec(ctx, c.ID, remove())
	if err != nil {
		return fmt.Errorf("resume or start the container of %s: %w", c.Labels[composeService], err)
	}
	return nil
}

// startKilled starts a container again if it is a server that SIGKILL ended. Its iptables rules are
// gone, because they belonged to the network namespace of the ended container.
func (e *engine) startKilled(ctx context.Context, id string) error {
	c, err := e.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil || c.Container.State.ExitCode != killed {
		return err
	}
	if _, server := c.Container.HostConfig.PortBindings[mobynetwork.MustParsePort(fmt.Sprint(clientPort))]; !server {
		return nil
	}
	_, err = e.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return err
}

// The function `of` reports whether the labels belong to a container of a compose file. The first
// generation of docker-compose records the file as given, the second its full path.
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
