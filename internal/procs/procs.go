// Package procs starts processes that do not outlive this one, stops them as a machine does that has no time for them, and lets
// them go on. That needs Linux: elsewhere Start says so.
package procs

import (
	"errors"
	"os/exec"
)

// ErrNeedsLinux is the error of Start where the kernel cannot end a process together with the one that started it.
var ErrNeedsLinux = errors.New("processes of their own, which are stopped and killed, need Linux; what runs in this process alone does not")

// Able is nil where Start can work, else ErrNeedsLinux.
func Able() error { return bind(new(exec.Cmd)) }
