package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Version returns the version of a node. It is empty for the default version.
func (e *Ensemble) Version(node int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.versions[node]
}

// SetVersion replaces the container of a killed node with a container of the given version's image.
// The new container uses the volumes of the old one.
func (e *Ensemble) SetVersion(ctx context.Context, node int, version string) error {
	return e.change(ctx, "set the version of", node, func() error {
		if _, ok := e.images[version]; !ok {
			return fmt.Errorf("version %q is neither in Config.Version nor in Config.Later: %w",
				version, ensemble.ErrUnable)
		}
		if !e.is(e.down, node) {
			return errors.New("the node runs: kill it first")
		}
		if e.Version(node) == version {
			return nil
		}
		return e.replace(ctx, node, version)
	})
}

// The method `replace` creates the new container before it removes the old one. So at every moment,
// at least one container uses the node's volumes.
func (e *Ensemble) replace(ctx context.Context, node int, version string) error {
	old := e.nodes[node]
	var log bytes.Buffer
	if err := e.copyLog(ctx, node, &log, allLines); err != nil {
		return err
	}
	// The new container needs the name of the old one, so the old one is renamed first.
	name := fmt.Sprintf("zkcoord-%s-node%d-before", e.id, node)
	if _, err := e.engine.ContainerRename(ctx, old, client.ContainerRenameOptions{NewName: name}); err != nil {
		return err
	}
	made, err := e.run(ctx, node, version, func(h *mobycontainer.HostConfig) { h.VolumesFrom = []string{old} },
		testcontainers.WithNoStart())
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.nodes[node], e.versions[node], e.before[node] = made, version, log.Bytes()
	e.mu.Unlock()
	_, err = e.engine.ContainerRemove(ctx, old, client.ContainerRemoveOptions{})
	return err
}
