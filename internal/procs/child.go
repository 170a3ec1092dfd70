package procs

import (
	"context"
	"os/exec"
	"runtime"
)

// A Child is a process that this process has started. A Child does not outlive this process.
type Child struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // the result of Wait; set before ended is closed
}

// Start starts a command that the kernel kills when this process ends for any reason. Start also
// calls cmd.Wait, on a separate goroutine. When the command ends, Wait closes the pipes that
// package exec has created, such as cmd.StdoutPipe. Data that have not been read by then are
// lost, so do not use such a pipe if its last data matter.
//
// The child has a separate process group. So a terminal's interrupt reaches only this process,
// which then closes everything in order.
//
// On systems other than Linux, Start starts nothing and returns ErrNeedsLinux.
func Start(cmd *exec.Cmd) (*Child, error) {
	if err := bind(cmd); err != nil {
		return nil, err
	}
	c := &Child{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the child to the thread that started it, not to the process. Therefore
		// this thread must stay alive until the child has ended.
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

// Pid returns the process id. After the process has ended, the id may be reused.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Ended returns a channel that is closed when the process has ended and was waited for.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Err returns the result of the process, like exec.Cmd.Wait. Call it only after Ended is closed.
func (c *Child) Err() error { return c.err }

// Kill ends the process, even a stopped one, and returns when it has ended.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it has ended already, or will end
	<-c.ended
}

// KillGroup kills the processes of the child's process group, including those that the child has
// started. It returns when the child has ended.
func (c *Child) KillGroup() {
	killGroup(c.cmd.Process)
	<-c.ended
}

// Stop stops the process; see the function Stop. If the process has ended, it does nothing.
func (c *Child) Stop(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	default:
		return Stop(ctx, c.Pid())
	}
}

// Continue resumes the process. If the process has ended, it does nothing.
func (c *Child) Continue() error {
	select {
	case <-c.ended:
		return nil
	default:
		return Continue(c.Pid())
	}
}

// StopGroup stops the processes of the child's process group, including those that the child has
// started. It waits like the function Stop.
func (c *Child) StopGroup(ctx context.Context) error {
	return c.group(func() error { return stopGroup(ctx, c.Pid()) })
}

// ContinueGroup resumes the processes that StopGroup stopped.
func (c *Child) ContinueGroup() error { return c.group(func() error { return continueGroup(c.Pid()) }) }

// LimitMemory prevents the processes of the child's process group from getting further memory,
// until `lift` is called. Until then, a thread that needs memory waits. New threads and some system
// calls do not wait: the kernel refuses them at once. The result of `lift` says whether a thread
// was waiting.
//
// If the child has ended, LimitMemory does nothing. AbleToLimitMemory reports whether LimitMemory
// can work on this machine.
func (c *Child) LimitMemory() (lift func() (waits bool, err error), err error) {
	lift = func() (bool, error) { return false, nil }
	err = c.group(func() (err error) {
		lift, err = limitMemory(c.Pid())
		return err
	})
	return lift, err
}

// group calls f unless the child has ended.
func (c *Child) group(f func() error) error {
	select {
	case <-c.ended:
		return nil
	default:
		return f()
	}
}

// SignalKill kills the child and the processes of its group. It does not wait until they end.
func (c *Child) SignalKill() { killGroup(c.cmd.Process) }
