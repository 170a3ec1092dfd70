package trace

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A server that closes the connection has refused the session, and Handshake returns no error. If a
// server does not answer, Handshake returns an error.
func TestSilenceIsNoRefusal(t *testing.T) {
	for _, closes := range []bool{true, false} {
		virtual.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				if closes {
					_, _ = wire.ReadFrame(server, nil, 0)
					server.Close()
				}
				_, _ = io.Copy(io.Discard, server)
			}()
			l, err := Dial(t.Context(), &Servers{
				Addresses: []string{"server"}, Patience: time.Minute,
				Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil },
			}, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			rsp, err := l.Handshake(wire.ConnectRequest{Password: make([]byte, 16)})
			silent := err != nil && strings.Contains(err.Error(), "no reply within 1m0s")
			if rsp != nil || silent == closes || closes && err != nil || l.Over() != closes {
				t.Errorf("server closes the connection %v: got an answer %v, error %v, over %v; want no answer, an error only of silence, over %v",
					closes, rsp != nil, err, l.Over(), closes)
			}
		})
	}
}
