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
)

// Options of a session. Servers is required; the zero value of every other
// field is its default.
type Options struct {
	// Servers are host:port addresses; without a port, 2181. Spaces around one
	// are dropped. Host names are looked up again at each attempt to connect.
	// For a whole connect string, see ParseConnectString.
	Servers []string

	// FollowMembers makes the session follow the list of servers in their own
	// configuration, /zookeeper/config, which the operation reconfig changes:
	// it connects to new servers, and no more to removed ones. The addresses there must
	// be those that this client can use. Servers are then only the first to be tried,
	// and again those to be tried if no server of the list can be reached. The session
	// reads and watches that znode; it changes nothing if the servers do not let it,
	// or if their configuration has no client addresses, as where clientPort is a setting.
	FollowMembers bool

	// Timeout is the session timeout to ask for; zero means 10 s. The server
	// may change it, by default to between 2 and 20 of its ticks: see
	// Session.Timeout.
	Timeout time.Duration

	// Abandon is how long the session may be without any server before it is
	// declared lost; zero means three times the negotiated timeout, negative
	// never. A session without a server is not lost by itself (a new leader
	// gives it a whole fresh timeout), but a caller should not wait for ever.
	Abandon time.Duration

	// Chroot is put before every path, "" for none. It must exist.
	Chroot string

	// Auth is sent on every connection before anything else. One of them may be for SASL:
	// see SASLScheme.
	Auth []Auth

	// ACL of the nodes that are created; nil means open to everybody. Servers
	// refuse an empty one.
	ACL []ACL

	// TLS, if not nil, is used on every connection. An empty ServerName is
	// taken from the server's address.
	TLS *tls.Config

	// Dial opens the connections. If it is nil, a name's addresses are tried in
	// random order, each a quarter of a second after the last one, and those
	// that did not answer lately last. Dial must return when its context ends,
	// as Close waits for it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TickTime is the server's tickTime, if known. It makes the lease last
	// longer between two heartbeats; the default assumes half the session
	// timeout, which is the most that a server allows unless its
	// minSessionTimeout is set below two ticks. A value above the server's own
	// is safe, one below is not.
	TickTime time.Duration

	// UnsafeHoldUntilLost switches the lease off: what is held then counts as
	// held until the loss of the session is told, as with zk.Lock, Curator and kazoo. On a
	// follower that is cut off from its leader that is seconds after
	// somebody else may have been granted it. No heartbeats are sent.
	UnsafeHoldUntilLost bool

	// UnsafeAnyServer grants holds on servers that are not ZooKeeper, too: see
	// ErrNotZooKeeper.
	UnsafeAnyServer bool

	// NoIdleLease saves the requests by which an idle session stays ready. By
	// default a session that holds nothing sends a sync four to six times a
	// session timeout, which costs the leader a message and no write; what it
	// is granted next it has at once. With NoIdleLease it sends nothing, and
	// its first grant after idleness comes a session timeout later. Set it
	// if the session only watches or produces.
	NoIdleLease bool

	// UnsafeTrustIdle is for the harness: it must find two holders with it.
	// An idle session sends nothing, and its first write after that counts as
	// proof that the leader knew of the session's latest activity.
	UnsafeTrustIdle bool

	// MaxRequest is the size in bytes above which a request is refused
	// unsent; zero means 1 MiB less 1 KiB, what a server accepts by default.
	// The session takes that much memory once, so more than 256 MiB is an error.
	MaxRequest int

	// Logger gets what an operator wants to know; nil discards it. Close waits
	// for it.
	Logger *slog.Logger

	// Metrics are called for requests, states and leases.
	Metrics Metrics

	// Tracer observes requests, waits and holds; nil means none. Without one, nothing
	// is allocated for it.
	Tracer Tracer

	// Rand is the source of protected nodes' identifiers and of the order in
	// which servers are tried; nil means crypto/rand. Give it a seeded source
	// to make a test repeatable. It must be safe for concurrent use, and must not
	// fail: the session panics then.
	Rand io.Reader

	dialer *dialer              // that of Dial, if Dial was nil
	slept  func() time.Duration // for how long the machine was suspended in all
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

// MarshalText hides the credential, from JSON and from logs in it.
func (a Auth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// LogValue hides the credential.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Metrics are hooks for measurements. Each may be nil. All but Request are
// called in order on one goroutine of the session, which Close waits for.
type Metrics struct {
	// Request is called when a request ends, on the caller's goroutine. It holds
	// up that caller alone.
	Request func(op string, took time.Duration, err error)
	// State is called when the session's state changes.
	State func(State)
	// Heartbeat is called for each answered heartbeat, with its round trip
	// and how long the lease then stands.
	Heartbeat func(roundTrip, lease time.Duration)
	// Lapsed is called with the number of holds that ended because the lease did.
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
	for _, a := range o.Auth {
		if a.Scheme == "" {
			return invalid.New("session: a credential without a scheme")
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

// maxMaxRequest is the most that Options.MaxRequest may be.
const maxMaxRequest = 256 << 20

// parseChroot returns a chroot without the slash at its end, "" for the root.
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

// checkACL refuses what servers would refuse for its form. A nil one is the default.
func checkACL(acl []zk.ACL) error {
	if acl != nil && len(acl) == 0 {
		return invalid.New("an ACL without an entry")
	}
	for _, a := range acl {
		if a.Scheme == "" || a.Perms&^zk.PermAll != 0 {
			return invalid.New("ACL entry %s:%s with permissions %#x", a.Scheme, a.ID, a.Perms)
		}
	}
	return nil
}
