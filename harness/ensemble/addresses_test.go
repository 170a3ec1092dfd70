package ensemble

import (
	"context"
	"net"
	"slices"
	"testing"
)

// The type `named` is an ensemble of one node. Only the ensemble's DialContext can resolve the
// node's address.
type named struct {
	Ensemble
	dial func(ctx context.Context) (net.Conn, error)
}

func (n named) Servers() []string { return []string{"node0:2181"} }

func (n named) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) }

func TestAddressesAreThoseOfSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listens := named{dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}}
	if got, err := Addresses(t.Context(), listens); err != nil || !slices.Equal(got, []string{l.Addr().String()}) {
		t.Errorf("got %v, %v; want the address of the listener, %v", got, err, l.Addr())
	}
	inMemory := named{dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		return ours, theirs.Close()
	}}
	if got, err := Addresses(t.Context(), inMemory); err == nil {
		t.Errorf("got %v for an ensemble that does not listen, want an error", got)
	}
}
