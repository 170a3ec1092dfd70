package tree

import "github.com/zkcoord/zkcoord/internal/wire"

// A Txn is one entry of the log. Which fields count depends on Op; a failed
// request is a Txn too, with OpError and its code.
type Txn struct {
	Zxid    int64
	Time    int64 // milliseconds since 1970, on the leader's clock
	Session int64 // whose request it is
	Cxid    int32
	Op      wire.Op
	Err     wire.Code // of OpError

	Path    string
	Data    []byte
	ACL     []wire.ACL
	Owner   owner
	Version int32    // of the data or the ACL after the change; of a create, the parent's cversion; of OpSetSequence, the node's
	Timeout int32    // of OpCreateSession, in milliseconds
	Paths   []string // of OpCloseSession, the ephemerals that go
	Subs    []Txn    // of OpMulti
}

// OpSetSequence makes a number that of the next sequential child of a node, as
// a [wire.PathVersion] says. ZooKeeper has no such operation: it is for faults,
// and no client can ask for it.
const OpSetSequence wire.Op = -100

// A Result is what applying a Txn gave, from which its reply is made.
type Result struct {
	Op   wire.Op
	Err  wire.Code
	Path string
	Stat wire.Stat
	Subs []Result
}
