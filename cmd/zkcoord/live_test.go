package main

import (
	"sync"
	"testing"

	"github.com/zkcoord/zkcoord/harness"
)

// This test is for the race detector: an interrupt is reported from a separate goroutine, possibly
// while the next run begins.
func TestNoteAtTheStartOfARun(t *testing.T) {
	a := quietApp()
	var group sync.WaitGroup
	group.Go(func() { a.note("interrupted") })
	a.showing(new(harness.Options))()
	group.Wait()
}
