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
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/session"
)

// Ensemble is a list of addresses.
type Ensemble struct {
	options Options
	closed  atomic.Bool
}

// Options say how to reach the servers. Every connection of a run is made in this way, whoever makes it: the programs
// under test, also those of other libraries and in processes of their own, the harness itself, and faults. Only Servers is
// required.
type Options struct {
	// Servers are addresses as session.Options.Servers takes them.
	Servers []string
	// TLS, if not nil, is used on every connection. An empty ServerName is taken from each address.
	TLS *tls.Config
	// Auth is sent on every connection. What the run creates is open to everybody, below a znode of its own at the root; so a
	// credential is of use where the ACL of the root names it, or where servers serve authenticated clients only.
	Auth []session.Auth
}

var _ ensemble.Ensemble = (*Ensemble)(nil)

// New returns the ensemble at these addresses. It does not connect. It is an error if an address cannot be right, or is there
// twice.
func New(o Options) (*Ensemble, error) {
	servers, chroot, err := session.ParseConnectString(strings.Join(o.Servers, ","))
	switch {
	case err != nil:
		return nil, fmt.Errorf("external ensemble: %w", err)
	case chroot != "":
		return nil, fmt.Errorf("external ensemble: the chroot %s: a run makes a znode of its own at the root", chroot)
	}
	for i, address := range servers {
		if slices.Contains(servers[:i], address) {
			return nil, fmt.Errorf("external ensemble: %s is there twice", address)
		}
	}
	o.Servers = servers
	return &Ensemble{options: o}, nil
}

// Kind is "external".
func (e *Ensemble) Kind() string { return "external" }

// Servers returns the addresses in the order given.
func (e *Ensemble) Servers() []string { return slices.Clone(e.options.Servers) }

// DialContext connects to one of the addresses, and to no other.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if e.closed.Load() {
		return nil, ensemble.ErrClosed
	}
	if !slices.Contains(e.options.Servers, address) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is none of %v", address, e.options.Servers)}
	}
	conn, err := e.dial(ctx, network, address)
	if err != nil || len(e.options.Auth) == 0 {
		return conn, err
	}
	return &authConn{Conn: conn, auth: e.options.Auth}, nil
}

func (e *Ensemble) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.options.TLS != nil {
		return (&tls.Dialer{Config: e.options.TLS}).DialContext(ctx, network, address)
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
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.options.Servers, all, nil)
}

// Leader asks all servers.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if e.closed.Load() {
		return 0, ensemble.ErrClosed
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.options.Servers, all))
}

func all(int) bool { return true }

// Close makes the other methods fail. It does nothing to the servers.
func (e *Ensemble) Close(context.Context) error {
	e.closed.Store(true)
	return nil
}
