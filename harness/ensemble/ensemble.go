// Package ensemble says what the harness needs of a ZooKeeper ensemble, whatever it is made of: containers, local
// JVMs, an ensemble inside the test process, or addresses that somebody else looks after.
//
// # Guarantees
//
// Every implementation passes the contract of package ensembletest. In short: an address names one node for as long as
// the ensemble exists, Ready means a quorum and not an open port, data survive a restart of any or all nodes, a cut
// does not keep clients from a node, and Close leaves nothing behind.
//
// # Not guaranteed
//
// What an ensemble can suffer differs. An Ensemble that can be hurt in some way implements the interface for it
// (Killer, Pauser, Partitioner ...); whoever draws faults asks with a type assertion and draws only those.
package ensemble

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// ErrNoLeader says that no node serves as leader at the moment: an election is under way, or there is no quorum. Ask again.
var ErrNoLeader = errors.New("ensemble: no node serves as leader")

// ErrClosed is what every method but Close returns after Close.
var ErrClosed = errors.New("ensemble: closed")

// ErrUnable is what a capability returns that this ensemble was not started for: see Config.
var ErrUnable = errors.New("ensemble: started without what this needs")

// DialFunc has the shape of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Starter starts an ensemble with what config asks for, and returns when it has
// a quorum. The caller closes it. If it fails, nothing of it remains.
type Starter func(ctx context.Context, config Config) (Ensemble, error)

// StarterOf makes a Starter of a function that starts one kind of ensembles. The run says
// what it needs in its Config: of own, LogDir and Version count where the run names none.
func StarterOf[E Ensemble](own Config, start func(context.Context, Config) (E, error)) Starter {
	return func(ctx context.Context, config Config) (Ensemble, error) {
		config.LogDir = cmp.Or(config.LogDir, own.LogDir)
		config.Version = cmp.Or(config.Version, own.Version)
		e, err := start(ctx, config)
		if err != nil {
			return nil, err // and no E that is nil
		}
		return e, nil
	}
}

// Ensemble is a running ZooKeeper ensemble of one or more nodes, numbered from 0.
//
// All methods, also those of the capabilities, may be called from several goroutines. A fault asked for twice (killing
// a dead node, resuming a running one) is no error: faults say what should be, not what should change.
type Ensemble interface {
	// Kind names the implementation: "container", "process", "embedded" or "external".
	Kind() string

	// Servers returns the client address of each node, by index. They stay the same across restarts, but mean
	// something only to DialContext: a client must dial through it, or ask for Addresses.
	Servers() []string

	// DialContext connects to the node that address names, wherever it listens at that moment. A node that is down
	// is an error at once; a paused one may accept and never answer.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// Ready waits until every node that is meant to run serves as the leader or a follower of one quorum with one
	// leader. If ctx ends first, the error says which node was in which state.
	Ready(ctx context.Context) error

	// Leader returns the index of the node that serves as leader. It asks the nodes, and so believes them: where two
	// claim it, as after an isolated leader was replaced, it is the one of the newer epoch. ErrNoLeader if none does.
	Leader(ctx context.Context) (int, error)

	// Close removes everything that the ensemble made, running or not, and waits for it. It is idempotent. What could
	// not be removed is in the error.
	Close(ctx context.Context) error
}

// Killer ends nodes as kill -9 does, without any shutdown, and starts them again on their old data.
type Killer interface {
	Kill(ctx context.Context, node int) error

	// Start returns when the node has been started, not when it serves: Ready waits for that.
	Start(ctx context.Context, node int) error
}

// Upgrader has nodes that can become another version of ZooKeeper: one that the ensemble's Config names.
type Upgrader interface {
	// Version returns the version of a node: what it is as long as it runs, or will be at its next start.
	Version(node int) string

	// SetVersion makes a killed node one of that version, newer or older, from its next start on. Its data stay.
	SetVersion(ctx context.Context, node int, version string) error
}

// Pauser stops nodes so that they keep their connections and say nothing, and lets them go on.
type Pauser interface {
	Pause(ctx context.Context, node int) error
	Resume(ctx context.Context, node int) error
}

// Edge stands for what one node sends to another one's process: the packets of both their quorum and election
// connections that travel from From to To. Clients' connections are never part of it.
type Edge struct{ From, To int }

// Partitioner loses what travels on links between nodes. Clients still reach each node.
type Partitioner interface {
	// Cut adds to the links that are cut. What is already on the way may still arrive. Since TCP needs both directions,
	// a cut of one direction stalls connections rather than breaks them.
	Cut(ctx context.Context, links ...Edge) error

	// Mend restores the links, all if none is named. What is whole already is no error.
	Mend(ctx context.Context, links ...Edge) error
}

// DropCounter is what a Partitioner has that can say how much its cuts have eaten: the proof that a cut bit.
type DropCounter interface {
	// Dropped returns how many packets (or, behind a proxy, chunks of a stream) cuts have kept from arriving. It rises as long
	// as a cut stands. A Mend of all links may set it back, so that only what it rose by during a cut means something.
	Dropped(ctx context.Context) (int64, error)
}

// Lossy loses some of the packets between nodes, as a bad cable does. Loss stands beside cuts.
type Lossy interface {
	// Lose makes links lose that share of their packets from now on: 0 is none, 1 all.
	Lose(ctx context.Context, share float64, links ...Edge) error

	// Lost returns how many packets were lost so, since the ensemble was started.
	Lost(ctx context.Context) (int64, error)
}

