// Package owner marks resources outside of a process, such as containers and directories, with the
// process that created them. So a later run can distinguish the leftovers of a crashed run from
// resources in use.
//
// A mark consists of the machine's boot id, the namespace of process ids, the process id and the
// process's start time. Process ids are reused, but not with the same start time.
//
// If a part cannot be read, the process counts as alive: a leftover costs only space, but a wrong
// removal breaks another run. The parts are read from files in /proc that only Linux has. So on
// other systems every process counts as alive, and nothing is removed.
package owner

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/zkcoord/zkcoord/internal/procstat"
)

// Self returns the mark of this process.
var Self = sync.OnceValue(func() string {
	return strings.Join([]string{boot(), namespace(), fmt.Sprint(os.Getpid()), startTime(os.Getpid())}, ".")
})

// Gone reports whether the process of the mark has certainly ended. The mark must have been created
// on this machine. A mark of another machine has another boot id, so Gone would treat it like a
// mark of an earlier boot and return true.
func Gone(mark string) bool {
	parts := strings.Split(mark, ".")
	if len(parts) != 4 {
		return false
	}
	switch {
	case parts[0] == "" || boot() == "":
		return false
	case parts[0] != boot():
		return true
	case parts[1] == "" || parts[1] != namespace():
		return false // from another container, whose processes are not visible here
	}
	var pid int
	if _, err := fmt.Sscan(parts[2], &pid); err != nil || pid <= 0 {
		return false
	}
	if ended(pid) {
		return true
	}
	now := startTime(pid)
	return now != "" && parts[3] != "" && now != parts[3]
}

// The function `ended` reports whether there is certainly no process with the given id. To check
// this, it sends signal 0, which has no effect on a process.
func ended(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// boot returns the id of the running kernel's boot, or "" without /proc.
func boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func namespace() string {
	link, _ := os.Readlink("/proc/self/ns/pid")
	return strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
}

// startTime returns field 22 of /proc/pid/stat, in clock ticks since the boot.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := procstat.Fields(b)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
