package recipetest

import (
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Calls measures n calls. It distributes them among clients of one ensemble, each with its own
// session. Each client makes one call after another, with the function that open returns.
func Calls(b *testing.B, clients, n int, open func(*session.Session) func() error) {
	e := zktest.Start(b, zktest.Options{MaxClientConns: -1})
	var calls []func() error
	for range clients {
		s := Must(session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext}))
		defer s.Close()
		calls = append(calls, open(s))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var work errgroup.Group
	for i, call := range calls {
		work.Go(func() error {
			for range n*(i+1)/clients - n*i/clients {
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	Check(b, work.Wait())
	b.StopTimer()
}
