package virtual_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

// The function `hang` blocks, while a ticker keeps the bubble alive.
func hang(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		go func() {
			for range time.Tick(time.Minute) {
			}
		}()
		go func() { <-make(chan int) }()
		wait(t)
	})
}

func wait(t *testing.T) {
	t.Error("an earlier failure")
	<-make(chan int)
}

// If a test hangs, the test's process ends. It prints only a few lines, which say where the test
// waits.
func TestHangSaysWhereTheTestWaits(t *testing.T) {
	if os.Getenv("HANG") != "" {
		hang(t)
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), "HANG=1")
	out, err := c.CombinedOutput()
	got, _, _ := strings.Cut(string(out), "\n\n")
	want := regexp.MustCompile(`^panic: TestHangSaysWhereTheTestWaits has failed \(-v shows how\), and is still running after 5h0m0s of virtual time. It waits at:
\tvirtual/virtual_test.go:28, virtual/virtual_test.go:22
\tvirtual/virtual_test.go:18
\tvirtual/virtual_test.go:21$`)
	if err == nil || !want.MatchString(got) || strings.Count(string(out), "\n") > 20 {
		t.Errorf("got error %v and the output\n%s\nwant a failure, and no more than 20 lines that begin with\n%s", err, out, want)
	}
}

// A test may take up to the limit. The virtual time of an earlier test does not count.
func TestNoHang(t *testing.T) {
	for range 2 {
		virtual.Test(t, func(t *testing.T) { time.Sleep(virtual.Limit - 1) })
	}
}
