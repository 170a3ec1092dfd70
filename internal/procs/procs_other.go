//go:build !linux

package procs

import (
	"context"
	"os/exec"
)

func bind(*exec.Cmd) error { return ErrNeedsLinux }

// Stop is for Linux alone.
func Stop(context.Context, int) error { return ErrNeedsLinux }

// Continue is for Linux alone.
func Continue(int) error { return ErrNeedsLinux }

func stopGroup(context.Context, int) error { return ErrNeedsLinux }

func continueGroup(int) error { return ErrNeedsLinux }
