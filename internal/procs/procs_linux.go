package procs

import (
	"bytes"
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
)

// bind has the kernel kill the process of cmd when the thread ends that starts it, and gives it a process group of its own.
// Other attributes of cmd stay.
func bind(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	return nil
}

// Stop sends SIGSTOP and waits until each thread has stopped: the signal only asks them to, and for a few milliseconds a busy one
// still works. A process that is gone is no error. If ctx ends first it may be stopped or not.
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

// stopGroup is Stop of all processes of a process group.
func stopGroup(ctx context.Context, group int) error {
	if err := signal(-group, syscall.SIGSTOP); err != nil {
		return err
	}
	for slices.ContainsFunc(members(group), func(pid int) bool { return !Stopped(pid) }) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process group %d does not stop: %w", group, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func continueGroup(group int) error { return signal(-group, syscall.SIGCONT) }

// members are the processes of a process group.
func members(group int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is one
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if of, groupErr := syscall.Getpgid(pid); err == nil && groupErr == nil && of == group {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Continue lets a stopped process go on.
func Continue(pid int) error { return signal(pid, syscall.SIGCONT) }

// Stopped reports whether no thread of the process runs. /proc says T for a stopped thread; a process that is gone has none.
func Stopped(pid int) bool {
	states, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return !slices.ContainsFunc(states, func(file string) bool {
		text, err := os.ReadFile(file)
		_, rest, found := bytes.Cut(text, []byte(") "))
		return err == nil && found && rest[0] != 'T' && rest[0] != 'Z' && rest[0] != 'X'
	})
}

func signal(pid int, s syscall.Signal) error {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
