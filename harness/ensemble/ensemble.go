// Package ensemble defines the interface between the harness and a ZooKeeper ensemble.
// Implementations use containers, local JVMs, an ensemble inside the test process, or the addresses
// of an ensemble that someone else runs.
//
// # Guarantees
//
// Every implementation passes the contract of package ensembletest. In short:
//
//   - An address names one node for as long as the ensemble exists.
//   - Ready waits for a quorum, not for an open port.
//   - Data survive a restart of any or all nodes.
//   - Clients can reach a node in spite of a cut.
//   - Close leaves nothing behind.
//
// # Not guaranteed
//
// Ensembles support different faults. An Ensemble that supports a fault implements the interface
// for it (Killer, Pauser, Partitioner ...). The code that draws faults checks for these interfaces
// with type assertions, and draws only those faults.
package ensemble

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// ErrNoLeader means that no node serves as leader at the moment, because an election is in progress
// or there is no quorum. Retry.
var ErrNoLeader = errors.New("ensemble: no node serves as leader")

// ErrClosed is the error that methods return after Close. Close itself may be called again.
var ErrClosed = errors.New("ensemble: closed")

// ErrUnable is the error of a method that needs another Config than the one with which the ensemble
// was started. For example, SetRole needs Config.Members. A function that starts an ensemble also
// returns ErrUnable if its kind of ensemble cannot have the Observers or Regions of the Config.
var ErrUnable = errors.New("ensemble: started without support for this")

// DialFunc has the signature of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Starter starts an ensemble with the given config, and returns when it has a quorum. The caller
// closes it. If Starter fails, nothing of the ensemble remains.
type Starter func(ctx context.Context, config Config) (Ensemble, error)

// StarterOf returns a Starter that calls `start`, which starts one kind of ensemble. A run passes
// its requirements to the Starter in a Config. If LogDir or Version is empty in that Config, the
// Starter uses the LogDir or Version of the argument `own`.
func StarterOf[E Ensemble](own Config, start func(context.Context, Config) (E, error)) Starter {
	return func(ctx context.Context, config Config) (Ensemble, error) {
		config.LogDir = cmp.Or(config.LogDir, own.LogDir)
		config.Version = cmp.Or(config.Version, own.Version)
		e, err := start(ctx, config)
		if err != nil {
			return nil, err // not a nil E in the interface
		}
		return e, nil
	}
}

// Ensemble is a running ZooKeeper ensemble of one or more nodes, numbered from 0.
//
// All methods, including those of the optional interfaces, may be called from several goroutines.
// A method that injects or heals a fault describes the state after the call, not a change. So it is
// not an error to kill a dead node or to resume a running one.
type Ensemble interface {
	// Kind returns the name of the implementation: "container", "process", "embedded" or
	// "external".
	Kind() string

	// Servers returns the client address of each node, by index. The addresses stay the same
	// across restarts, but only DialContext can resolve them. A client must dial through
	// DialContext, or use the addresses that the function Addresses returns.
	Servers() []string

	// DialContext connects to the node with that address, wherever the node currently listens. If
	// the node is down, DialContext fails at once. A paused node may accept the connection and
	// never answer.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// Ready waits until every node that should run serves as the leader, a follower or an observer
	// of one quorum with one leader. If ctx ends first, the error lists the state of each node.
	Ready(ctx context.Context) error

	// Leader returns the index of the node that serves as leader. It queries the nodes and
	// trusts their answers. If two nodes claim to lead, for example after an isolated leader
	// was replaced, it returns the one with the newer epoch. If no node claims to lead, it
	// returns ErrNoLeader.
	Leader(ctx context.Context) (int, error)

	// Close ends and removes everything that the ensemble created. It returns when everything is
	// gone. Close is idempotent. The error lists what could not be removed.
	Close(ctx context.Context) error
}

// Killer kills nodes like kill -9, without any shutdown, and starts them again on their old data.
type Killer interface {
	Kill(ctx context.Context, node int) error

	// Start returns when the node has been started. The node does not necessarily serve yet: use
	// Ready to wait until it serves.
	Start(ctx context.Context, node int) error
}

// Upgrader can change nodes to another version of ZooKeeper, which the ensemble's Config must name.
type Upgrader interface {
	// Version returns the version that a node runs. For a node that is down, it is the version of
	// the next start.
	Version(node int) string

	// SetVersion makes a killed node run the given version, newer or older, from its next start on.
	// The node keeps its data.
	SetVersion(ctx context.Context, node int, version string) error
}

