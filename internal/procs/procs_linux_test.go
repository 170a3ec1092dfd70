package procs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/needs"
)

func TestAProcessStopsAndGoesOn(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	if Stopped(pid) {
		t.Error("got stopped before Stop, want running")
	}
	for range 2 {
		if err := Stop(t.Context(), pid); err != nil || !Stopped(pid) {
			t.Errorf("after Stop: got stopped %t, %v; want true", Stopped(pid), err)
		}
		if err := Continue(pid); err != nil || Stopped(pid) {
			t.Errorf("after Continue: got stopped %t, %v; want false", Stopped(pid), err)
		}
	}
}

// The kernel writes the name of a process into /proc/pid/stat without escaping it. Stopped must not
// mistake a part of the name for the state. In this test, the name contains parentheses that are
// followed by the letters of two states, R and T.
func TestAProcessWithAnyNameStops(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	needs.Installed(t, err)
	link := filepath.Join(t.TempDir(), "a) R (b) T")
	if err := os.Symlink(sleep, link); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: link, Args: []string{"sleep", "1000"}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Stop(ctx, cmd.Process.Pid); err != nil || !Stopped(cmd.Process.Pid) {
		t.Errorf("after Stop: got stopped %t, %v; want true", Stopped(cmd.Process.Pid), err)
	}
}
