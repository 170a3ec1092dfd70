package session

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
)

// Options of a session. Servers is required; the zero value of every other field is its default.
type Options struct {
	// Servers are addresses of the form host:port. The default port is 2181. Spaces around an
	// address are dropped. Host names are resolved again at each attempt to connect. For a whole
	// connect string, see ParseConnectString.
	Servers []string

	// FollowMembers makes the session follow the servers' own list of servers, in the znode
	// /zookeeper/config. The operation reconfig changes this list. The session connects to new
	// servers, and no longer to removed ones. This client must be able to use the addresses in that
	// list. The addresses in Servers are still tried first, and again if no server of the list can
	// be reached. FollowMembers has no effect in two cases: the servers do not let the session read
	// the znode, or the list has no client addresses, for example because clientPort is set
	// separately.
	FollowMembers bool

	// Timeout is the session timeout to request; zero means 10 s. The server may change it, by
	// default to between 2 and 20 of its ticks: see Session.Timeout.
	Timeout time.Duration

	// Abandon is how long the session may be without any server before it is declared lost. Zero
	// means three times the negotiated timeout, a negative value means never. An outage of all
	// servers does not end a session at the servers, because a new leader gives each session a
	// whole new timeout. Nevertheless the session is declared lost, because callers should not wait
	// forever.
	Abandon time.Duration

	// Chroot is the path that the session puts before every path; "" means none. The znode at this
	// path must exist.
	Chroot string

	// Auth is sent on every connection before anything else. One of the credentials may be for
	// SASL: see SASLScheme.
	Auth []Auth

	// ACL is the ACL of the znodes that are created. Nil allows everything to everybody. An empty
	// ACL is invalid, because servers refuse it.
	ACL []ACL

	// TLS, if not nil, is used on every connection. An empty ServerName is replaced by the host of
	// the server's address.
	TLS *tls.Config

	// Dial opens the connections. If it is nil, the addresses of a name are tried in random order.
	// Each attempt begins at most a quarter of a second after the previous attempt. Addresses that
	// recently failed or lost a connection come last. Dial must return when its context ends,
	// because Close waits for it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TickTime is the server's tickTime, if known. Zero means that the session assumes half the
	// session timeout. A server's tick is at most half the session timeout, unless the server's
	// minSessionTimeout is set below two ticks. The shorter TickTime is, the longer the lease
	// stands after each heartbeat. A value above the server's tickTime is safe. A value below the
	// server's tickTime is not safe.
	TickTime time.Duration

	// UnsafeHoldUntilLost disables the lease: a grant then counts as held until the loss of the
	// session is reported, as in zk.Lock, Curator and kazoo. If the session's server is a follower
	// that is cut off from the leader, the loss is reported late: another client may already have
	// held the same lock for seconds. No heartbeats are sent.
	UnsafeHoldUntilLost bool

	// UnsafeAnyServer grants holds also on servers that are not ZooKeeper: see ErrNotZooKeeper.
	UnsafeAnyServer bool

	// NoIdleLease disables the requests that keep an idle session ready. By default a session that
	// holds nothing sends a sync four to six times in a session timeout. A sync costs the leader a
	// message and no write. Because of these syncs, the next grant is immediate. With NoIdleLease
	// an idle session sends no syncs, and its first grant after idleness takes one session timeout
	// longer. Set NoIdleLease if the session never holds anything, for example because it only
	// watches znodes or puts items in queues.
	NoIdleLease bool

	// UnsafeTrustIdle is for tests of the harness. With this option, two clients can hold the same
	// lock, and the harness must detect that. An idle session then sends nothing. The session's
	// first write after idleness counts as proof that the leader had received the session's latest
	// activity. In fact this is not certain: the follower might not have reported the activity to
	// the leader.
	UnsafeTrustIdle bool

	// MaxRequest is the size in bytes above which a request is refused without being sent. Zero
	// means 1 MiB less 1 KiB, which servers accept by default. The session allocates that much
	// memory once, so more than 256 MiB is an error.
	MaxRequest int

	// Logger receives events for operators; nil discards them. Close waits until Logger has all of
	// them.
	Logger *slog.Logger

	// Metrics has hooks that the session calls with measurements.
	Metrics Metrics

	// Tracer observes requests, waits and holds; nil means none. Without a Tracer, nothing is
	// allocated for tracing.
	Tracer Tracer

	// HoldLog gets a line when a hold begins and one when it ends. A lock, a leadership and a claim
	// are holds. If HoldLog writes JSON to a file, the command "zkcoord audit" can compare the file
	// with the transactions that the servers committed: see docs/audit.md. Close waits until
	// HoldLog has all lines. Nil means no log.
	HoldLog *slog.Logger

	// Rand is the random source for the identifiers of protected znodes, and for the order in which
	// servers are tried; nil means crypto/rand. A seeded source makes a test repeatable. Rand must
	// be safe for concurrent use and must not fail; the session panics if it does.
	Rand io.Reader

	dialer *dialer              // the dialer, if Dial was nil
	slept  func() time.Duration // total time for which the machine was suspended
	leases leasetrace.Func      // receives the evidence of the lease; nil unless the harness runs
}