// Pauser pauses and resumes nodes. A paused node keeps its connections and sends nothing.
type Pauser interface {
	Pause(ctx context.Context, node int) error
	Resume(ctx context.Context, node int) error
}

// Edge is the direction from node From to node To. It covers the packets that travel in this
// direction on the quorum and election connections of the two nodes. It never covers the
// connections of clients.
type Edge struct{ From, To int }

// Partitioner drops the packets on edges between nodes. Clients still reach each node.
type Partitioner interface {
	// Cut cuts the given edges, in addition to the edges that are already cut. Packets that are
	// already on the way may still arrive. A cut stalls the existing connections, but does not
	// break them. A cut of one direction may stall the other direction too, because it drops TCP's
	// acknowledgements for the other direction.
	Cut(ctx context.Context, edges ...Edge) error

	// Mend restores the edges, or all edges if none is given. It is not an error if an edge is not
	// cut.
	Mend(ctx context.Context, edges ...Edge) error
}

// DropCounter counts the packets that the cuts of a Partitioner dropped. The count is the evidence
// that a cut had an effect.
type DropCounter interface {
	// Dropped returns the number of packets that cuts have stopped. An ensemble of local JVMs
	// counts chunks of streams and new connections instead. The number rises while a cut is active.
	// A Mend of all edges may reset the number, so only its increase during a cut has a meaning.
	Dropped(ctx context.Context) (int64, error)
}

// Lossy drops some of the packets between nodes, like a bad cable. Loss and cuts may be active at
// the same time.
type Lossy interface {
	// Lose makes edges drop the given share of their packets from now on: 0 is none, 1 is all.
	Lose(ctx context.Context, share float64, edges ...Edge) error

	// Lost returns the number of packets that were dropped because of Lose, counted since the
	// ensemble was started.
	Lost(ctx context.Context) (int64, error)
}

// Pace is the speed of a connection between nodes. The zero value is full speed.
type Pace struct {
	Delay  time.Duration // of every chunk
	Jitter time.Duration // maximum of an additional random delay of each chunk
	Rate   int           // maximum number of bytes per second; zero means no limit
}

// Pacer can delay the data between nodes. Each connection keeps the order of its data.
type Pacer interface {
	// SetPace sets the pace of edges from now on. Data in transit keep their delay.
	SetPace(ctx context.Context, pace Pace, edges ...Edge) error

	// Paced returns the number of chunks of streams that SetPace has delayed since the ensemble was
	// started.
	Paced(ctx context.Context) (int64, error)
}

// Role is the role of a node in the configuration of an ensemble.
type Role string

// The roles of nodes.
const (
	Participant Role = "participant" // votes, and may lead
	Observer    Role = "observer"
	Removed     Role = "removed" // not in the configuration
)

// Members can change the membership of nodes while they run. The ensemble must have been started
// with Config.Members.
type Members interface {
	// SetRole gives a running node another role. A removed node still runs. The call returns
	// when the new configuration is active.
	SetRole(ctx context.Context, node int, role Role) error

	// Roles returns the role of each node in the active configuration, and the version of that
	// configuration.
	Roles(ctx context.Context) (roles []Role, version string, err error)
}

// Clock can set the wall clocks of nodes. This does not affect sessions, because servers measure
// timeouts with the monotonic clock.
type Clock interface {
	// SetClock changes the wall clock of a node. The clock then shows the sum of three values: the
	// time at which the server started, `offset`, and `rate` times the time since that start. A
	// negative offset sets the clock back. With offset 0 and rate 1 the clock is correct. The
	// setting survives a restart.
	SetClock(ctx context.Context, node int, offset time.Duration, rate float64) error

	// Time returns the wall clock time of the node's server. The node must run.
	Time(ctx context.Context, node int) (time.Time, error)
}

// Timers can make the timers of nodes, including those of sessions, run fast or slow.
type Timers interface {
	// SetTimers makes the timers of a node run at a rate; 1 is normal.
	SetTimers(ctx context.Context, node int, rate float64) error
}

// Disk can fill the disks of nodes.
type Disk interface {
	// Fill fills the disk of a node, running or not. The server can then write nothing, and may
	// end.
	Fill(ctx context.Context, node int) error

	// Free deletes the data that Fill wrote. If the full disk has made the server end or stop
	// serving, the node must be killed and started again.
	Free(ctx context.Context, node int) error
}

