package queue_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/app/q"

func newQueue(w *recipetest.World, o queue.Options[string]) (*queue.Queue[string], *recipetest.Client) {
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
