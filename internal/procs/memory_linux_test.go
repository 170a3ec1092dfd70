package procs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/owner"
)

// growMark is an environment variable. If it is set, the test process reads lines. For each line,
// the process takes memory and writes a line. It requests nothing else from the kernel, because
// under the memory limit the kernel might refuse other requests.
const growMark = "ZKCOORD_TEST_GROW"

func grow() {
	const piece = 32 << 20
	all, err := syscall.Mmap(-1, 0, 4*piece, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); all = all[piece:] {
		for i := 0; i < piece; i += os.Getpagesize() {
			all[i] = 1
		}
		fmt.Println(len(all))
	}
	os.Exit(0)
}

func TestMemoryLimitStallsAndLifts(t *testing.T) {
	if err := AbleToLimitMemory(); err != nil {
		t.Skip(err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stdin, cmd.Stdout = append(os.Environ(), growMark+"=1"), theirIn, theirOut
	c, err := Start(cmd)
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	answers := bufio.NewScanner(out)
	fmt.Fprintln(in)
	if !answers.Scan() {
		t.Fatalf("got no answer without a limit: %v", answers.Err())
	}
	lift, err := c.LimitMemory()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in)
	awaitMemoryStall(t, c.Pid())
	if waits, err := lift(); err != nil || !waits {
		t.Errorf("lift of a limit under which a thread waits: got %t, %v; want true", waits, err)
	}
	if !answers.Scan() {
		t.Errorf("got no answer after the lift: %v", answers.Err())
	}
	next, err := newMemoryGroup()
	if err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(next), memoryPrefix+owner.Self()+"_*"))
	if err := os.Remove(next); err != nil || len(left) != 1 {
		t.Errorf("got cgroups %v, want only %s (%v)", left, next, err)
	}

	lift, err = c.LimitMemory()
	if err != nil {
		t.Fatal(err)
	}
	c.Kill() // must end the process even if it waits for memory
	if _, err := lift(); err != nil {
		t.Errorf("lift after the end of the process: got error %v, want nil", err)
	}
	if lift, err = c.LimitMemory(); err == nil {
		_, err = lift()
	}
	if err != nil {
		t.Errorf("a limit for a process that has ended: got %v, want no error", err)
	}
}

// awaitMemoryStall waits until the kernel makes a thread of the process wait for memory.
func awaitMemoryStall(t *testing.T, pid int) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 30*time.Second; {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
		for _, file := range threads {
			if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "mem_cgroup_oom") {
				return
			}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Fatalf("no thread of process %d waited for memory within 30s", pid)
}
