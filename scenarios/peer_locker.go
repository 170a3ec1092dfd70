package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/scenarios/peers"
)

// peerLock is a lock of another library as a locker.
type peerLock struct{ *peers.Peer }

// openPeer starts a client of the library on the servers that the client is
// to use.
func openPeer(l peers.Library, timeout time.Duration, servers serversOf) func(context.Context, *harness.Client, string) (locker, error) {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		p, err := peers.Start(ctx, l, servers(c), c.Dial, timeout, path)
		if err != nil {
			return nil, err
		}
		c.Opened(harness.SessionInfo{ID: p.ID, Password: p.Password, Timeout: timeout})
		return peerLock{p}, nil
	}
}

func (p peerLock) lock(ctx context.Context) (held, error) {
	czxid, node, err := p.Acquire(ctx)
	if err != nil {
		return held{}, err
	}
	return held{Context: p.Lost(), token: czxid, path: node, unlock: p.Release}, nil
}

func (p peerLock) lost() error { return context.Cause(p.Lost()) }
func (p peerLock) close()      { p.Close() }
