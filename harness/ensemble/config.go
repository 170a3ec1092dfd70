package ensemble

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// Config configures the nodes of an ensemble. The zero value is three nodes with a tick of 500 ms.
// ZooKeeper's own default is 2 s. The shorter tick allows sessions of one second, so more sessions
// expire in a run.
type Config struct {
	Nodes     int           // zero is 3
	TickTime  time.Duration // zero is 500 ms; session timeouts are limited to [2, 20] ticks
	InitLimit int           // ticks that a follower may take to join; zero is 10
	SyncLimit int           // ticks that a follower may lag before the leader drops it; zero is 5

	// Version is the version of ZooKeeper, such as "3.9.6", or several versions joined by "+",
	// which the nodes get in turn. If Version is empty, local JVMs use the release in
	// ZOOKEEPER_HOME, and containers use the image that their Options or ZKCOORD_IMAGE names. If
	// neither a release nor an image is named, the nodes use the newest version on which zkcoord
	// is tested.
	Version string

	// Later lists further versions to which nodes may be changed: see Upgrader. They are installed
	// before the ensemble starts.
	Later []string

	// Extra has further settings for zoo.cfg, by key. They override the settings that the ensemble
	// itself chooses.
	Extra map[string]string

	// JVMFlags are appended to the flags that the ensemble gives each JVM.
	JVMFlags []string

	// If Clocks is true, faults can change the wall clocks of the nodes. If Disk is not zero, each
	// node has a disk of this number of bytes, which a fault can fill. If Disk is zero, nodes use
	// the ordinary disk. An ensemble that does not support Clocks or Disk ignores that field.
	Clocks bool
	Disk   int64

	// If Syncs is set, nodes sync their transaction logs before they acknowledge a write. On local
	// JVMs, faults can then slow the syncs and lose unsynced data: see Syncer. Containers sync too,
	// but do not support these faults.
	Syncs bool

	// Observers is the number of observers, which serve clients and do not vote. The observers are
	// the nodes with the highest indexes.
	Observers int

	// Regions has the number of nodes of each region. With 2, 2 and 1, nodes 0 and 1 form the first
	// region. Distance is the pace of the connections between nodes of different regions. Clients
	// reach every node at full speed. If Regions is empty, all nodes are in one place.
	Regions  []int
	Distance Pace

	// If Members is set, the roles of nodes can change: see the interface Members. Only containers
	// and local JVMs support this. Edges of local JVMs can then be neither cut nor slowed.
	Members bool

	// Port is the port of node 0 on the loopback interface; the port of node i is Port+i. If Port
	// is zero, each node gets a free port. If Port is not zero and one of these ports is in use,
	// the ensemble does not start.
	Port int

	// Seed is the seed of the random numbers that an embedded ensemble draws. Other ensembles
	// ignore it.
	Seed uint64

	// LogDir is the directory in which Close stores the log of each node, as node0.log,
	// node1.log and so on. It is created if necessary. If it is empty, no logs are kept.
	LogDir string
}

// MostNodes is the largest number of nodes of an ensemble.
const MostNodes = 99

// smallestDisk is the smallest allowed size of a disk, in bytes. It is enough for the logs of a run
// of some minutes.
const smallestDisk = 16 << 20

