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

// Options describe an ensemble. The zero value means three servers in memory
// with ZooKeeper's default settings, except for MaxClientConns.
type Options struct {
	Servers int    // 0 is 3; at most 254
	Seed    uint64 // for session ids, the order of children, and all random choices

	// Version is the release of ZooKeeper whose behavior the servers have: V38,
	// V39, or one release such as "3.8.0". "" is V39.
	Version Version

	TickTime          time.Duration // 0 is 2 s
	SyncLimit         int           // ticks of silence after which a server gives up another server; 0 is 5
	MinSessionTimeout time.Duration // 0 is 2 ticks
	MaxSessionTimeout time.Duration // 0 is 20 ticks
	ElectionTime      time.Duration // from the loss of a leader to the next one; 0 is 200 ms
	// TCP's first retransmission interval between servers, see [Ensemble.Mend]; 0 is 200 ms. If it
	// is negative, waiting packets arrive as soon as the link is restored.
	Retransmission time.Duration
	// Maximum number of connections of one client address to one server. ZooKeeper calls it
	// maxClientCnxns, with the default 60. Here, 0 or less is no limit.
	MaxClientConns int
	// Largest request in bytes (jute.maxbuffer); 0 is 1 MiB less one byte.
	MaxFrame int
	// Allow nodes with a time to live (zookeeper.extendedTypesEnabled).
	TTLNodes bool
	// Behave like ClickHouse Keeper: each connection gets a new session. The sessions have the ids
	// 1, 2, 3 and so on, and no passwords.
	NoResume  bool
	Superuser string // "super:password" of the user that passes all ACLs; "" is none

	// KeepLog makes the servers keep their whole transaction logs, for [Ensemble.WriteLog].
	// Otherwise a server drops the start of a long log.
	KeepLog bool

	// TCP makes the servers listen on the addresses in Listen, or, if Listen is empty, on free
	// ports of the loopback address. Without TCP, the servers can be reached only with DialContext.
	TCP    bool
	Listen []string // host:port for each server; implies TCP

	// Step makes every message wait for [Ensemble.Step].
	Step bool

	// Trace receives one line for each event. With Step, the same seed gives the same bytes. The
	// ensemble writes to Trace under a lock, so Trace must not block.
	Trace io.Writer
}

// A Version names a release of ZooKeeper such as "3.9.3", or a line of releases
// such as "3.9", which means the newest release of the line. The package
// comment lists the differences.
type Version string

// The lines of releases that zktest supports.
const (
	V38 Version = "3.8" // means 3.8.6
	V39 Version = "3.9" // means 3.9.6
)

// The method `release` returns the release that a version means.
func (v Version) release() string {
	if newest, ok := tree.Newest[string(v)]; ok {
		return newest
	}
	return string(v)
}

// longest is the longest session timeout that the protocol can express: 2^31-1
// milliseconds.
const longest = math.MaxInt32 * time.Millisecond

// config checks the options and converts them to those of the model.
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
	case o.Servers < 1 || o.Servers > 254: // ephemeral nodes of sessions at server 255 would count as nodes with a time to live
		return quorum.Config{}, fmt.Errorf("zktest: number of servers is %d: must be 1 to 254", o.Servers)
	case len(o.Listen) > 0 && len(o.Listen) != o.Servers:
		return quorum.Config{}, fmt.Errorf("zktest: %d listen addresses for %d servers: need one for each server", len(o.Listen), o.Servers)
	case o.TickTime < 2*time.Millisecond || o.TickTime > longest/20:
		return quorum.Config{}, fmt.Errorf("zktest: tick time is %v: must be 2ms to %v", o.TickTime, longest/20)
	case o.MinSessionTimeout < 0, o.MaxSessionTimeout < o.MinSessionTimeout, o.MaxSessionTimeout > longest:
		return quorum.Config{}, fmt.Errorf("zktest: session timeouts are %v to %v: must be ordered, and from 0 to %v", o.MinSessionTimeout, o.MaxSessionTimeout, longest)
	case o.SyncLimit < 1 || o.SyncLimit > math.MaxInt16:
		return quorum.Config{}, fmt.Errorf("zktest: sync limit is %d: must be 1 to %d", o.SyncLimit, math.MaxInt16)
	case o.ElectionTime < 0 || o.ElectionTime > longest:
		return quorum.Config{}, fmt.Errorf("zktest: election time is %v: must be 0 to %v", o.ElectionTime, longest)
	case o.MaxFrame < 0:
		return quorum.Config{}, fmt.Errorf("zktest: MaxFrame is %d bytes: must not be negative", o.MaxFrame)
	case o.Step && o.TCP:
		return quorum.Config{}, fmt.Errorf("zktest: options Step and TCP (or Listen) exclude each other: step only servers in memory")
	}
	rules, err := tree.RulesOf(o.Version.release())
	if err != nil {
		return quorum.Config{}, fmt.Errorf("zktest: version: %w", err)
	}
	cfg := quorum.Config{
		NoResume: o.NoResume, Release: o.Version.release(), Rules: rules,
		Servers: o.Servers, Tick: o.TickTime, SyncLimit: o.SyncLimit,
		MinSession: o.MinSessionTimeout, MaxSession: o.MaxSessionTimeout,
		ElectionTime: o.ElectionTime, Retransmit: max(0, o.Retransmission),
		MaxConns: max(0, o.MaxClientConns), TTL: o.TTLNodes, KeepLog: o.KeepLog,
		Rand: rand.New(rand.NewPCG(o.Seed, 0)), Order: o.Seed, Manual: o.Step,
	}
	if o.Superuser != "" {
		cfg.Super = tree.Digest(o.Superuser)
	}
	return cfg, nil
}

// The function `def` sets a field to the given value if the field has its zero value.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
