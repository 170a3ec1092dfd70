package lock_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// BenchmarkMutex is a lock taken and released, by clients with a session each.
func BenchmarkMutex(b *testing.B) {
	for _, clients := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			cycles(b, clients, func(s *session.Session) func() error {
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

// BenchmarkRWMutex is the same by readers alone, who hold it together.
func BenchmarkRWMutex(b *testing.B) {
	cycles(b, 8, func(s *session.Session) func() error {
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
	cycles(b, 8, func(s *session.Session) func() error {
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

// cycles shares b.N calls out to clients.
func cycles(b *testing.B, clients int, open func(*session.Session) func() error) {
	e := zktest.Start(b, zktest.Options{MaxClientConns: -1})
	var calls []func() error
	for range clients {
		s, err := session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		calls = append(calls, open(s))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var work errgroup.Group
	for i, call := range calls {
		work.Go(func() error {
			for range b.N*(i+1)/clients - b.N*i/clients {
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}
