//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// The test isolates one of two members of a round. When the servers expire that member's session,
// the other member leaves the round. By then, the command of the isolated member must have ended,
// although the isolated member cannot learn of the expiry.
func TestCommandOfAnIsolatedMemberEnds(t *testing.T) {
	e := zktest.Start(t, zktest.Options{Servers: 3, TCP: true})
	pidFile := filepath.Join(t.TempDir(), "pid")
	isolated := (e.Leader() + 1) % 3
	enter := func(server int, script string) (*exec.Cmd, *strings.Builder) {
		cmd := exec.CommandContext(t.Context(), "zkcoord", "barrier", "enter", "--size", "2", "--servers", e.Servers()[server],
			"--session-timeout", "5s", "--grace", "100ms", "/round", "--", "sh", "-c", script)
		errs := &strings.Builder{}
		cmd.Stderr = errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, errs
	}
	member, memberErrs := enter(isolated, `echo $$ >`+pidFile+`.new; mv `+pidFile+`.new `+pidFile+`; exec sleep 1000`)
	other, otherErrs := enter(e.Leader(), "true")
	pid := 0
	for end := time.Now().Add(time.Minute); pid == 0 && time.Now().Before(end); {
		text, _ := os.ReadFile(pidFile) // if the file does not exist yet, text has no number
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if pid == 0 {
		t.Fatal("the command of the member did not start within a minute")
	}
	e.Isolate(isolated)
	if err := other.Wait(); err != nil {
		t.Errorf("the other member: got error %v, want none; %s", err, otherErrs)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("after the other member has left: got error %v for the isolated member's command, want %v", err, syscall.ESRCH)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := member.Wait(); member.ProcessState.ExitCode() != exitLost {
		t.Errorf("the isolated member: got %v, want exit code %d; %s", err, exitLost, memberErrs)
	}
}
