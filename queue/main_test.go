package queue_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/app/q"

func newQueue(w *coordtest.World, o queue.Options[string]) (*queue.Queue[string], *coordtest.Client) {
	c := w.Client()
	return queue.New(c.Session, path, o), c
}

func numbers(from, n int) []string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("item-%06d", from+i)
	}
	return items
}
