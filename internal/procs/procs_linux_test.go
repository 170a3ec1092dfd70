package procs

import (
	"os/exec"
	"testing"
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
