package procs

import (
	"context"
	"os/exec"
	"runtime"
)

// A Child is a process that this one has started, and that does not outlive it.
type Child struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // what Wait returned; set before ended is closed
}

// Start starts a command that the kernel kills when this process ends, however it does. The command must not have pipes made by
// package exec whose end matters: it is waited for at once.
//
// The child has a process group of its own: a terminal's interrupt is for this process, which then closes everything in order.
//
// On a system other than Linux nothing is started, and the error is ErrNeedsLinux.
func Start(cmd *exec.Cmd) (*Child, error) {
	if err := bind(cmd); err != nil {
		return nil, err
	}
	c := &Child{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel means the thread that started the child, not the process: that thread waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// Pid is the number of the process, which is somebody else's some time after it has ended.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Ended is closed once the process has ended and was waited for.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Err tells how the process ended, as exec.Cmd.Wait does. It may be asked after Ended.
func (c *Child) Err() error { return c.err }

// Kill ends the process, a stopped one too, and returns when it has ended.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it has ended already, or will
	<-c.ended
}

// KillGroup kills the processes that the child has started and that are still in its process group, and the child itself. It
// returns when the child has ended.
func (c *Child) KillGroup() {
	killGroup(c.cmd.Process)
	<-c.ended
}

// Stop is Stop of the process. It does nothing to one that has ended.
func (c *Child) Stop(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	default:
		return Stop(ctx, c.Pid())
	}
}

// Continue lets the process go on. It does nothing to one that has ended.
func (c *Child) Continue() error {
	select {
	case <-c.ended:
		return nil
	default:
		return Continue(c.Pid())
	}
}

// StopGroup is Stop of the child and of the processes that it has started and that are still in its process group.
func (c *Child) StopGroup(ctx context.Context) error {
	return c.group(func() error { return stopGroup(ctx, c.Pid()) })
}

// ContinueGroup lets them go on.
func (c *Child) ContinueGroup() error { return c.group(func() error { return continueGroup(c.Pid()) }) }

// group calls f unless the child has ended.
func (c *Child) group(f func() error) error {
	select {
	case <-c.ended:
		return nil
	default:
		return f()
	}
}

// SignalKill kills the child and the processes of its group. It does not wait for their end.
func (c *Child) SignalKill() { killGroup(c.cmd.Process) }
