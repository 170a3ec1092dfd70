package container

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Logs returns everything that a node has written to its log since the ensemble was started, also
// before restarts of the node.
func (e *cluster) Logs(ctx context.Context, node int) (io.ReadCloser, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if err := ensemble.CheckNode("read the log of", node, len(e.nodes)); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(e.copyLog(ctx, node, w, allLines)) }() // Ends with the log, or when the reader is closed.
	return r, nil
}

// allLines makes the engine return all lines.
const allLines = "all"

// copyLog writes the last lines of a node's log to w, without the framing of the engine. The
// argument `lines` is the number of these lines, or allLines.
func (e *cluster) copyLog(ctx context.Context, node int, w io.Writer, lines string) error {
	if lines == allLines {
		e.mu.Lock()
		before := e.before[node]
		e.mu.Unlock()
		if _, err := w.Write(before); err != nil {
			return err
		}
	}
	if err := e.copyOut(ctx, e.container(node), w, lines); err != nil {
		return fmt.Errorf("log of node %d: %w", node, err)
	}
	return nil
}

// copyOut writes the last lines of a container's output to w. The argument `lines` is the number of
// these lines, or allLines.
func (e *cluster) copyOut(ctx context.Context, id string, w io.Writer, lines string) error {
	log, err := e.engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: lines,
	})
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = stdcopy.StdCopy(w, w, log)
	return err
}

// keepLogs writes the log of each node to a file in logDir. It leaves out nodes without a
// container.
func (e *cluster) keepLogs(ctx context.Context) error {
	if e.logDir == "" {
		return nil
	}
	if err := os.MkdirAll(e.logDir, 0o755); err != nil {
		return err
	}
	var g errgroup.Group
	for node, id := range e.nodes {
		if id == "" {
			continue
		}
		g.Go(func() error {
			f, err := os.Create(filepath.Join(e.logDir, fmt.Sprintf("node%d.log", node)))
			if err != nil {
				return err
			}
			if err := e.copyLog(ctx, node, f, allLines); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		})
	}
	return g.Wait()
}
