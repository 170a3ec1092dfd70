package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs f with an ensemble on a virtual clock.
func bubble(t *testing.T, f func(t *testing.T, e *ensemble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, &ensemble{zktest.Start(t), t}) })
}

type ensemble struct {
	*zktest.Ensemble
	t *testing.T
}

// open opens a session that counts its requests, and closes it at the end.
func (e *ensemble) open(change ...func(*session.Options)) (*session.Session, *requests) {
	e.t.Helper()
	r := &requests{n: map[string]int{}}
	opts := session.Options{
		Servers: e.Servers(), Dial: e.DialContext, Timeout: 6 * time.Second,
		Metrics: session.Metrics{Request: r.add},
	}
	for _, f := range change {
		f(&opts)
	}
	s, err := session.Open(e.t.Context(), opts)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { s.Close() })
	return s, r
}

// requests counts the requests of a session by kind.
type requests struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *requests) add(op string, _ time.Duration, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n[op]++
}

// since returns the requests made since the last call.
func (r *requests) since() map[string]int {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.n
	r.n = map[string]int{}
	return n
}

func total(n map[string]int) (sum int) {
	for _, k := range n {
		sum += k
	}
	return sum
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// znodes lists all nodes below path, but for those of the server.
func znodes(t *testing.T, s *session.Session, path string) []string {
	t.Helper()
	check(t, s.Sync(context.Background(), path))
	listing, err := s.Children(context.Background(), path)
	if err != nil {
		return nil
	}
	var all []string
	for _, name := range listing.Names {
		child := path + "/" + name
		all = append(append(all, child), znodes(t, s, child)...)
	}
	return all
}

func numbers(from, n int) []string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("item-%06d", from+i)
	}
	return items
}