// Syncer can make the disks of nodes slow to sync, and can lose the data that were not synced, like
// a power failure. The ensemble must have been started with Config.Syncs.
type Syncer interface {
	// SlowSync makes each fsync of a node take longer by the given time from now on; zero is
	// normal. The setting survives a restart.
	SlowSync(ctx context.Context, node int, by time.Duration) error

	// SlowSyncs returns the number of fsyncs of a node that SlowSync has delayed since the ensemble
	// was started.
	SlowSyncs(ctx context.Context, node int) (int64, error)

	// LoseUnsynced removes the data that a killed node has written to its transaction logs but
	// not synced. It returns the number of bytes removed.
	LoseUnsynced(ctx context.Context, node int) (bytes int64, err error)
}

// Wiper deletes the data of nodes. An acknowledged write may be lost if fewer than a majority of
// the nodes still store it afterwards.
type Wiper interface {
	// Wipe deletes all data of a killed node, so that the node starts like a new one.
	Wipe(ctx context.Context, node int) error
}

// StoredFile is a kind of file that nodes store.
type StoredFile string

// The kinds of stored files.
const (
	StoredLog      StoredFile = "log"
	StoredSnapshot StoredFile = "snapshot"
)

// ErrNothingStored means that there is nothing to damage or to restore: a node has stored no file
// of the given kind, the file contains only zeros, or no copy was saved.
var ErrNothingStored = errors.New("ensemble: nothing is stored")

// Decayer can change the stored data of nodes, like a disk that returns wrong data. The node must
// be down for each call.
type Decayer interface {
	Wiper

	// FlipBit flips one bit of the newest file of the given kind. The argument `share` is the
	// position of the bit as a share of the file, from 0 to less than 1. The zeros that the server
	// preallocates at the end of the file do not count. If there is no such file, or it contains
	// only zeros, the error is ErrNothingStored.
	FlipBit(ctx context.Context, node int, file StoredFile, share float64) error

	// Save stores a copy of the node's data, in place of the previous copy.
	Save(ctx context.Context, node int) error

	// Restore replaces the node's data with the copy. If there is no copy, the error is
	// ErrNothingStored.
	Restore(ctx context.Context, node int) error
}

// Truncater removes the end of the data of nodes.
type Truncater interface {
	// Truncate removes about half of the newest transaction log of a killed node, like a disk
	// that loses writes that it acknowledged. It is an error if the log is nearly empty.
	Truncate(ctx context.Context, node int) error
}

// Sequencer can set the number that the next sequential child of a znode gets. ZooKeeper has no
// transaction for this change, so the transaction logs do not contain it.
type Sequencer interface {
	// SetSequence makes n the number of the next sequential child of a znode, as if n children had
	// been created before.
	SetSequence(ctx context.Context, path string, n int32) error
}

// LogStaller can stop the log of nodes from accepting bytes, like a full pipe to a log collector or
// a slow disk. Every thread that writes a line then blocks. The thread that expires sessions is one
// of them, because it writes a line for each session before it closes the session.
type LogStaller interface {
	// StallLog makes the log of a running node accept nothing. The node still serves those requests
	// of clients that cause no line in the log.
	StallLog(ctx context.Context, node int) error

	// FlowLog lets the log accept bytes again. It is not an error if the log is not stalled.
	FlowLog(ctx context.Context, node int) error
}

// TxnLogs can read the transaction logs of nodes.
type TxnLogs interface {
	// CopyTxnLogs writes the transaction logs of a node, running or down, into an existing
	// directory, under the names that the server gave them. For each snapshot it writes a file with
	// the snapshot's name. That file may be empty.
	CopyTxnLogs(ctx context.Context, node int, dir string) error
}

// An Expiry is a session that a leader closed because its timeout had passed.
type Expiry struct {
	Session int64
	Zxid    int64     // of the transaction that closes the session; possibly it was not committed
	Touched time.Time // when the leader last learned that the session was active
	Taken   time.Time // when the leader took the session out of its table
}

// Expirer can list the sessions that the leaders of an ensemble have expired.
type Expirer interface {
	Expiries(ctx context.Context) ([]Expiry, error)
}

// Logs can read the logs of nodes. The method Logs returns everything that a node has written to
// its log since the start of the ensemble, even if the node is down. The caller closes the reader.
type Logs interface {
	Logs(ctx context.Context, node int) (io.ReadCloser, error)
}
