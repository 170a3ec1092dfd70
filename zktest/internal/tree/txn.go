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
	Version int32    // of the data or the ACL after the change; of a create, the parent's cversion
	Timeout int32    // of OpCreateSession, in milliseconds
	Paths   []string // of OpCloseSession, the ephemerals that go
	Subs    []Txn    // of OpMulti
}

// A Result is what applying a Txn gave, from which its reply is made.
type Result struct {
	Op   wire.Op
	Err  wire.Code
	Path string
	Stat wire.Stat
	Subs []Result
}
