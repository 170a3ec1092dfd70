package browser

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/owner"
)

// parentMark is an environment variable. A test process in which it is set starts a browser, prints
// the path of the browser's profile, and waits to be killed.
const parentMark = "ZKCOORD_TEST_BROWSER"

func TestMain(m *testing.M) {
	if os.Getenv(parentMark) != "" {
		b, err := Start()
		if err != nil {
			panic(err)
		}
		fmt.Println(b.profile)
		b.read.Wait()
	}
	goleak.VerifyTestMain(m)
}

func TestNothingIsLeft(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	b, err := Start()
	if errors.Is(err, ErrNone) {
		needs.Installed(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(t.Context(), "about:blank", View{Width: 800, Height: 600}); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("got remaining files %v, error %v, want none", left, err)
	}
}

// Regression: a killed test run left a profile in the temporary directory permanently.
func TestWhatAKilledTestLeavesIsSwept(t *testing.T) {
	dir := t.TempDir()
	// The script takes the place of a browser. Like a browser, it does not close its ends of the
	// two pipes from Start while it runs. So `parent`, the process that starts the script, waits
	// on a pipe until it is killed.
	if err := os.WriteFile(filepath.Join(dir, names[0]), []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), parentMark+"=1", "TMPDIR="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	profile := strings.TrimSpace(said)
	if err != nil || filepath.Dir(profile) != dir {
		t.Fatalf("got output %q, error %v, want the path of the profile", said, err)
	}
	_ = parent.Process.Kill() // cannot fail, because the process has not ended
	_ = parent.Wait()         // killed by a signal
	owner.Sweep(dir)
	if _, err := os.Stat(profile); !os.IsNotExist(err) {
		t.Errorf("the profile %s after the sweep: got error %v, want that it does not exist",
			profile, err)
	}
}
