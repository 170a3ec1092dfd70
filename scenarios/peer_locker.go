package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// peerLock is a lock of another library as a locker.
type peerLock struct {
	*peers.Peer
	c *harness.Client
}

// openPeer starts a client of the library, with the recipe, on the servers that the client is
// to use.
func openPeer(l peers.Library, r peers.Recipe, timeout time.Duration, servers serversOf) opener {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		p, err := peers.Start(ctx, l, servers(ctx, c), c.Dial, timeout, path, r)
		if err != nil {
			return nil, err
		}
		c.Opened(harness.SessionInfo{ID: p.ID, Password: p.Password, Timeout: timeout})
		c.RunsIn(p.Process())
		return peerLock{p, c}, nil
	}
}

// needing is the workload, refused where the libraries are not installed. One
// client of each is started before the work, which compiles it: that takes seconds
// on a slow machine, and what cannot be started is said at once.
func needing(inner func(*harness.Env) harness.Workload, libraries ...peers.Library) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		w := inner(env)
		setup := w.Setup
		w.Setup = func(ctx context.Context, env *harness.Env) error {
			for _, l := range libraries {
				p, err := peers.Start(ctx, l, env.Servers(), env.Dial, sessionTimeout, znode.Join(env.Root(), "first"), peers.Mutex)
				if err != nil {
					return err
				}
				p.Close()
			}
			if setup == nil {
				return nil
			}
			return setup(ctx, env)
		}
		return w
	}
}

func (p peerLock) lock(ctx context.Context, want string) (held, error) {
	czxid, node, err := p.Acquire(ctx, want)
	if err != nil {
		return held{}, err
	}
	return held{Context: p.Lost(), token: czxid, path: node, unlock: p.Release}, nil
}

func (p peerLock) lost() error { return context.Cause(p.Lost()) }

func (p peerLock) close() {
	p.c.RunsIn(nil)
	p.Close()
}
