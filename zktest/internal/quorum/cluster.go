package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// Config describes an ensemble. No field has a default, except that Trace may be nil.
type Config struct {
	Servers      int
	Tick         time.Duration
	SyncLimit    int // ticks
	MinSession   time.Duration
	MaxSession   time.Duration
	MaxConns     int           // of one client address to one server; 0 is no limit
	ElectionTime time.Duration // from the loss of a leader to the next one
	// First retransmission interval of TCP; the interval doubles each time. If it is 0, waiting
	// packets arrive as soon as the link is restored.
	Retransmit time.Duration
	KeepLog    bool       // servers keep their whole logs
	TTL        bool       // nodes may have a time to live
	NoResume   bool       // each connection gets a new session, without a password
	Release    string     // ZooKeeper's release, for the four-letter words
	Rules      tree.Rules // the rules of that release
	Super      string     // digest of the superuser; "" is none
	Order      uint64     // seed of the order in which children are listed
	Start      time.Time  // wall clock at time zero
	Addrs      []string   // client address of each server, for /zookeeper/config
	Rand       *rand.Rand
	Manual     bool                 // messages between servers wait for [Cluster.Deliver]
	Trace      func(string, ...any) // receives each event; nil for none
}

// A Cluster is an ensemble. Its time is that of the last call of Advance.
type Cluster struct {
	cfg     Config
	config  string // initial content of /zookeeper/config
	now     time.Duration
	servers []*server
	links   [][]*link // [from][to]
	ready   []*Conn   // connections with frames that may be processed
	rules   []*Rule
	prefer  int // preferred winner of the next election; -1 is none
	running bool
	conns   int   // number of connections opened so far
	issued  int64 // number of sessions opened so far, if Config.NoResume is set

	heldBack int      // number of packets that have waited for a cut link
	expiries []Expiry // sessions that leaders have closed because the timeout had passed
}

// ErrNoLeader means that a fault needs a leader and there is none.
var ErrNoLeader = errors.New("zktest: no server leads a quorum")

// The ports that servers have for each other, in /zookeeper/config. Nothing
// listens on them.
const quorumPort, electionPort = 2888, 3888

// New returns an ensemble that has elected its first leader.
func New(cfg Config) *Cluster {
	if cfg.Trace == nil {
		cfg.Trace = func(string, ...any) {}
	}
	c := &Cluster{cfg: cfg, prefer: -1}
	var config strings.Builder
	for i := range cfg.Servers {
		fmt.Fprintf(&config, "server.%d=127.0.0.1:%d:%d:participant;%s\n", i+1, quorumPort+i, electionPort+i, cfg.Addrs[i])
	}
	config.WriteString("version=0")
	if cfg.Servers == 1 {
		config.Reset() // a standalone server has no configuration
	}
	c.config = config.String()
	for i := range cfg.Servers {
		c.servers = append(c.servers, newServer(c, i, tree.New(c.config, cfg.Rules, cfg.Order)))
		c.links = append(c.links, nil)
		for range cfg.Servers {
			c.links[i] = append(c.links[i], &link{})
		}
	}
	c.elect()
	return c
}

// Expiries returns the sessions that leaders have closed because the sessions' timeouts had passed.
// A leader without a majority closes sessions too. Its closing transactions may never be committed.
func (c *Cluster) Expiries() []Expiry { return slices.Clone(c.expiries) }

// Now returns the cluster's time since its start.
func (c *Cluster) Now() time.Duration { return c.now }

// The method `wall` returns the wall clock of the servers in milliseconds since 1970.
func (c *Cluster) wall() int64 { return c.cfg.Start.Add(c.now).UnixMilli() }

func (c *Cluster) majority() int { return c.cfg.Servers/2 + 1 }

// Run does everything that can be done at the current time without further
// input.
func (c *Cluster) Run() {
	if c.running {
		return // the call of Run that is on the stack does the work
	}
	c.running = true
	defer func() { c.running = false }()
	for {
		for len(c.ready) > 0 {
			conn := c.ready[0]
			c.ready = c.ready[1:]
			conn.process()
		}
		c.ready = nil
		if c.cfg.Manual || !c.deliverAll() {
			return
		}
	}
}

// deliverAll delivers the messages in transit between servers, and reports
// whether there were any.
func (c *Cluster) deliverAll() bool {
	any := false
	for from := range c.links {
		for to := range c.links[from] {
			for c.Deliver(from, to) {
				any = true
			}
		}
	}
	return any
}

// Advance sets the time. It fires the timers that are due, in the order of their times.
func (c *Cluster) Advance(now time.Duration) {
	for {
		at, s, fire := c.next()
		if fire == nil || at > now {
			break
		}
		c.now = max(c.now, at)
		fire(s)
		c.Run()
	}
	c.now = max(c.now, now)
}

// Next returns the time of the next timer. If there is none, `ok` is false.
func (c *Cluster) Next() (at time.Duration, ok bool) {
	at, _, fire := c.next()
	return at, fire != nil
}

// A timer is the action of a server at a given time. Timers are not stored: each call of the method
// `next` computes the earliest one.
type timer func(*server)

// The method `next` returns the earliest timer and its server. The arrival of a packet counts as a
// timer that does nothing.
func (c *Cluster) next() (at time.Duration, whose *server, fire timer) {
	at = 1<<63 - 1
	for _, s := range c.servers {
		if t, f := s.next(); f != nil && s.clock.global(t) < at {
			at, whose, fire = s.clock.global(t), s, f
		}
	}
	for _, row := range c.links {
		for _, l := range row {
			if t, ok := l.due(); ok && t < at && t > c.now {
				at, fire = t, func(*server) {}
			}
		}
	}
	return at, whose, fire
}
