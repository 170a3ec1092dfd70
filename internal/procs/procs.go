// Package procs starts processes that do not outlive this one. It can also stop them, as if the
// machine gave them no processor time, and resume them. It needs Linux; on other systems Start
// returns an error.
package procs

import (
	"errors"
	"os/exec"
)

// ErrNeedsLinux is the error of Start on a system whose kernel cannot end a process together with
// its parent.
var ErrNeedsLinux = errors.New("starting separate processes needs Linux; only runs within this process work on this system")

// Able returns nil if Start can work on this system, and ErrNeedsLinux otherwise.
func Able() error { return bind(new(exec.Cmd)) }
