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

// /proc/pid/stat contains the name of a process unchanged. Stopped must not mistake a part of the
// name for the state.
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
