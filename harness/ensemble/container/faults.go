package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Kill ends the server of a node with SIGKILL and waits until it has ended. The node keeps its
// data. Kill first resumes a paused node, because the engine cannot kill a frozen process.
func (e *cluster) Kill(ctx context.Context, node int) error {
	return e.change(ctx, "kill", node, func() error {
		if e.is(e.down, node) {
			return nil
		}
		if err := e.resumeLocked(ctx, node); err != nil {
			return err
		}
		e.set(e.down, node, true) // From now on, dials fail.
		e.forget(node)
		if err := e.engine.kill(ctx, e.nodes[node]); err != nil {
			e.set(e.down, node, false)
			return err
		}
		e.ruled[node] = false // The rules are gone with the network of the container.
		return nil
	})
}

// The method `kill` ends a container with SIGKILL and waits until it has ended. It does nothing if
// the container has already ended, for example because the disk of the server was full.
func (e *engine) kill(ctx context.Context, id string) error {
	_, err := e.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
	if !errdefs.IsConflict(err) {
		return err
	}
	c, inspectErr := e.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if inspectErr != nil || c.Container.State.Running {
		return err
	}
	return nil
}

// Start starts a killed node. It applies the active cuts again while the JVM starts, before the
// server sends its first packets.
func (e *cluster) Start(ctx context.Context, node int) error {
	return e.change(ctx, "start", node, func() error {
		if _, err := e.engine.ContainerStart(ctx, e.nodes[node], client.ContainerStartOptions{}); err != nil {
			return err
		}
		e.forget(node)
		e.set(e.down, node, false)
		return errors.Join(e.applyCuts(ctx), e.applyClock(ctx, node))
	})
}

// Pause freezes all processes of a node. The kernel still accepts connections, but nothing answers.
func (e *cluster) Pause(ctx context.Context, node int) error {
	return e.change(ctx, "pause", node, func() error {
		if e.is(e.down, node) || e.is(e.paused, node) {
			return nil
		}
		if err := e.pause(ctx, e.nodes[node]); err != nil {
			return err
		}
		e.set(e.paused, node, true)
		return nil
	})
}

// The method `pause` freezes a container. untilPaused describes which errors are retried.
func (e *cluster) pause(ctx context.Context, id string) error {
	return untilPaused(ctx, func() error {
		_, err := e.engine.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
}

// untilPaused repeats `pause` while the engine returns one of two errors that usually do not last:
//   - "already paused": a late event of an earlier pause can cause that error for a moment after
//     the container was resumed. If the engine still returns it after two seconds, someone else
//     has paused the container, and untilPaused returns nil.
//   - "unable to freeze": a thread of the container did not reach the freezer in time, because the
//     machine was busy. The engine has then resumed the threads that it had frozen. After 20
//     seconds, untilPaused returns this error.
func untilPaused(ctx context.Context, pause func() error) error {
	const long, busy = 2 * time.Second, 20 * time.Second
	for began := time.Now(); ; {
		err := pause()
		switch {
		case err == nil:
			return nil
		case strings.Contains(err.Error(), "already paused"):
			if time.Since(began) > long {
				return nil
			}
		case !strings.Contains(err.Error(), "unable to freeze"), time.Since(began) > busy:
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// Resume resumes a paused node.
func (e *cluster) Resume(ctx context.Context, node int) error {
	return e.change(ctx, "resume", node, func() error { return e.resumeLocked(ctx, node) })
}

func (e *cluster) resumeLocked(ctx context.Context, node int) error {
	if !e.is(e.paused, node) {
		return nil
	}
	if _, err := e.engine.ContainerUnpause(ctx, e.nodes[node], client.ContainerUnpauseOptions{}); err != nil {
		return err
	}
	e.set(e.paused, node, false)
	return errors.Join(e.applyCuts(ctx), e.applyClock(ctx, node)) // Cuts made during the pause could not be applied to the frozen node.
}

// healLocked heals all faults, for containers that continue to run after Close.
func (e *cluster) healLocked(ctx context.Context) error {
	var errs []error
	for node, id := range e.nodes {
		errs = append(errs, e.resumeLocked(ctx, node))
		if e.is(e.down, node) {
			if _, err := e.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
				errs = append(errs, err)
				continue
			}
			e.set(e.down, node, false)
		}
	}
	clear(e.cuts)
	clear(e.loss)
	return errors.Join(append(errs, e.applyCuts(ctx))...)
}

// The method `change` acquires the mutex `turn`, runs a fault on a node, and releases `turn`.
func (e *cluster) change(ctx context.Context, what string, node int, f func() error) error {
	if err := ensemble.CheckNode(what, node, len(e.nodes)); err != nil {
		return err
	}
	release, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := f(); err != nil {
		return fmt.Errorf("%s node %d: %w", what, node, err)
	}
	return nil
}

func (e *cluster) is(state []bool, node int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return state[node]
}

func (e *cluster) set(state []bool, node int, to bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state[node] = to
}

// The method `live` lists the nodes that are neither killed nor paused. Only in these nodes can a
// command run.
func (e *cluster) live() []int {
	return slices.DeleteFunc(indexes(len(e.nodes)), func(node int) bool { return !e.running(node) })
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
