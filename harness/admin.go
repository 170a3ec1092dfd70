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

	"github.com/zkcoord/zkcoord/internal/times"
)

// The type `admin` lists the ephemeral znodes that exist below the root of the run, and removes the
// root. The function newAdmin creates the root. Tests replace newAdmin with Options.admin.
type admin interface {
	created() (zxid int64) // of the root; zero if unknown
	ephemerals(path string) ([]string, error)
	removeRoot(ctx context.Context) error
	close()
}

// zkAdmin is the harness's own session. It uses the plain client library, because the code under
// test must not judge itself.
type zkAdmin struct {
	conn *zk.Conn
	root string
	zxid int64 // of the creation of the root; zero if unknown
	end  func()
}

func (a *zkAdmin) created() int64 { return a.zxid }

func newAdmin(ctx context.Context, env *Env) (admin, error) {
	conn, err := env.Admin(ctx)
	if err != nil {
		return nil, err
	}
	a := &zkAdmin{conn: conn, root: env.root, end: Once(conn.Close)}
	// A request blocks until a server answers. If ctx ends first, a.close ends the request.
	defer context.AfterFunc(ctx, a.close)()
	_, err = conn.Create(env.root, nil, 0, zk.WorldACL(zk.PermAll))
	if err == nil || errors.Is(err, zk.ErrNodeExists) {
		if there, stat, err := conn.Exists(env.root); err == nil && there {
			a.zxid = stat.Czxid
		}
		return a, nil
	}
	a.close()
	return nil, fmt.Errorf("create %s: %w", env.root, err)
}

// Admin opens a session without a proxy, for faults and for final reads. Requests may fail while
// the ensemble is broken. If ctx ends before a server has answered, Admin returns an error and
// leaves no session open. The caller closes the connection.
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
		return nil, fmt.Errorf("open a session: %w", err)
	}
	end := Once(conn.Close)
	open := context.AfterFunc(ctx, end)
	for {
		_, _, err = conn.Exists("/")
		if errors.Is(err, zk.ErrNoAuth) {
			err = nil // the server has answered
		}
		if err == nil && open() {
			return conn, nil
		}
		if !times.Sleep(ctx, 50*time.Millisecond) {
			end()
			if err == nil {
				return nil, fmt.Errorf("open a session: %w", context.Cause(ctx))
			}
			return nil, fmt.Errorf("open a session: %w: %w", context.Cause(ctx), err)
		}
	}
}

func (a *zkAdmin) close() { a.end() }

type silent struct{}

func (silent) Printf(string, ...any) {}

// fixedHosts cycles through the addresses without resolving them, because only the ensemble's own
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

// The method `tree` lists path and all its descendants, parents first.
func (a *zkAdmin) tree(path string) ([]string, error) {
	all := []string{path}
	for i := 0; i < len(all); i++ {
		children, _, err := a.conn.Children(all[i])
		if errors.Is(err, zk.ErrNoNode) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("list the children of %s: %w", all[i], err)
		}
		for _, child := range children {
			all = append(all, strings.TrimSuffix(all[i], "/")+"/"+child)
		}
	}
	return all, nil
}

// The method `ephemerals` lists the ephemeral znodes below path with their owners. It calls sync
// first, because a follower that lags could still list znodes of sessions that were closed long
// ago.
func (a *zkAdmin) ephemerals(path string) ([]string, error) {
	if _, err := a.conn.Sync(path); err != nil {
		return nil, fmt.Errorf("sync %s: %w", path, err)
	}
	all, err := a.tree(path)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range all {
		exists, stat, err := a.conn.Exists(p)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p, err)
		}
		if exists && stat.EphemeralOwner != 0 {
			found = append(found, fmt.Sprintf("%s of 0x%x", p, uint64(stat.EphemeralOwner)))
		}
	}
	return found, nil
}

// removeRoot deletes the root and its descendants, children first. It retries until ctx ends,
// because a client may still be adding znodes.
func (a *zkAdmin) removeRoot(ctx context.Context) error {
	for {
		err := a.removeTree()
		if err == nil {
			return nil
		}
		if !times.Sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("remove the znodes of the run: %w", err)
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
			return fmt.Errorf("delete %s: %w", path, err)
		}
	}
	return nil
}
