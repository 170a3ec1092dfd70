package main

import (
	"sync"
	"testing"

	"github.com/zkcoord/zkcoord/harness"
)

// For the race detector: an interrupt is told of from a goroutine of its own, also while the next run begins.
func TestNoteMayComeAsARunBegins(t *testing.T) {
	a := quietApp()
	var group sync.WaitGroup
	group.Go(func() { a.note("interrupted") })
	a.showing(new(harness.Options))()
	group.Wait()
}
