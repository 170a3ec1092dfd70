//go:build !linux

package procs

import (
	"context"
	"os/exec"
)

func bind(*exec.Cmd) error { return ErrNeedsLinux }

// Stop works only on Linux.
func Stop(context.Context, int) error { return ErrNeedsLinux }

// Continue works only on Linux.
func Continue(int) error { return ErrNeedsLinux }

func stopGroup(context.Context, int) error { return ErrNeedsLinux }

func continueGroup(int) error { return ErrNeedsLinux }

// AbleToLimitMemory returns ErrNeedsLinux.
func AbleToLimitMemory() error { return ErrNeedsLinux }

func limitMemory(int) (func() (bool, error), error) { return nil, ErrNeedsLinux }
