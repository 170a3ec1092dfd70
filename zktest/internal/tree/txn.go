package tree

import "github.com/zkcoord/zkcoord/internal/wire"

// A Txn is one entry of the log. Op decides which fields are used. A failed
// request is also a Txn, with OpError and an error code.
type Txn struct {
	Zxid    int64
	Time    int64 // milliseconds since 1970, on the leader's clock
	Session int64 // the session of the request
	Cxid    int32
	Op      wire.Op
	Err     wire.Code // for OpError

	Path  string
	Data  []byte
	ACL   []wire.ACL
	Owner owner
	// After the change, of the data or the ACL; for a create, the parent's
	// cversion; for OpSetSequence, the node's cversion.
	Version int32
	Timeout int32    // for OpCreateSession, in milliseconds
	Paths   []string // for OpCloseSession, the ephemeral nodes to delete
	Subs    []Txn    // for OpMulti
}

// OpSetSequence sets the number of the next sequential child of a node. Its
// body is a [wire.PathVersion]. ZooKeeper has no such operation: it serves
// fault injection, and no client can send it.
const OpSetSequence wire.Op = -100

// A Result is the result of applying a Txn. The reply is derived from it.
type Result struct {
	Op   wire.Op
	Err  wire.Code
	Path string
	Stat wire.Stat
	Subs []Result
}
