// Package times has what the standard library lacks for times: the earlier and the later one of two
// times, and a wait that a context can end.
package times

import (
	"context"
	"time"
)

// Earlier returns the earlier one of two times.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later returns the later one of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Sleep waits for d and returns true. It returns false as soon as ctx has ended.
//
// If d is not positive, Sleep uses no timer, because its timer would be due at once. Go's race
// detector can crash if two goroutines of one test in virtual time receive from timers that are
// already due (golang/go#78156).
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
