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

// Record returns the transaction as a server writes it to its log, or nil for a fault, which is none.
func (t *Txn) Record() wire.Record {
	switch t.Op {
	case wire.OpCreate, wire.OpCreate2:
		return &wire.CreateTxn{Path: t.Path, Data: t.Data, ACL: t.ACL, Ephemeral: t.Owner.ephemeral(), Parent: t.Version}
	case wire.OpCreateContainer:
		return t.container()
	case wire.OpCreateTTL:
		return &wire.CreateTTLTxn{CreateContainerTxn: *t.container(), TTL: t.Owner.ttl()}
	case wire.OpDelete, wire.OpDeleteContainer:
		return &wire.Path{Path: t.Path}
	case wire.OpSetData, wire.OpReconfig:
		return &wire.SetDataRequest{Path: t.Path, Data: t.Data, Version: t.Version}
	case wire.OpSetACL:
		return &wire.SetACLRequest{Path: t.Path, ACL: t.ACL, Version: t.Version}
	case wire.OpCheck:
		return &wire.PathVersion{Path: t.Path, Version: t.Version}
	case wire.OpCreateSession:
		return &wire.CreateSessionTxn{Timeout: t.Timeout}
	case wire.OpCloseSession:
		return &wire.CloseSessionTxn{Paths: t.Paths}
	case wire.OpError:
		return &wire.ErrorTxn{Code: t.Err}
	case wire.OpMulti:
		multi := &wire.MultiTxn{}
		for i := range t.Subs {
			sub := &t.Subs[i]
			multi.Parts = append(multi.Parts, wire.TxnPart{Op: sub.Op, Body: wire.Append(nil, sub.Record())})
		}
		return multi
	}
	return nil
}

func (t *Txn) container() *wire.CreateContainerTxn {
	return &wire.CreateContainerTxn{Path: t.Path, Data: t.Data, ACL: t.ACL, Parent: t.Version}
}
