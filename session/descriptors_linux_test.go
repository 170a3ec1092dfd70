package session

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

const descriptorsOf = "ZKCOORD_TEST_DESCRIPTORS"

// A program that has used up its file descriptors cannot connect. The session logs the reason, and
// resumes once a descriptor is free. The test lowers the limit of descriptors in a separate
// process, which runs the function withoutDescriptors.
func TestSessionSurvivesUsedUpDescriptors(t *testing.T) {
	if server := os.Getenv(descriptorsOf); server != "" {
		withoutDescriptors(t, server)
		return
	}
	e, err := zktest.New(zktest.Options{Servers: 1, TCP: true})
	must(t, err)
	defer e.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), descriptorsOf+"="+e.Servers()[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the program without free descriptors failed: %v\n%s", err, out)
	}
}

func withoutDescriptors(t *testing.T, server string) {
	opts := Options{Servers: []string{server}, Timeout: 20 * time.Second}
	const why = "too many open files"
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	opts.Logger = slog.New(slog.NewTextHandler(writer(func(line []byte) (int, error) {
		if strings.Contains(string(line), why) {
			tell()
		}
		return len(line), nil
	}), nil))
	s := open(t, opts)
	defer s.Close()
	id := s.ID()
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Second)
	defer cancel()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 3 // all descriptors up to this limit are in use
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	must(t, s.Sync(ctx, "/")) // the open connection is not affected
	s.hangUp()
	select {
	case <-told:
		if s.State() != Suspended {
			t.Errorf("got state %v, want %v", s.State(), Suspended)
		}
	case <-ctx.Done():
		t.Errorf("the log does not contain %q", why)
	}
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if err := s.Sync(ctx, "/"); err != nil || s.ID() != id {
		t.Errorf("with descriptors: got %v, session %x; want session %x", err, s.ID(), id)
	}
}