// Complete returns c with the defaults filled in, or an error if c is invalid.
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
		return c, fmt.Errorf("ensemble: %d nodes: want at least 1 and at most %d", c.Nodes, MostNodes)
	case c.TickTime < time.Millisecond:
		return c, fmt.Errorf("ensemble: tick of %v: want at least 1 ms", c.TickTime)
	case c.InitLimit < 1 || c.SyncLimit < 1:
		return c, fmt.Errorf("ensemble: initLimit of %d and syncLimit of %d ticks: "+
			"want at least 1 tick each", c.InitLimit, c.SyncLimit)
	case c.Disk != 0 && c.Disk < smallestDisk:
		return c, fmt.Errorf("ensemble: disk of %d bytes: want at least %d bytes",
			c.Disk, smallestDisk)
	case c.Observers < 0 || c.Observers >= c.Nodes:
		return c, fmt.Errorf("ensemble: %d observers of %d nodes: at least one node must vote", c.Observers, c.Nodes)
	case len(c.Regions) > 0 && (slices.Min(c.Regions) < 1 || c.regionOf(c.Nodes-1) != len(c.Regions)-1 || c.regionOf(c.Nodes) >= 0):
		return c, fmt.Errorf("ensemble: regions of %v nodes: "+
			"want at least 1 node in each, and %d in total", c.Regions, c.Nodes)
	case len(c.Regions) > 0 && c.Members:
		return c, errors.New("ensemble: Config.Regions and Config.Members exclude each other")
	case c.Port < 0 || c.Port+c.Nodes > 1<<16:
		return c, fmt.Errorf("ensemble: %d ports from %d on: ports must be from 0 to 65535", c.Nodes, c.Port)
	}
	if _, err := zkversion.Split(c.Version); err != nil {
		return c, fmt.Errorf("ensemble: %w", err)
	}
	for k, v := range c.Extra {
		if strings.ContainsAny(k, " =\t\n") || strings.ContainsAny(v, " \t\n") {
			return c, fmt.Errorf("ensemble: setting %q=%q: "+
				"want no white space, and no equals sign in the key", k, v)
		}
	}
	return c, nil
}

// VersionOf returns the version of a node. It is empty for the default version.
func (c Config) VersionOf(node int) string {
	versions := strings.Split(c.Version, zkversion.Mixed)
	return versions[node%len(versions)]
}

// Versions returns all versions that nodes have or may be changed to, each once.
func (c Config) Versions() []string {
	all := append(strings.Split(c.Version, zkversion.Mixed), c.Later...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Super is the digest credential with which clients may change the members of a test ensemble.
const Super = "super:zkcoord"

// NodeFlags returns the JVM's flags for a node of a test. They make the node small and quick to
// start. The node syncs its transaction log to the disk only if c.Syncs is set. Without syncs, a
// killed node still keeps every acknowledged write, because the write is in the machine's page
// cache. A fault that destroys unsynced data, like a power failure, needs c.Syncs: see Syncer.
func (c Config) NodeFlags() []string {
	sync := "no"
	if c.Syncs {
		sync = "yes"
	}
	flags := []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dzookeeper.forceSync=" + sync}
	if c.Members {
		sum := sha1.Sum([]byte(Super))
		flags = append(flags, "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:"+base64.StdEncoding.EncodeToString(sum[:]))
	}
	return append(flags, c.JVMFlags...)
}

// Settings returns the settings in the zoo.cfg of every node of a test ensemble, other than
// addresses and directories. All four-letter words are allowed, because Ready and Leader use them.
// The limit of connections per address is off, because all clients of a test have the same address.
func (c Config) Settings() map[string]string {
	s := map[string]string{
		"tickTime":               fmt.Sprint(c.TickTime.Milliseconds()),
		"initLimit":              fmt.Sprint(c.InitLimit),
		"syncLimit":              fmt.Sprint(c.SyncLimit),
		"maxClientCnxns":         "0",
		"admin.enableServer":     "false",
		"4lw.commands.whitelist": "*",
	}
	if c.Members {
		s["reconfigEnabled"], s["standaloneEnabled"] = "true", "false"
	}
	maps.Copy(s, c.Extra)
	return s
}

// regionOf returns the region of a node, or -1 if no region contains it.
func (c Config) regionOf(node int) int {
	for region, n := range c.Regions {
		if node -= n; node < 0 {
			return region
		}
	}
	return -1
}

// PaceOf returns the pace of an edge: c.Distance if the edge connects two regions, and full speed
// otherwise.
func (c Config) PaceOf(e Edge) Pace {
	if c.regionOf(e.From) == c.regionOf(e.To) {
		return Pace{}
	}
	return c.Distance
}

// RoleOf returns the role that a node has when the ensemble starts.
func (c Config) RoleOf(node int) Role {
	if node >= c.Nodes-c.Observers {
		return Observer
	}
	return Participant
}
