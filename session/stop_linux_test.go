package session_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

const stoppedOf = "ZKCOORD_TEST_STOPPED"

// In this test all goroutines of a program stop until the servers have deleted the znode of the
// program's lock. The goroutines stop because the program dumps a large heap into a pipe, and the
// test reads the pipe only after the deletion. Go's garbage collector would not be enough, because
// it never stops goroutines for seconds. When the program continues, its lease is over, the context
// of the lock ends, and the program can acquire the lock again in a new session.
func TestHoldEndsAfterALongStopOfTheRuntime(t *testing.T) {
	if server := os.Getenv(stoppedOf); server != "" {
		stopped(t, server)
		return
	}
	e, err := zktest.New(zktest.Options{Servers: 1, TCP: true, TickTime: 200 * time.Millisecond})
	check(t, err)
	defer e.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rival, err := session.Open(ctx, session.Options{Servers: e.Servers(), Timeout: 4 * time.Second})
	check(t, err)
	defer rival.Close()

	dump, into, err := os.Pipe()
	check(t, err)
	defer dump.Close()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), stoppedOf+"="+e.Servers()[0]), []*os.File{into}
	var out strings.Builder
	cmd.Stderr = &out
	said, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	into.Close()

	lines := bufio.NewReader(said)
	path, err := lines.ReadString('\n') // the path of the program's znode; then its goroutines stop
	check(t, err)
	stat, gone, err := rival.ExistsWatch(ctx, strings.TrimSpace(path))
	check(t, err)
	if stat != nil {
		if _, err := gone.Wait(ctx); err != nil {
			t.Errorf("the servers did not delete the znode of the stopped program: %v", err)
		}
	}
	_, err = io.Copy(io.Discard, dump)
	check(t, err)
	rest, err := io.ReadAll(lines)
	check(t, err)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the stopped program failed: %v\n%s%s", err, rest, out.String())
	}
}

// The function `stopped` is the program whose goroutines the runtime stops. It writes the path of
// its znode and then the dump of its heap.
func stopped(t *testing.T, server string) {
	heap := make([][]byte, 64)
	for i := range heap {
		heap[i] = make([]byte, 1<<20)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	s, err := session.Open(ctx, session.Options{Servers: []string{server}, Timeout: 2 * time.Second})
	check(t, err)
	defer s.Close()
	h := granted(t, ctx, s)
	os.Stdout.WriteString(h.Node().Path + "\n")
	debug.WriteHeapDump(3)
	resumed := time.Now()
	runtime.KeepAlive(heap)
	os.NewFile(3, "dump").Close()
	if late := h.Deadline().Sub(resumed); late >= 0 {
		t.Errorf("the lease lasts for %v after the stop, want it over", late)
	}
	for what, done := range map[string]<-chan struct{}{"context of the hold": h.Context().Done(), "session": s.Done()} {
		select {
		case <-done:
		case <-ctx.Done():
			t.Errorf("the %s did not end", what)
		}
	}
	if !errors.Is(s.Err(), session.ErrLost) {
		t.Errorf("got %v, want %v", s.Err(), session.ErrLost)
	}
	next, err := session.Open(ctx, session.Options{Servers: []string{server}, Timeout: 4 * time.Second})
	check(t, err)
	defer next.Close()
	granted(t, ctx, next)
}

// The function `granted` creates a znode and returns a granted hold on it.
func granted(t *testing.T, ctx context.Context, s *session.Session) *recipe.Hold {
	t.Helper()
	node, err := recipe.CreateProtected(ctx, s, "/lock", "lock", nil, session.EphemeralSequential)
	check(t, err)
	h := recipe.NewHold(s, node)
	check(t, h.Grant(ctx))
	return h
}
