package session_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// These benchmarks compare the cost of a request in a session with the cost of the same request in
// go-zookeeper's client alone. The servers are in memory.

func BenchmarkGet(b *testing.B) {
	e := zktest.Start(b)
	s, err := session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	bench(b, "session", func() error {
		_, err := s.Get(b.Context(), "/")
		return err
	})
	client := bareClient(b, e)
	defer client.Close()
	bench(b, "client", func() error {
		_, _, err := client.Get("/")
		return err
	})
}

func BenchmarkSet(b *testing.B) {
	e := zktest.Start(b)
	s, err := session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create(b.Context(), "/n", nil, session.Persistent); err != nil {
		b.Fatal(err)
	}
	bench(b, "session", func() error {
		_, err := s.Set(b.Context(), "/n", nil, session.AnyVersion)
		return err
	})
	client := bareClient(b, e)
	defer client.Close()
	bench(b, "client", func() error {
		_, err := client.Set("/n", nil, -1)
		return err
	})
}

// BenchmarkCreateProtected measures the create with which the acquisition of a lock begins.
func BenchmarkCreateProtected(b *testing.B) {
	e := zktest.Start(b)
	s, err := session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		node, err := recipe.CreateProtected(b.Context(), s, "/", "n", nil, session.EphemeralSequential)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Delete(b.Context(), node.Path, session.AnyVersion); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func bench(b *testing.B, name string, call func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func bareClient(b *testing.B, e *zktest.Ensemble) *zk.Conn {
	client, events, err := zk.Connect(e.Servers(), 10*time.Second, zk.WithLogInfo(false),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return e.DialContext(ctx, network, address)
		}))
	if err != nil {
		b.Fatal(err)
	}
	for event := range events {
		if event.State == zk.StateHasSession {
			break
		}
	}
	return client
}
