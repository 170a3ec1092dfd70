package postgres

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
)

// Regression: 9.6 was taken for newer than 17, because the names were compared as text.
func TestNewestVersion(t *testing.T) {
	paths := []string{"/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/17/bin/initdb", "/usr/lib/postgresql/9.6/bin/initdb"}
	if got := newest(paths); got != paths[1] {
		t.Errorf("got %s, want %s", got, paths[1])
	}
}

// Regression: Close killed the server, and the server's segment of shared memory stayed.
func TestCloseLeavesNoSharedMemory(t *testing.T) {
	needs.Installed(t, Installed())
	s, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // if the test ends early
	// The columns of the file are: key, shmid, perms, size, cpid (the creator's process).
	segment := regexp.MustCompile(fmt.Sprintf(`(?m)^ *(?:-?\d+ +){4}%d .*$`, s.child.Pid()))
	segments := func() string {
		text, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err) // a server can be started only on Linux, which has this file
		}
		return segment.FindString(string(text))
	}
	before := segments()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if before == "" || segments() != "" {
		t.Errorf("the server's shared memory: got %q while it ran and %q after Close, want some and none", before, segments())
	}
}
