package quorum

import (
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// The method `known` reports whether the server supports the operation.
func (s *server) known(op wire.Op) bool {
	switch op {
	case wire.OpCheck:
		return s.c.cfg.Rules.CheckAlone
	case wire.OpPing, wire.OpCloseSession, wire.OpCreateSession, wire.OpWhoAmI, wire.OpDeleteContainer:
		return true
	case wire.OpAuth:
		return false
	}
	return wire.NewRequest(op) != nil
}

// The method `finish` answers a request: a write with the result of its transaction, a read with
// the current state of the tree.
func (s *server) finish(r *request, txn *tree.Txn, res tree.Result) {
	c := r.conn
	if c == nil || c.state >= ending {
		return
	}
	h := wire.ReplyHeader{Xid: r.cxid, Zxid: s.tree.Zxid, Err: r.err}
	var body wire.Record
	switch {
	case r.throttled():
		h.Err = wire.ThrottledOp
	case h.Err != wire.OK:
	case txn != nil && txn.Op == wire.OpError:
		h.Err = txn.Err
	case r.op == wire.OpCreateSession:
		c.established(true)
		return
	case r.op == wire.OpCheck && txn != nil && res.Err == wire.OK:
		return // no reply: ZooKeeper cannot write the response to a check outside of a multi
	case txn != nil:
		body, h.Err = written(r.op, res)
	default:
		body, h.Err = s.read(r)
	}
	if h.Err == wire.SessionMoved {
		c.end()
		return
	}
	if r.op == wire.OpPing {
		h.Xid = wire.XidPing
	}
	c.reply(r, &h, body)
	if r.op == wire.OpCloseSession {
		c.end()
	}
}

// The function `written` returns the response to a write.
func written(op wire.Op, res tree.Result) (wire.Record, wire.Code) {
	switch op {
	case wire.OpCreate:
		return &wire.Path{Path: res.Path}, res.Err
	case wire.OpCreate2, wire.OpCreateTTL, wire.OpCreateContainer:
		return &wire.Create2Response{Path: res.Path, Stat: res.Stat}, res.Err
	case wire.OpSetData, wire.OpSetACL:
		return &res.Stat, res.Err
	case wire.OpMulti:
		return multiResponse(res)
	}
	return nil, res.Err
}

// multiResponse returns the response to a multi. Its header says OK even if the
// multi has failed; the parts have the errors.
func multiResponse(res tree.Result) (wire.Record, wire.Code) {
	rsp := &wire.MultiResponse{Results: make([]wire.MultiResult, len(res.Subs))}
	for i := range res.Subs {
		sub := &res.Subs[i]
		out := &rsp.Results[i]
		out.Op = sub.Op
		switch sub.Op {
		case wire.OpError:
			out.Err = sub.Err
			if sub.Err == wire.SessionMoved {
				return nil, wire.SessionMoved
			}
		case wire.OpCreate:
			out.Response = &wire.Path{Path: sub.Path}
		case wire.OpCreate2, wire.OpCreateTTL, wire.OpCreateContainer:
			out.Op, out.Response = wire.OpCreate2, &wire.Create2Response{Path: sub.Path, Stat: sub.Stat}
		case wire.OpSetData:
			out.Response = &sub.Stat
		}
	}
	return rsp, wire.OK
}

// The method `read` answers a request that has no transaction, from the current state of the tree.
func (s *server) read(r *request) (wire.Record, wire.Code) {
	switch r.op {
	case wire.OpPing:
		return nil, wire.OK
	case wire.OpWhoAmI:
		return whoAmI(r.auth), wire.OK
	case wire.OpCreate, wire.OpCloseSession:
		return nil, wire.OK
	}
	req := wire.NewRequest(r.op)
	if req == nil {
		return nil, wire.OK
	}
	if _, err := wire.Decode(r.body, req); err != nil {
		return nil, wire.MarshallingError
	}
	if s.hasNull(r.op, req) {
		return nil, wire.MarshallingError
	}
	switch req := req.(type) {
	case *wire.PathWatch:
		return s.readNode(r, req)
	case *wire.Path:
		return s.readPath(r, req)
	case *wire.MultiRequest:
		return s.multiRead(r, req)
	case *wire.SetWatchesRequest:
		s.tree.SetWatches(&wire.SetWatches2Request{SetWatchesRequest: *req}, r.conn)
	case *wire.SetWatches2Request:
		s.tree.SetWatches(req, r.conn)
	case *wire.AddWatchRequest:
		if req.Mode != wire.WatchPersistent && req.Mode != wire.WatchPersistentRecursive {
			return nil, wire.MarshallingError
		}
		s.tree.AddPersistent(req.Path, r.conn, req.Mode == wire.WatchPersistentRecursive)
		return &wire.Int32{}, wire.OK
	case *wire.WatchesRequest:
		if r.op == wire.OpCheckWatches {
			return nil, s.tree.HasWatch(req.Path, req.Type, r.conn)
		}
		return nil, s.tree.RemoveWatch(req.Path, req.Type, r.conn)
	}
	return nil, wire.OK
}

// hasNull reports whether a read has a null string or a null list that ZooKeeper cannot
// handle.
func (s *server) hasNull(op wire.Op, req wire.Record) bool {
	switch req := req.(type) {
	case *wire.PathWatch:
		return req.Path == wire.Null
	case *wire.Path:
		return req.Path == wire.Null && op != wire.OpSync && op != wire.OpGetEphemerals
	case *wire.SetWatchesRequest:
		return nullList(req.Data, req.Exist, req.Child)
	case *wire.SetWatches2Request:
		return nullList(req.Data, req.Exist, req.Child) || req.Persistent == nil || req.PersistentRecursive == nil
	case *wire.WatchesRequest:
		return req.Path == wire.Null && op == wire.OpCheckWatches && s.c.cfg.Rules.OneWatchMode
	case *wire.MultiRequest:
		return tree.NullPath(req.Ops)
	}
	return false
}

func nullList(lists ...[]string) bool {
	return slices.ContainsFunc(lists, func(l []string) bool { return l == nil || slices.Contains(l, wire.Null) })
}

// readNode answers the reads that can set a watch.
func (s *server) readNode(r *request, req *wire.PathWatch) (wire.Record, wire.Code) {
	reader := tree.Reader{Auth: r.auth}
	if req.Watch {
		reader.Watcher = r.conn
	}
	switch r.op {
	case wire.OpExists:
		st, code := s.tree.Exists(req.Path, reader)
		return onOK(&st, code)
	case wire.OpGetData:
		data, st, code := s.tree.Get(req.Path, reader)
		return onOK(&wire.GetDataResponse{Data: data, Stat: st}, code)
	case wire.OpGetChildren:
		names, _, code := s.tree.Children(req.Path, reader)
		return onOK(&wire.Strings{Strings: names}, code)
	}
	names, st, code := s.tree.Children(req.Path, reader)
	return onOK(&wire.GetChildren2Response{Children: names, Stat: st}, code)
}

// readPath answers the requests that consist of a path.
func (s *server) readPath(r *request, req *wire.Path) (wire.Record, wire.Code) {
	reader := tree.Reader{Auth: r.auth}
	switch r.op {
	case wire.OpSync:
		return req, wire.OK
	case wire.OpGetEphemerals:
		return &wire.Strings{Strings: s.tree.Ephemerals(r.session, req.Path)}, wire.OK
	case wire.OpGetAllChildrenNumber:
		n, code := s.tree.Descendants(req.Path, reader)
		return onOK(&wire.Int32{Value: int32(n)}, code)
	}
	acl, st, code := s.tree.ACL(req.Path, reader)
	return onOK(&wire.GetACLResponse{ACL: acl, Stat: st}, code)
}

func (s *server) multiRead(r *request, req *wire.MultiRequest) (wire.Record, wire.Code) {
	rsp := &wire.MultiResponse{}
	switch {
	case len(req.Ops) > 0 && tree.Pure(req.Ops, false):
		// In this request all parts are writes, although a multiRead must have only reads.
		// ZooKeeper detects the first write only after it has created the response. So an empty
		// response follows the error code.
		return rsp, wire.MarshallingError
	case !tree.Pure(req.Ops, true):
		return nil, wire.MarshallingError
	}
	for _, op := range req.Ops {
		sub := *r
		sub.op = op.Op
		pw := *op.Request.(*wire.PathWatch)
		pw.Watch = false // a multi sets no watches
		body, code := s.readNode(&sub, &pw)
		if code != wire.OK {
			rsp.Results = append(rsp.Results, wire.MultiResult{Op: wire.OpError, Err: code})
			continue
		}
		rsp.Results = append(rsp.Results, wire.MultiResult{Op: op.Op, Response: body})
	}
	return rsp, wire.OK
}

func whoAmI(auth []wire.ID) *wire.WhoAmIResponse {
	rsp := &wire.WhoAmIResponse{Clients: []wire.ID{}}
	for _, id := range auth {
		user := id.ID
		if id.Scheme == "digest" {
			user, _, _ = strings.Cut(user, ":")
		}
		rsp.Clients = append(rsp.Clients, wire.ID{Scheme: id.Scheme, ID: user})
	}
	return rsp
}

func onOK(body wire.Record, code wire.Code) (wire.Record, wire.Code) {
	if code != wire.OK {
		return nil, code
	}
	return body, wire.OK
}
