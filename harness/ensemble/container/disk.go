package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// logDir is the directory of a node's transaction logs. dataDir is the directory of its snapshots.
const (
	logDir  = "/datalog"
	dataDir = "/data"
)

// diskName is the name of the volume of a node's small disk.
func diskName(id string, node int) string { return fmt.Sprintf("zkcoord-%s-node%d", id, node) }

// createDisks creates, for each node, a volume of cfg.Disk bytes in memory, for the node's
// transaction logs. The engine discards the contents of such a volume when no container uses the
// volume. So createDisks also starts a container that uses the volumes of all nodes and does
// nothing else. This container keeps the contents of a volume while the node is down.
func (e *cluster) createDisks(ctx context.Context, id string, labels map[string]string, cfg ensemble.Config) error {
	keep := &mobycontainer.HostConfig{NetworkMode: "none"}
	for node := range e.nodes {
		_, err := e.engine.VolumeCreate(ctx, client.VolumeCreateOptions{Name: diskName(id, node), Labels: labels, DriverOpts: map[string]string{
			"type": "tmpfs", "device": "tmpfs", "o": fmt.Sprintf("size=%d", cfg.Disk),
		}})
		if err != nil {
			return err
		}
		keep.Binds = append(keep.Binds, fmt.Sprintf("%s:/disk%d", diskName(id, node), node))
	}
	c, err := e.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:       "zkcoord-" + id + "-disks",
		Config:     &mobycontainer.Config{Image: e.image, Cmd: []string{"sleep", "infinity"}, Labels: labels, Healthcheck: noHealthCheck},
		HostConfig: keep,
	})
	if err != nil {
		return err
	}
	e.disks = c.ID
	_, err = e.engine.ContainerStart(ctx, c.ID, client.ContainerStartOptions{})
	return err
}

// Fill writes zeros to the disk of a node's transaction logs until the disk is full.
func (e *Ensemble) Fill(ctx context.Context, node int) error {
	return e.onDisk(ctx, "fill the disk of", node, `cat /dev/zero > $disk/full 2> /dev/null
free=$(stat -f -c %a $disk)
[[ $free == 0 ]] || { echo "the disk still has $free free blocks"; exit 1; }`)
}

// Free removes the zeros that Fill wrote.
func (e *Ensemble) Free(ctx context.Context, node int) error {
	return e.onDisk(ctx, "free the disk of", node, "rm -f $disk/full")
}

func (e *Ensemble) onDisk(ctx context.Context, what string, node int, script string) error {
	return e.change(ctx, what, node, func() error {
		if e.disks == "" {
			return fmt.Errorf("needs Config.Disk: %w", ensemble.ErrUnable)
		}
		_, err := e.engine.exec(ctx, e.disks, fmt.Sprintf("disk=/disk%d\n%s", node, script))
		return err
	})
}

// Wipe deletes the data of a killed node. It also deletes the node's copy of the members'
// configuration, because the node may be missing in this copy. A server refuses to start with a
// configuration that does not contain the server.
func (e *cluster) Wipe(ctx context.Context, node int) error {
	return e.whileDown(ctx, "wipe", node, "rm -rf "+dataDir+"/version-2 "+logDir+"/version-2 "+confDir)
}

// Truncate removes about half of the newest transaction log of a killed node. It counts only the
// nonzero bytes of the log, because the server preallocates space with zeros.
func (e *cluster) Truncate(ctx context.Context, node int) error {
	return e.whileDown(ctx, "truncate the log of", node, `log=$(ls -t `+logDir+`/version-2/log.* | head -n 1)
used=$(tr -d '\0' < "$log" | wc -c)
(( used >= 1000 )) || { echo "the newest log has $used nonzero bytes: want at least 1000"; exit 1; }
truncate -s $((used / 2)) "$log"`)
}

// The constant `temporary` is the label of the containers of whileDown. If a run on a
// docker-compose project is killed and leaves one, the next Attach removes it.
const temporary = "zkcoord.temporary"

// whileDown runs a script on the volumes of a killed node, in a temporary container.
func (e *cluster) whileDown(ctx context.Context, what string, node int, script string) error {
	return e.change(ctx, what, node, func() (err error) {
		if !e.is(e.down, node) {
			return errors.New("the node runs: kill it first")
		}
		old, err := e.engine.ContainerInspect(ctx, e.nodes[node], client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		labels := maps.Clone(old.Container.Config.Labels)
		labels[temporary] = "true"
		c, err := e.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
			Config: &mobycontainer.Config{
				Image: e.image, Entrypoint: []string{"bash", "-c"}, Cmd: []string{script}, User: "root",
				Labels: labels, Healthcheck: noHealthCheck,
			},
			HostConfig: &mobycontainer.HostConfig{NetworkMode: "none", VolumesFrom: []string{e.nodes[node]}},
		})
		if err != nil {
			return err
		}
		defer func() {
			// Docker keeps the volumes that the node uses.
			_, removeErr := e.engine.ContainerRemove(context.WithoutCancel(ctx), c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			err = errors.Join(err, removeErr)
		}()
		return e.runOnce(ctx, c.ID)
	})
}

// runOnce starts a container and waits until it ends. If the container ends with a status other
// than 0, the error contains the last lines of the container's output.
func (e *cluster) runOnce(ctx context.Context, id string) error {
	ended := e.engine.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: mobycontainer.WaitConditionNextExit})
	if _, err := e.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return err
	}
	select {
	case end := <-ended.Result:
		if end.StatusCode != 0 {
			var said strings.Builder
			e.copyOut(ctx, id, &said, "5")
			return fmt.Errorf("status %d: %s", end.StatusCode, strings.TrimSpace(said.String()))
		}
		return nil
	case err := <-ended.Error:
		return err
	}
}

// CopyTxnLogs copies the transaction logs of a node, and creates an empty file for each snapshot.
func (e *cluster) CopyTxnLogs(ctx context.Context, node int, dir string) error {
	return e.change(ctx, "copy the transaction logs of", node, func() error {
		for _, from := range []string{logDir, dataDir} {
			if err := e.copyFiles(ctx, node, from+"/version-2", dir); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *cluster) copyFiles(ctx context.Context, node int, from, to string) error {
	archive, err := e.engine.CopyFromContainer(ctx, e.nodes[node], client.CopyFromContainerOptions{SourcePath: from})
	if err != nil {
		return err
	}
	defer archive.Content.Close()
	files := tar.NewReader(archive.Content)
	for {
		header, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			if err := ensemble.CopyTxnLog(files, to, path.Base(header.Name)); err != nil {
				return err
			}
		}
	}
}
