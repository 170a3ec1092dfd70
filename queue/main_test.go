package queue_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/faulttest"
	"github.com/zkcoord/zkcoord/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/app/q"

func newQueue(e *faulttest.Ensemble, o queue.Options[string]) (*queue.Queue[string], *faulttest.Requests) {
	s, r := e.Open()
	return queue.New(s, path, o), r
}

func numbers(from, n int) []string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("item-%06d", from+i)
	}
	return items
}
