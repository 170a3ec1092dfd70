package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// Config is what an ensemble is made of. All fields must be set, except where
// they say otherwise.
type Config struct {
	Servers      int
	Tick         time.Duration
	SyncLimit    int // ticks
	MinSession   time.Duration
	MaxSession   time.Duration
	MaxConns     int           // connections of one client address to one server; 0 is no limit
	ElectionTime time.Duration // from the loss of a leader to the next one
	Retransmit   time.Duration // first interval of TCP's retransmissions, which then doubles; 0 is none
	Pace         time.Duration // of each leader, see [Cluster.Pace]
	KeepLog      bool          // servers keep their whole logs
	TTL          bool          // whether nodes may have a time to live
	NoResume     bool          // each connection gets a new session, which has no password
	Release      string        // of ZooKeeper, for the four-letter words
	Rules        tree.Rules    // of that release
	Super        string        // digest of the superuser; "" is none
	Start        time.Time     // wall clock at time zero
	Addrs        []string      // client address of each server, for /zookeeper/config
	Rand         *rand.Rand
	Manual       bool                 // messages between servers wait for [Cluster.Deliver]
	Trace        func(string, ...any) // told of what happens; nil for nobody
}

// A Cluster is an ensemble. Its time is what the last call of Advance said.
type Cluster struct {
	cfg     Config
	config  string // what a new server has in /zookeeper/config
	now     time.Duration
	servers []*server
	links   [][]*link // [from][to]
	ready   []*Conn   // connections with frames that may be processed
	rules   []*Rule
	prefer  int // who should win the next election; -1 is nobody
	running bool
	conns   int   // ids given out
	issued  int64 // sessions, with Config.NoResume

	heldBack int // packets that had to wait for a cut
}

// ErrNoLeader says that a fault needs a leader and that there is none.
var ErrNoLeader = errors.New("zktest: no server leads a quorum")

// New returns an ensemble that has elected its first leader.
func New(cfg Config) *Cluster {
	if cfg.Trace == nil {
		cfg.Trace = func(string, ...any) {}
	}
	c := &Cluster{cfg: cfg, prefer: -1}
	var config strings.Builder
	for i := range cfg.Servers {
		fmt.Fprintf(&config, "server.%d=127.0.0.1:%d:%d:participant;%s\n", i+1, 2888+i, 3888+i, cfg.Addrs[i])
	}
	config.WriteString("version=0")
	if cfg.Servers == 1 {
		config.Reset() // a server that stands alone keeps none
	}
	c.config = config.String()
	for i := range cfg.Servers {
		c.servers = append(c.servers, newServer(c, i, tree.New(c.config, cfg.Rules)))
		c.links = append(c.links, nil)
		for range cfg.Servers {
			c.links[i] = append(c.links[i], &link{})
		}
	}
	c.elect()
	return c
}

// Now is the time that the cluster was last told, since its start.
func (c *Cluster) Now() time.Duration { return c.now }

// wall is the wall clock of the servers in milliseconds since 1970.
func (c *Cluster) wall() int64 { return c.cfg.Start.Add(c.now).UnixMilli() }

func (c *Cluster) majority() int { return c.cfg.Servers/2 + 1 }

// Run does all that can be done at this time without another input.
func (c *Cluster) Run() {
	if c.running {
		return // a caller further up goes on
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

// deliverAll delivers the messages that are under way between servers, and
// reports whether there were any.
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

// Advance tells the cluster that it is now, and fires the timers that are due
// in the order of their times.
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

// Next returns when the next timer is due; ok is false where there is none.
func (c *Cluster) Next() (at time.Duration, ok bool) {
	at, _, fire := c.next()
	return at, fire != nil
}

// A timer is what a server does when it is due. It holds nothing of its own:
// the earliest is looked for at each request.
type timer func(*server)

// next returns the earliest timer, and whose it is.
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
