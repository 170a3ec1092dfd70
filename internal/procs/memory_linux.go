package procs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/internal/owner"
)

// memoryRoot is where the memory controller of cgroup v1 is mounted.
const memoryRoot = "/sys/fs/cgroup/memory"

// AbleToLimitMemory returns nil if LimitMemory can work on this machine.
func AbleToLimitMemory() error {
	dir, err := newMemoryGroup()
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

// newMemoryGroup creates a cgroup below the cgroup of this process. When the new cgroup has no
// memory left, its threads wait. This needs the memory controller of cgroup v1: with v2, the kernel
// ends a process that has no memory left.
func newMemoryGroup() (dir string, err error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	own := ""
	for line := range strings.Lines(string(text)) {
		if _, path, found := strings.Cut(strings.TrimSpace(line), ":memory:"); found {
			own = filepath.Join(memoryRoot, path)
		}
	}
	if own == "" {
		return "", errors.New("/proc/self/cgroup has no memory controller of cgroup v1: only with it can a process wait for memory")
	}
	sweepMemoryGroups(own)
	if dir, err = os.MkdirTemp(own, memoryPrefix+owner.Self()+"_"); err != nil {
		return "", fmt.Errorf("create a cgroup: %w", err)
	}
	if err := set(dir, "memory.oom_control", "1"); err != nil { // threads wait instead of being killed
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

const memoryPrefix = "zkcoord-"

// sweepMemoryGroups removes the cgroups that remain after the process that created them was killed.
// These cgroups are empty, because the children of a killed process have ended too.
func sweepMemoryGroups(own string) {
	all, _ := filepath.Glob(filepath.Join(own, memoryPrefix+"*")) // the pattern is valid
	for _, dir := range all {
		mark, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), memoryPrefix), "_")
		if owner.Gone(mark) {
			_ = os.Remove(dir) // another process may have removed it
		}
	}
}

func set(dir, name, value string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(value), 0)
}

// limitMemory moves the processes of a process group into a new cgroup that gets no further memory.
func limitMemory(group int) (lift func() (waits bool, err error), err error) {
	dir, err := newMemoryGroup()
	if err != nil {
		return nil, err
	}
	lift = func() (bool, error) {
		state, err := os.ReadFile(filepath.Join(dir, "memory.oom_control"))
		return bytes.Contains(state, []byte("under_oom 1")), errors.Join(err, liftMemory(dir))
	}
	// The limit does not affect memory that the processes already have, because that memory still
	// counts for their old cgroup.
	err = set(dir, "memory.limit_in_bytes", "0")
	for _, pid := range members(group) {
		if moveErr := set(dir, "cgroup.procs", strconv.Itoa(pid)); !errors.Is(moveErr, syscall.ESRCH) {
			err = errors.Join(err, moveErr)
		}
	}
	if err != nil {
		_, liftErr := lift()
		return nil, errors.Join(err, liftErr)
	}
	return lift, nil
}

// liftMemory removes the limit of a cgroup, moves its processes to the parent cgroup, and removes
// the cgroup.
func liftMemory(dir string) error {
	if err := set(dir, "memory.limit_in_bytes", "-1"); err != nil {
		return err
	}
	const patience = 5 * time.Second // threads that waited for memory can be moved only after they have received it
	for end := time.Now().Add(patience); ; {
		pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(pids)) {
			if moveErr := set(filepath.Dir(dir), "cgroup.procs", pid); !errors.Is(moveErr, syscall.ESRCH) {
				err = errors.Join(err, moveErr)
			}
		}
		if err == nil {
			err = os.Remove(dir)
		}
		if err == nil || time.Now().After(end) {
			return err
		}
		<-time.After(time.Millisecond)
	}
}
