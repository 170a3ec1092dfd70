package ensemble

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// Config says what the nodes of an ensemble are like. The zero value is three nodes that tick every 500 ms: faster than
// ZooKeeper's own 2 s, so that sessions of one second are possible and a run sees more of their ends.
type Config struct {
	Nodes     int           // 3 if zero
	TickTime  time.Duration // 500 ms if zero; session timeouts are held to [2, 20] ticks
	InitLimit int           // ticks that a follower may take to join; 10 if zero
	SyncLimit int           // ticks that a follower may lag before it is given up; 5 if zero

	// Version is what the nodes are: a version of ZooKeeper such as "3.9.6", or several joined by "+", of which nodes get one
	// each in turn. If empty it is the newest that zkcoord is tested on, or what the environment names: see the ensemble.
	Version string

	// Later are further versions that nodes may be changed to: see Upgrader. They are got before the ensemble starts.
	Later []string

	// Extra are further lines of zoo.cfg, by key. They win over what the ensemble sets itself.
	Extra map[string]string

	// JVMFlags are appended to those that the ensemble gives each JVM.
	JVMFlags []string

	// Clocks asks for nodes whose wall clocks can be set, Disk for nodes with a disk of so many bytes, which can be filled. What
	// cannot give them ignores it. Zero is no such clock, and the disk that there is.
	Clocks bool
	Disk   int64

	// Syncs asks for nodes that sync their logs before they acknowledge anything, with disks as a Syncer has them. What has no such
	// disks still syncs.
	Syncs bool

	// Port is the port of node 0 on the loopback interface, that of node i is Port+i. Zero lets the system choose, which is
	// the only choice that never clashes.
	Port int

	// Seed is of what an ensemble draws that draws anything: the embedded one.
	Seed uint64

	// LogDir is where Close leaves the log of each node, as node0.log, node1.log ... It is made if need be. Empty
	// keeps none.
	LogDir string
}

// MostNodes is how many nodes an ensemble may have.
const MostNodes = 99

// smallestDisk holds the logs of a run of some minutes.
const smallestDisk = 16 << 20

// Complete returns c with its defaults filled in, or says what is wrong with it.
func (c Config) Complete() (Config, error) {
	if c.Nodes == 0 {
		c.Nodes = 3
	}
	if c.TickTime == 0 {
		c.TickTime = 500 * time.Millisecond
	}
	if c.InitLimit == 0 {
		c.InitLimit = 10
	}
	if c.SyncLimit == 0 {
		c.SyncLimit = 5
	}
	switch {
	case c.Nodes < 0 || c.Nodes > MostNodes:
		return c, fmt.Errorf("ensemble: %d nodes: at least 1 and at most %d", c.Nodes, MostNodes)
	case c.TickTime < time.Millisecond:
		return c, fmt.Errorf("ensemble: tick of %v: at least 1 ms", c.TickTime)
	case c.InitLimit < 1 || c.SyncLimit < 1:
		return c, errors.New("ensemble: initLimit and syncLimit are at least 1 tick")
	case c.Disk != 0 && c.Disk < smallestDisk:
		return c, fmt.Errorf("ensemble: disk of %d bytes: at least %d", c.Disk, smallestDisk)
	case c.Port < 0 || c.Port+c.Nodes > 1<<16:
		return c, fmt.Errorf("ensemble: %d ports from %d on: there is no such port", c.Nodes, c.Port)
	}
	if _, err := zkversion.Split(c.Version); err != nil {
		return c, fmt.Errorf("ensemble: %w", err)
	}
	for k, v := range c.Extra {
		if strings.ContainsAny(k, " =\t\n") || strings.ContainsAny(v, " \t\n") {
			return c, fmt.Errorf("ensemble: setting %q=%q holds a space", k, v)
		}
	}
	return c, nil
}

// VersionOf returns the version of a node, empty for the default.
func (c Config) VersionOf(node int) string {
	versions := strings.Split(c.Version, zkversion.Mixed)
	return versions[node%len(versions)]
}

// Versions returns all versions that nodes are or may become, each once.
func (c Config) Versions() []string {
	all := append(strings.Split(c.Version, zkversion.Mixed), c.Later...)
	slices.Sort(all)
	return slices.Compact(all)
}

// NodeFlags are the JVM's flags for a node that a test starts: small and quick to start. Without fsync a node still
// keeps what it acknowledged over a kill, because only faults that ask for Syncs take what is in the machine's page cache.
func (c Config) NodeFlags() []string {
	sync := "no"
	if c.Syncs {
		sync = "yes"
	}
	return append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dzookeeper.forceSync=" + sync,
	}, c.JVMFlags...)
}

// Settings are what every node of a test ensemble has in its zoo.cfg besides addresses and directories. All four-letter
// words are allowed, because Ready and Leader ask by them; the limit of connections per address is off, because every
// client of a test comes from one address.
func (c Config) Settings() map[string]string {
	s := map[string]string{
		"tickTime":               fmt.Sprint(c.TickTime.Milliseconds()),
		"initLimit":              fmt.Sprint(c.InitLimit),
		"syncLimit":              fmt.Sprint(c.SyncLimit),
		"maxClientCnxns":         "0",
		"admin.enableServer":     "false",
		"4lw.commands.whitelist": "*",
	}
	maps.Copy(s, c.Extra)
	return s
}
