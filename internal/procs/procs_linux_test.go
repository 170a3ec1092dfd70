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
		t.Error("it is stopped before anybody has stopped it")
	}
	for range 2 {
		if err := Stop(t.Context(), pid); err != nil || !Stopped(pid) {
			t.Errorf("stopped %t, %v", Stopped(pid), err)
		}
		if err := Continue(pid); err != nil || Stopped(pid) {
			t.Errorf("stopped %t, %v", Stopped(pid), err)
		}
	}
}
