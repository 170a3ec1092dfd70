package procs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentMark is an environment variable. A test process in which it is set starts a child, prints
// the child's process id, and waits to be killed.
const parentMark = "ZKCOORD_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(growMark) != "" {
		grow()
	}
	if os.Getenv(parentMark) != "" {
		c, err := Start(exec.Command("sleep", "600"))
		if err != nil {
			panic(err)
		}
		fmt.Println(c.Pid())
		<-c.Ended()
	}
	goleak.VerifyTestMain(m)
}

// The function `gone` waits until a process has ended. A zombie counts as ended, although it
// remains until its new parent has waited for it.
func gone(t *testing.T, pid int) {
	t.Helper()
	for begun := time.Now(); ; {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, rest, _ := strings.Cut(string(text), ") "); err != nil || rest[0] == 'Z' || rest[0] == 'X' {
			return
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("process %d still runs after 30s, want it ended: %s", pid, text)
		}
		<-time.After(time.Millisecond)
	}
}

// The servers of a process ensemble and the clients of other libraries are children of the process
// of a run. When a user kills that process, its children must end too.
func TestChildEndsWithItsParentHoweverThatEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		parent := exec.Command(self)
		parent.Env = append(os.Environ(), parentMark+"=1")
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait() // ended by a signal
		gone(t, pid)
	}
}

// Start must not start the child on the thread of its caller. In this test the caller's goroutine
// is locked to its thread, so the thread ends with the goroutine. If that thread had started the
// child, the kernel would then kill the child.
func TestChildOutlivesTheThreadThatAskedForIt(t *testing.T) {
	started := make(chan *Child)
	var thread int
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		thread = syscall.Gettid()
		c, err := Start(exec.Command("sleep", "600"))
		if err != nil {
			t.Error(err)
		}
		started <- c
	}()
	c := <-started
	defer c.Kill()
	for {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", thread)); err != nil || thread == os.Getpid() {
			break
		}
		<-time.After(time.Millisecond)
	}
	select {
	case <-c.Ended():
		t.Errorf("the child ended with its thread: %v", c.Err())
	case <-time.After(50 * time.Millisecond):
	}
}

func TestTerminalsInterruptIsNotForTheChild(t *testing.T) {
	c, err := Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	if group, err := syscall.Getpgid(c.Pid()); err != nil || group != c.Pid() {
		t.Errorf("got process group %d, %v; want %d", group, err, c.Pid())
	}
}

func TestStoppedChildIsKilled(t *testing.T) {
	c, err := Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if c.Err() == nil {
		t.Error("got no error after Kill, want the end by a signal")
	}
	gone(t, c.Pid())
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("Stop after the end: got %v, want no error", err)
	}
	c.Kill() // a second Kill does nothing
}
