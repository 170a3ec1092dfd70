// Package owner marks what a run makes outside its own process (containers, directories) with who made it, so that the
// next run can tell the leftovers of a crashed run from what a live one still uses.
//
// The mark is the machine's boot, the namespace of the process ids, the id and the start time of the process: ids are used
// again, start times are not. Where a part cannot be read the answer is "alive": to sweep too little costs space, to sweep
// too much breaks somebody's run. So nothing is swept on systems other than Linux, which have no such /proc.
package owner

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Self returns the mark of this process.
var Self = sync.OnceValue(func() string {
	return strings.Join([]string{boot(), namespace(), fmt.Sprint(os.Getpid()), startTime(os.Getpid())}, ".")
})

// Gone reports whether the process that mark stands for has certainly ended. The mark must have been made on this machine:
// one of another boot counts as gone.
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
		return false // of another container, where our view of processes says nothing
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

// ended reports whether there certainly is no process of that id. Signal 0 is sent to nobody.
func ended(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// boot identifies the running kernel; empty where there is no /proc.
func boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func namespace() string {
	link, _ := os.Readlink("/proc/self/ns/pid")
	return strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
}

// startTime is field 22 of /proc/pid/stat, in clock ticks since the boot. The second field, the name, may hold anything,
// so counting starts behind its bracket.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(b)[strings.LastIndex(string(b), ")")+1:])
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