// Pace is how slow a connection between nodes is. The zero value is as fast as it can be.
type Pace struct {
	Delay  time.Duration // of everything
	Jitter time.Duration // further delay, up to so much, another one for each chunk
	Rate   int           // bytes a second at most; zero is no limit
}

// Pacer makes what travels between nodes late. The order of what one connection carries stays.
type Pacer interface {
	// SetPace sets the pace of links from now on. What is on its way keeps its delay.
	SetPace(ctx context.Context, pace Pace, links ...Edge) error

	// Paced returns how many chunks of streams were late so, since the ensemble was started.
	Paced(ctx context.Context) (int64, error)
}

// Clock has nodes whose wall clock can be set. Sessions do not hang on it: servers count their timeouts by a clock that
// nobody sets.
type Clock interface {
	// SetClock makes the wall clock of a node run ahead of this machine's by offset (behind it, if negative), and rate times as
	// fast, as if it had always done so since the server was started. Zero and 1 put it right. It outlives a restart.
	SetClock(ctx context.Context, node int, offset time.Duration, rate float64) error

	// Time returns what the node's server takes for the time. It has to run.
	Time(ctx context.Context, node int) (time.Time, error)
}

// Timers has nodes whose timers, those of sessions among them, can run fast or slow.
type Timers interface {
	// SetTimers makes the timers of a node run at a rate; 1 puts them right.
	SetTimers(ctx context.Context, node int, rate float64) error
}

// Disk has nodes with a disk that can be full.
type Disk interface {
	// Fill leaves no room on the disk of a node, which may run or not. Its server cannot write any more, and may end.
	Fill(ctx context.Context, node int) error

	// Free takes away what Fill wrote. A server that has ended, or given up, has to be killed and started again.
	Free(ctx context.Context, node int) error
}

// Syncer has nodes whose disk can be slow to store what it is asked to, and loses the rest with the power: those of a Config that
// asks for Syncs.
type Syncer interface {
	// SlowSync makes each fsync of a node take that much longer from now on; zero puts it right. It outlives a restart.
	SlowSync(ctx context.Context, node int, by time.Duration) error

	// SlowSyncs returns how many fsyncs of a node took longer, since the ensemble was started.
	SlowSyncs(ctx context.Context, node int) (int64, error)

	// LoseUnsynced takes from the transaction logs of a node that was killed what it has written and not synced, and returns how
	// many bytes that were.
	LoseUnsynced(ctx context.Context, node int) (bytes int64, err error)
}

// Wiper loses what nodes have stored. Acknowledged writes may be lost with it, if a majority does not have them elsewhere.
type Wiper interface {
	// Wipe deletes all that a node that was killed has stored: it starts as a new one.
	Wipe(ctx context.Context, node int) error
}

// StoredFile is a kind of file that nodes store.
type StoredFile string

// What nodes store.
const (
	StoredLog      StoredFile = "log"
	StoredSnapshot StoredFile = "snapshot"
)

// ErrNothingStored means that a node has stored no such file, or next to nothing in it.
var ErrNothingStored = errors.New("ensemble: nothing is stored")

// Decayer has nodes whose disks give back something else than was stored. The node has to be down for each call.
type Decayer interface {
	Wiper

	// FlipBit flips one bit of the newest file of that kind, at a share of its bytes from 0 to 1. The zeros that make room for more
	// are left out. It is ErrNothingStored if there is no such file.
	FlipBit(ctx context.Context, node int, file StoredFile, share float64) error

	// Save keeps a copy of what the node has stored, in place of the last copy.
	Save(ctx context.Context, node int) error

	// Restore puts the copy back in place of what the node has stored since. It is ErrNothingStored if there is none.
	Restore(ctx context.Context, node int) error
}

// Truncater loses the end of what nodes have stored.
type Truncater interface {
	// Truncate cuts about half off the newest transaction log of a node that was killed, as a disk does that loses what it said
	// it had written. It is an error if there is next to nothing to cut.
	Truncate(ctx context.Context, node int) error
}

// Sequencer has counters of sequential znodes that can be set. What it does is no transaction.
type Sequencer interface {
	// SetSequence makes n the number of the next sequential child of a znode, as if so many had been made before.
	SetSequence(ctx context.Context, path string, n int32) error
}

// LogStaller has nodes whose log can stop taking bytes, as a full pipe to a log collector or a slow disk does. Whoever writes a
// line blocks then, the thread that expires sessions among them: it writes one for each, before it closes it.
type LogStaller interface {
	// StallLog makes the log of a node that runs take nothing more. Serving clients goes on as far as it writes no log.
	StallLog(ctx context.Context, node int) error

	// FlowLog lets the log take bytes again. It is no error if it did all the time.
	FlowLog(ctx context.Context, node int) error
}

// TxnLogs has nodes whose transaction logs can be read.
type TxnLogs interface {
	// CopyTxnLogs writes the transaction logs of a node, which may be down, into a directory that exists, under
	// the names that the server gave them. For each snapshot it writes a file, which may be empty.
	CopyTxnLogs(ctx context.Context, node int, dir string) error
}

// Logs gives what a node has written to its log so far, also when it is down, since the start of the ensemble. The caller
// closes the reader.
type Logs interface {
	Logs(ctx context.Context, node int) (io.ReadCloser, error)
}
