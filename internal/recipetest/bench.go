package recipetest

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// ServersEnv is the environment variable with the addresses of a running ensemble: host:port,
// separated by commas. Benchmarks use that ensemble instead of zktest, so that they measure only
// the client.
const ServersEnv = "ZKCOORD_BENCH_SERVERS"

// Ensemble returns the addresses of servers and the function that dials them. If the variable
// ServersEnv is set, Ensemble returns the addresses in it, and the function is nil. If the variable
// is not set, Ensemble starts an ensemble of zktest.
func Ensemble(b *testing.B) (servers []string, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	if running := os.Getenv(ServersEnv); running != "" {
		return strings.Split(running, ","), nil
	}
	e := zktest.Start(b, zktest.Options{MaxClientConns: -1})
	return e.Servers(), e.DialContext
}

// Calls measures n calls. The calls are divided among clients of one ensemble. Each client has its
// own session, and makes one call after another with the function that `open` returns.
func Calls(b *testing.B, clients, n int, open func(*session.Session) func() error) {
	servers, dial := Ensemble(b)
	var calls []func() error
	for range clients {
		s := Must(session.Open(b.Context(), session.Options{Servers: servers, Dial: dial}))
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
