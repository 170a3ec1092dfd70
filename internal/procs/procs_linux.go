package procs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/internal/procstat"
)

// bind gives the process of cmd a separate process group, and makes the kernel kill the process at
// the end of the thread that starts it. It keeps other attributes of cmd.
func bind(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	return nil
}

// Stop sends SIGSTOP and waits until each thread has stopped, because a busy thread continues for a
// few milliseconds after the signal. It succeeds if the process has ended. If ctx ends before all
// threads have stopped, Stop returns an error, and the process may or may not be stopped.
func Stop(ctx context.Context, pid int) error {
	if err := signal(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for !Stopped(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not stop: %w", pid, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// stopAgain is how long stopGroup waits for a group to stop, before it lets the group continue and
// tries again.
const stopAgain = 50 * time.Millisecond

// stopGroup stops all processes of a process group, like Stop.
//
// A shell that has started a process by vfork cannot stop before that process has called exec. If
// the process is stopped before its exec, it does not call exec, and so the shell never stops. In
// this case stopGroup lets the group continue for a moment, and then stops it again.
func stopGroup(ctx context.Context, group int) error {
	for {
		if err := signal(-group, syscall.SIGSTOP); err != nil {
			return err
		}
		for sent := time.Now(); time.Since(sent) < stopAgain; {
			if !slices.ContainsFunc(members(group), func(pid int) bool { return !Stopped(pid) }) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("process group %d does not stop: %w", group, context.Cause(ctx))
			case <-time.After(time.Millisecond):
			}
		}
		if err := continueGroup(group); err != nil {
			return err
		}
		<-time.After(time.Millisecond)
	}
}

func continueGroup(group int) error { return signal(-group, syscall.SIGCONT) }

// members returns the processes of a process group.
func members(group int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is valid
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if of, groupErr := syscall.Getpgid(pid); err == nil && groupErr == nil && of == group {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Continue resumes a stopped process.
func Continue(pid int) error { return signal(pid, syscall.SIGCONT) }

// Stopped reports whether no thread of the process runs. In /proc the state of a stopped thread is
// T. Stopped also returns true for a process that has ended.
func Stopped(pid int) bool {
	states, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return !slices.ContainsFunc(states, func(file string) bool {
		text, err := os.ReadFile(file)
		fields := procstat.Fields(text)
		return err == nil && len(fields) > 0 && !slices.Contains([]string{"T", "Z", "X"}, fields[0])
	})
}

func signal(pid int, s syscall.Signal) error {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
