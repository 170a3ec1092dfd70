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
	// The version of the data or the ACL after the change. For a create, it is the parent's
	// cversion. For OpSetSequence, it is the znode's cversion.
	Version int32
	Timeout int32    // for OpCreateSession, in milliseconds
	Paths   []string // for OpCloseSession, the ephemeral znodes to delete
	Subs    []Txn    // for OpMulti
}

// OpSetSequence sets the number of the next sequential child of a znode. Its body is a
// [wire.PathVersion]. ZooKeeper has no such operation. OpSetSequence serves fault injection, and no
// client can send it.
const OpSetSequence wire.Op = -100

// A Result is the result of applying a Txn. The reply is derived from it.
type Result struct {
	Op   wire.Op
	Err  wire.Code
	Path string
	Stat wire.Stat
	Subs []Result
}

// Record returns the record of the transaction as a server writes it to its log. For OpSetSequence
// it returns nil, because ZooKeeper has no such transaction.
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