// Auth is a credential, such as {"digest", []byte("user:password")}.
type Auth struct {
	Scheme string
	Data   []byte
}

// String hides the credential.
func (a Auth) String() string { return a.Scheme + ":***" }

// GoString hides the credential.
func (a Auth) GoString() string { return a.String() }

// MarshalText hides the credential, for example in JSON and in JSON logs.
func (a Auth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// LogValue hides the credential.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Metrics are hooks for measurements. Each may be nil. All hooks except Request are called in order
// on one goroutine of the session. Close waits for this goroutine.
type Metrics struct {
	// Request is called when a request ends, on the caller's goroutine. A slow hook delays only
	// that caller.
	Request func(op string, took time.Duration, err error)
	// State is called when the session's state changes.
	State func(State)
	// Heartbeat is called for each successful heartbeat, with its round trip and the time that the
	// lease has left.
	Heartbeat func(roundTrip, lease time.Duration)
	// Lapsed is called with the number of holds that ended because the lease lapsed.
	Lapsed func(holds int)
}

func (o *Options) complete() error {
	servers, err := parseServers(o.Servers)
	if err != nil {
		return err
	}
	o.Servers = servers
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	if o.Timeout < 10*time.Millisecond || o.Timeout > math.MaxInt32*time.Millisecond {
		return invalid.New("session: timeout %v is not between 10 ms and 24 days", o.Timeout)
	}
	if o.TickTime < 0 {
		return invalid.New("session: tick time %v is negative", o.TickTime)
	}
	if o.MaxRequest < 0 || o.MaxRequest > maxMaxRequest {
		return invalid.New("session: request limit of %d bytes is not between 0 and %d", o.MaxRequest, maxMaxRequest)
	}
	if o.Chroot, err = parseChroot(o.Chroot); err != nil {
		return err
	}
	logins := 0
	for i, a := range o.Auth {
		if a.Scheme == "" {
			return invalid.New("session: Options.Auth[%d] has no scheme", i)
		}
		if a.Scheme == SASLScheme {
			logins++
		}
		if a.Scheme == SASLScheme && (logins > 1 || !bytes.Contains(a.Data, []byte(":"))) {
			return invalid.New("session: SASL needs one credential of the form user:password")
		}
	}
	if err := checkACL(o.ACL); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if o.ACL == nil {
		o.ACL = zk.WorldACL(zk.PermAll)
	}
	if o.Dial == nil {
		o.dialer = newDialer(o.source())
		o.Dial = o.dialer.DialContext
	}
	if o.slept == nil {
		o.slept = newSleepCounter()
	}
	o.MaxRequest = cmp.Or(o.MaxRequest, 1<<20-1<<10)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// maxMaxRequest is the upper limit of Options.MaxRequest.
const maxMaxRequest = 256 << 20

// parseChroot returns a chroot without a trailing slash, and "" for the root.
func parseChroot(path string) (string, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return "", nil
	}
	if err := CheckPath(path); err != nil {
		return "", fmt.Errorf("session: chroot: %w", err)
	}
	return path, nil
}

// checkACL returns an error if servers would refuse the form of the ACL. A nil ACL means the
// default.
func checkACL(acl []zk.ACL) error {
	if acl != nil && len(acl) == 0 {
		return invalid.New("the ACL has no entry, want at least one")
	}
	for _, a := range acl {
		if a.Scheme == "" || a.Perms&^zk.PermAll != 0 {
			return invalid.New("ACL entry %s:%s with permissions %#x: it needs a scheme, and only permissions of %#x", a.Scheme, a.ID, a.Perms, zk.PermAll)
		}
	}
	return nil
}
