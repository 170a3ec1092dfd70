// Package procs starts processes that do not outlive this one, stops them as a machine does that has no time for them, and lets
// them go on. That needs Linux: elsewhere Start says so.
package procs

import "errors"

// ErrNeedsLinux is the error of Start where the kernel cannot end a process together with the one that started it.
var ErrNeedsLinux = errors.New("programs of their own that are stopped and killed need Linux; the embedded ensemble needs none of them")
