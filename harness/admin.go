package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// admin makes the root of the run, looks for what is left there, and removes it.
type admin interface {
	ephemerals(path string) ([]string, error)
	removeRoot(ctx context.Context) error
	close()
}

// zkAdmin is the harness's own session. It is on the bare client library, since
// what is tested must not be what tests.
type zkAdmin struct {
	conn *zk.Conn
	root string
	end  func()
}

func newAdmin(ctx context.Context, env *Env) (admin, error) {
	conn, err := env.Admin(ctx)
	if err != nil {
		return nil, err
	}
	a := &zkAdmin{conn: conn, root: env.root, end: Once(conn.Close)}
	// A request blocks for as long as no server answers; closing ends it.
	defer context.AfterFunc(ctx, a.close)()
	_, err = conn.Create(env.root, nil, 0, zk.WorldACL(zk.PermAll))
	if err == nil || errors.Is(err, zk.ErrNodeExists) {
		return a, nil
	}
	a.close()
	return nil, err
}

// Admin opens a session that nothing gets between, for faults and for final
// reads. Requests may fail while the ensemble is broken. If ctx ends first there
// is none. The caller closes it.
func (e *Env) Admin(ctx context.Context) (*zk.Conn, error) {
	conn, _, err := zk.Connect(e.Servers(), 10*time.Second,
		zk.WithLogger(silent{}),
		zk.WithHostProvider(&fixedHosts{}),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			dialing, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return e.Dial(dialing, network, address)
		}))
	if err != nil {
		return nil, err
	}
	end := Once(conn.Close)
	open := context.AfterFunc(ctx, end)
	for {
		_, _, err = conn.Exists("/")
		if errors.Is(err, zk.ErrNoAuth) {
			err = nil // it is an answer
		}
		if err == nil && open() {
			return conn, nil
		}
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			end()
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

func (a *zkAdmin) close() { a.end() }

type silent struct{}

func (silent) Printf(string, ...any) {}

// fixedHosts goes round the addresses as they are: only the ensemble's own
// DialContext can resolve them.
type fixedHosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int
}

func (h *fixedHosts) Init(servers []string) error {
	h.servers = slices.Clone(servers)
	return nil
}

func (h *fixedHosts) Len() int { return len(h.servers) }

func (h *fixedHosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	h.tried++
	return server, h.tried > len(h.servers)
}

func (h *fixedHosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// tree lists path and all below it, parents first.
func (a *zkAdmin) tree(path string) ([]string, error) {
	all := []string{path}
	for i := 0; i < len(all); i++ {
		children, _, err := a.conn.Children(all[i])
		if errors.Is(err, zk.ErrNoNode) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, child := range children {
			all = append(all, strings.TrimSuffix(all[i], "/")+"/"+child)
		}
	}
	return all, nil
}

// ephemerals lists the ephemeral znodes below path, with their owners. A sync
// comes first: a follower that lags would show those of sessions long closed.
func (a *zkAdmin) ephemerals(path string) ([]string, error) {
	if _, err := a.conn.Sync(path); err != nil {
		return nil, err
	}
	all, err := a.tree(path)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range all {
		exists, stat, err := a.conn.Exists(p)
		if err != nil {
			return nil, err
		}
		if exists && stat.EphemeralOwner != 0 {
			found = append(found, fmt.Sprintf("%s of 0x%x", p, stat.EphemeralOwner))
		}
	}
	return found, nil
}

// removeRoot deletes the root with all below it, children first. It is tried
// again until ctx ends: somebody may still be adding.
func (a *zkAdmin) removeRoot(ctx context.Context) error {
	for {
		err := a.removeTree()
		if err == nil {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
			return fmt.Errorf("remove %s: %w", a.root, err)
		}
	}
}

func (a *zkAdmin) removeTree() error {
	all, err := a.tree(a.root)
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(all) {
		if err := a.conn.Delete(path, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
	return nil
}
