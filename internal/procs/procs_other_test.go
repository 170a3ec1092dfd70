//go:build !linux

package procs

import (
	"errors"
	"os/exec"
	"testing"
)

func TestStartSaysThatItNeedsLinux(t *testing.T) {
	c, err := Start(exec.Command("go"))
	if c != nil || !errors.Is(err, ErrNeedsLinux) {
		t.Errorf("got a child %v, error %v; want false and %v", c != nil, err, ErrNeedsLinux)
	}
}
