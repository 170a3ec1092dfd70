// Package external is an ensemble that somebody else looks after, known by the addresses of its servers: a staging
// cluster, say. Nothing can be done to its servers; faults on the clients' side and to sessions work as anywhere.
//
// # Not guaranteed
//
// Nothing about the servers' settings. A run needs the four-letter word srvr (4lw.commands.whitelist) to see who leads.
package external

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Ensemble is an ensemble of the harness with no capability beside those of every ensemble.
type Ensemble struct {
	servers []string
	dial    ensemble.DialFunc
	closed  atomic.Bool
}

var _ ensemble.Ensemble = (*Ensemble)(nil)

// Attach makes an ensemble of servers, host:port each. It connects to none of them: Ready does. A nil dial is net.Dialer's.
func Attach(servers []string, dial ensemble.DialFunc) (*Ensemble, error) {
	if len(servers) == 0 {
		return nil, errors.New("external: no servers given")
	}
	for _, s := range servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return nil, fmt.Errorf("external: server %q: %w", s, err)
		}
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &Ensemble{servers: slices.Clone(servers), dial: dial}, nil
}

// Kind is "external".
func (e *Ensemble) Kind() string { return "external" }

// Servers are the addresses given.
func (e *Ensemble) Servers() []string { return slices.Clone(e.servers) }

// DialContext connects to one of them.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if !slices.Contains(e.servers, address) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("external: no server has address %q", address)}
	}
	return e.dial(ctx, network, address)
}

// Ready waits until all servers serve in one quorum.
func (e *Ensemble) Ready(ctx context.Context) error {
	return ensemble.AwaitQuorum(ctx, e.DialContext, e.servers, all, e.open)
}

// Leader asks all servers who leads.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	return ensemble.Newest(ensemble.Survey(ctx, e.DialContext, e.servers, all))
}

func (e *Ensemble) open() error {
	if e.closed.Load() {
		return ensemble.ErrClosed
	}
	return nil
}

func all(int) bool { return true }

// Close ends dialing. The servers stay as they are.
func (e *Ensemble) Close(context.Context) error {
	e.closed.Store(true)
	return nil
}
