package zktest

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/quorum"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// Options describe an ensemble. The zero value is three servers in memory with
// ZooKeeper's default settings, but for MaxClientConns.
type Options struct {
	Servers int    // 0 is 3; at most 254
	Seed    uint64 // of session ids and of all that is drawn

	// Version is the release of ZooKeeper that the servers behave like: V38, V39,
	// or one release such as "3.8.0". "" is V39.
	Version Version

	TickTime          time.Duration // 0 is 2 s
	SyncLimit         int           // ticks after which a silent peer is given up; 0 is 5
	MinSessionTimeout time.Duration // 0 is 2 ticks
	MaxSessionTimeout time.Duration // 0 is 20 ticks
	ElectionTime      time.Duration // from the loss of a leader to the next one; 0 is 200 ms
	Retransmission    time.Duration // first interval of TCP's retransmissions between servers, see [Ensemble.Mend]; 0 is 200 ms, negative is none
	ExpirerPace       time.Duration // of every server, see [Ensemble.SetExpirerPace]; 0 is none
	MaxClientConns    int           // of one client address to one server, ZooKeeper's maxClientCnxns, 60 there by default; 0 or less is no limit
	MaxFrame          int           // largest request in bytes, jute.maxbuffer; 0 is 1 MiB less one byte
	TTLNodes          bool          // zookeeper.extendedTypesEnabled: nodes with a time to live
	NoResume          bool          // servers like ClickHouse Keeper: each connection gets a new session, numbered from 1 and without a password
	Superuser         string        // "super:password", who passes all ACLs; "" is nobody

	// KeepLog makes the servers keep their whole transaction logs, for [Ensemble.WriteLog].
	// Otherwise a server drops the start of a long one.
	KeepLog bool

	// TCP makes the servers listen on loopback, each on a free port, or on
	// Listen where it is set. Otherwise they are reached by DialContext only.
	TCP    bool
	Listen []string // host:port for each server; implies TCP

	// Step makes every message wait for [Ensemble.Step].
	Step bool

	// Trace is told of what happens, a line each. The same seed gives the same
	// bytes in Step. It is written to under a lock and must not block.
	Trace io.Writer
}

// A Version names a line of ZooKeeper's releases, which stands for its newest
// release, or one release, "3.9.3". The package comment lists what differs.
type Version string

// The lines that zktest knows.
const (
	V38 Version = "3.8" // as in 3.8.6
	V39 Version = "3.9" // as in 3.9.6
)

// release returns the release that a version stands for.
func (v Version) release() string {
	if newest, ok := tree.Newest[string(v)]; ok {
		return newest
	}
	return string(v)
}

// longest is the longest session timeout that the protocol has, in milliseconds of 32 bits.
const longest = math.MaxInt32 * time.Millisecond

// config checks the options and turns them into those of the model.
func (o *Options) config() (quorum.Config, error) {
	if len(o.Listen) > 0 {
		o.TCP = true
	}
	def(&o.Servers, 3)
	def(&o.Version, V39)
	def(&o.TickTime, 2*time.Second)
	def(&o.SyncLimit, 5)
	def(&o.MinSessionTimeout, 2*o.TickTime)
	def(&o.MaxSessionTimeout, 20*o.TickTime)
	def(&o.ElectionTime, 200*time.Millisecond)
	def(&o.Retransmission, 200*time.Millisecond)
	def(&o.MaxFrame, wire.DefaultMaxFrame)
	switch {
	case o.Servers < 1 || o.Servers > 254: // session ids of server 255 would be those of nodes with a time to live
		return quorum.Config{}, fmt.Errorf("zktest: %d servers: must be 1 to 254", o.Servers)
	case len(o.Listen) > 0 && len(o.Listen) != o.Servers:
		return quorum.Config{}, fmt.Errorf("zktest: %d addresses for %d servers", len(o.Listen), o.Servers)
	case o.TickTime < 2*time.Millisecond || o.TickTime > longest/20:
		return quorum.Config{}, fmt.Errorf("zktest: tick time %v: must be 2ms to %v", o.TickTime, longest/20)
	case o.MinSessionTimeout < 0, o.MaxSessionTimeout < o.MinSessionTimeout, o.MaxSessionTimeout > longest:
		return quorum.Config{}, fmt.Errorf("zktest: session timeouts from %v to %v: must be 0 to %v", o.MinSessionTimeout, o.MaxSessionTimeout, longest)
	case o.SyncLimit < 1 || o.SyncLimit > math.MaxInt16:
		return quorum.Config{}, fmt.Errorf("zktest: sync limit %d: must be 1 to %d", o.SyncLimit, math.MaxInt16)
	case o.ElectionTime < 0 || o.ElectionTime > longest:
		return quorum.Config{}, fmt.Errorf("zktest: election time %v: must be 0 to %v", o.ElectionTime, longest)
	case o.MaxFrame < 0:
		return quorum.Config{}, fmt.Errorf("zktest: largest request of %d bytes is negative", o.MaxFrame)
	case o.ExpirerPace < 0 || o.ExpirerPace > longest:
		return quorum.Config{}, fmt.Errorf("zktest: expirer pace %v: must be 0 to %v", o.ExpirerPace, longest)
	case o.Step && o.TCP:
		return quorum.Config{}, fmt.Errorf("zktest: Step is not possible over TCP")
	}
	rules, err := tree.RulesOf(o.Version.release())
	if err != nil {
		return quorum.Config{}, fmt.Errorf("zktest: version: %w", err)
	}
	cfg := quorum.Config{
		NoResume: o.NoResume, Release: o.Version.release(), Rules: rules,
		Servers: o.Servers, Tick: o.TickTime, SyncLimit: o.SyncLimit,
		MinSession: o.MinSessionTimeout, MaxSession: o.MaxSessionTimeout,
		ElectionTime: o.ElectionTime, Retransmit: max(0, o.Retransmission), Pace: o.ExpirerPace,
		MaxConns: max(0, o.MaxClientConns), TTL: o.TTLNodes, KeepLog: o.KeepLog,
		Rand: rand.New(rand.NewPCG(o.Seed, 0)), Manual: o.Step,
	}
	if o.Superuser != "" {
		cfg.Super = tree.Digest(o.Superuser)
	}
	return cfg, nil
}

// def sets a field that was left out.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
