// Package external is an ensemble that somebody else runs: a list of addresses. Nothing can be done to its servers from here, so
// that the only faults are those of the clients' own links. The containers of a docker-compose project on this machine can
// take faults of servers too: see container.Attach.
//
// Point it only at an ensemble that is there to be tried out: clients write to it, under a path of their own, and lose
// sessions on purpose.
package external

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Ensemble is a list of addresses.
type Ensemble struct {
	servers []string
	tls     *tls.Config // nil for none
	closed  atomic.Bool
}

var _ ensemble.Ensemble = (*Ensemble)(nil)

// New returns the ensemble at these addresses, each a host with the port 2181 or its own. It does not connect.
func New(addresses ...string) (*Ensemble, error) {
	e := new(Ensemble)
	for _, address := range addresses {
		address = strings.TrimSpace(address)
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), "2181")
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil || host == "" {
			return nil, fmt.Errorf("external ensemble: %q is no address of a server", address)
		}
		if slices.Contains(e.servers, address) {
			return nil, fmt.Errorf("external ensemble: %s is there twice", address)
		}
		e.servers = append(e.servers, address)
	}
	if len(e.servers) == 0 {
		return nil, errors.New("external ensemble: no addresses of servers")
	}
	return e, nil
}

// NewTLS is New for servers that are reached by TLS. An empty ServerName is taken from each address.
func NewTLS(config *tls.Config, addresses ...string) (*Ensemble, error) {
	e, err := New(addresses...)
	if err == nil {
		e.tls = config
	}
	return e, err
}

// Kind is "external".
func (e *Ensemble) Kind() string { return "external" }

// Servers returns the addresses in the order given.
func (e *Ensemble) Servers() []string { return slices.Clone(e.servers) }

// DialContext connects to one of the addresses, and to no other.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if e.closed.Load() {
		return nil, ensemble.ErrClosed
	}
	if !slices.Contains(e.servers, address) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is none of %v", address, e.servers)}
	}
	if e.tls != nil {
		return (&tls.Dialer{Config: e.tls}).DialContext(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// Ready waits until all servers serve under one leader. They have to allow the four-letter word srvr, which ZooKeeper
// allows unless told otherwise.
func (e *Ensemble) Ready(ctx context.Context) error {
	if e.closed.Load() {
		return ensemble.ErrClosed
	}
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.servers, all, nil)
}

// Leader asks all servers.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if e.closed.Load() {
		return 0, ensemble.ErrClosed
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.servers, all))
}

func all(int) bool { return true }

// Close makes the other methods fail. It does nothing to the servers.
func (e *Ensemble) Close(context.Context) error {
	e.closed.Store(true)
	return nil
}
