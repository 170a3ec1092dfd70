package lock_test

import (
	"fmt"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// BenchmarkMutex acquires and releases a lock. Each client has its own session.
func BenchmarkMutex(b *testing.B) {
	for _, clients := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			recipetest.Calls(b, clients, b.N, func(s *session.Session) func() error {
				m := lock.NewMutex(s, "/lock", lock.Options{})
				return func() error {
					g, err := m.Lock(b.Context())
					if err != nil {
						return err
					}
					return g.Unlock(b.Context())
				}
			})
		})
	}
}

// BenchmarkRWMutex is like BenchmarkMutex, with readers that hold the lock together.
func BenchmarkRWMutex(b *testing.B) {
	recipetest.Calls(b, 8, b.N, func(s *session.Session) func() error {
		m := lock.NewRWMutex(s, "/lock", lock.Options{})
		return func() error {
			g, err := m.RLock(b.Context())
			if err != nil {
				return err
			}
			return g.Unlock(b.Context())
		}
	})
}

func BenchmarkSemaphore(b *testing.B) {
	recipetest.Calls(b, 8, b.N, func(s *session.Session) func() error {
		m := lock.NewSemaphore(s, "/semaphore", 3, lock.Options{})
		return func() error {
			g, err := m.Acquire(b.Context(), 1)
			if err != nil {
				return err
			}
			return g.Unlock(b.Context())
		}
	})
}
