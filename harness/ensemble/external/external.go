// Package external connects to an ensemble that someone else runs, given by a list of addresses. It
// cannot inject faults into the servers, so the only faults are those of the clients' own
// connections. For the containers of a docker-compose project on this machine, server faults are
// possible too: see container.Attach.
//
// Use it only with an ensemble that exists for tests. Clients write to it, under a separate path,
// and lose sessions on purpose.
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

// Options describe how a run connects to the servers. The options apply to every connection of the
// run: to connections of the programs under test, of the harness itself, and of faults. The
// programs under test may use other libraries or run in separate processes: the options apply to
// their connections too. Only Servers is required.
type Options struct {
	// Servers are addresses in the format of session.Options.Servers.
	Servers []string
	// TLS is used on every connection unless it is nil. If its ServerName is empty, each connection
	// uses the host in its address.
	TLS *tls.Config
	// Auth is sent on every connection. A run creates one znode at the root, and all its other
	// znodes below that one. The ACLs of the znodes that a run creates allow everyone access. So a
	// run needs a credential only in two cases: the ACL of the root requires the credential to
	// create or delete a znode there, or the servers serve only authenticated clients.
	Auth []session.Auth
}

var _ ensemble.Ensemble = (*Ensemble)(nil)

// New returns an ensemble that consists of the servers at the addresses o.Servers. New does not
// connect to these servers. It returns an error if an address is malformed or occurs twice.
func New(o Options) (*Ensemble, error) {
	servers, chroot, err := session.ParseConnectString(strings.Join(o.Servers, ","))
	switch {
	case err != nil:
		return nil, fmt.Errorf("external ensemble: %w", err)
	case chroot != "":
		return nil, fmt.Errorf("external ensemble: chroot %s is not supported, because a run creates its znode at the root", chroot)
	}
	for i, address := range servers {
		if slices.Contains(servers[:i], address) {
			return nil, fmt.Errorf("external ensemble: address %s occurs twice", address)
		}
	}
	o.Servers = servers
	return &Ensemble{options: o}, nil
}

// Kind returns "external".
func (e *Ensemble) Kind() string { return "external" }

// Servers returns the addresses in the given order.
func (e *Ensemble) Servers() []string { return slices.Clone(e.options.Servers) }

// DialContext connects to one of the addresses. Any other address is an error.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if e.closed.Load() {
		return nil, ensemble.ErrClosed
	}
	if _, err := ensemble.NodeAt(e.options.Servers, network, address); err != nil {
		return nil, err
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

// Ready waits until all servers serve under one leader. They must allow the four-letter word srvr,
// which ZooKeeper does by default.
func (e *Ensemble) Ready(ctx context.Context) error {
	if e.closed.Load() {
		return ensemble.ErrClosed
	}
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.options.Servers, all, nil)
}

// Leader queries all servers.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if e.closed.Load() {
		return 0, ensemble.ErrClosed
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.options.Servers, all))
}

func all(int) bool { return true }

// Close makes the other methods fail. It does not affect the servers.
func (e *Ensemble) Close(context.Context) error {
	e.closed.Store(true)
	return nil
}
