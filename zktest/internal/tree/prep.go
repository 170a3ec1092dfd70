package tree

import (
	"fmt"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Request is a client's request to change the tree.
type Request struct {
	Session int64
	Cxid    int32
	Op      wire.Op
	Body    []byte // the bytes after the header
	Auth    []wire.ID

	// Live returns OK if the session may still write. Otherwise it returns the reason why not. Prep
	// calls Live before it checks whether the path is valid, because ZooKeeper checks the session
	// at that point.
	Live func() wire.Code
}

// Prep turns requests into transactions. It sees the tree as if all transactions that it has
// prepared were applied. The leader has one Prep for each term.
type Prep struct {
	TTL bool // znodes may have a time to live; ZooKeeper does not allow this by default

	tree    *Tree
	changes []*change          // in the order of their zxids
	latest  map[string]*change // the last change of each path
}

// A change is the state of a znode after the transaction with the given zxid.
type change struct {
	zxid     int64
	path     string
	gone     bool
	stat     stat
	children int
	acl      []wire.ACL
}

// NewPrep returns a Prep on the leader's tree.
func NewPrep(t *Tree, ttl bool) *Prep {
	return &Prep{TTL: ttl, tree: t, latest: make(map[string]*change)}
}

// Applied removes the changes up to zxid, because the tree contains them now.
func (p *Prep) Applied(zxid int64) {
	i := 0
	for ; i < len(p.changes) && p.changes[i].zxid <= zxid; i++ {
		if c := p.changes[i]; p.latest[c.path] == c {
			delete(p.latest, c.path)
		}
		p.changes[i] = nil
	}
	if p.changes = p.changes[i:]; len(p.changes) == 0 {
		p.changes = nil
	}
}

func (p *Prep) record(c change) {
	p.changes = append(p.changes, &c)
	p.latest[c.path] = &c
}

// lookup returns the state that a znode has after all prepared transactions.
func (p *Prep) lookup(path string) (change, wire.Code) {
	c := p.latest[path]
	if c == nil {
		n := p.tree.nodes[path]
		if n == nil {
			return change{}, wire.NoNode
		}
		return change{path: path, stat: n.stat, children: n.children.len(), acl: n.acl}, wire.OK
	}
	if c.gone {
		return change{}, wire.NoNode
	}
	return *c, wire.OK
}

// Prepare returns the transaction of a request. If the request fails its checks, the transaction
// has the error code. The argument `time` is in milliseconds since 1970.
func (p *Prep) Prepare(r Request, zxid, time int64) *Txn {
	t := &Txn{Zxid: zxid, Time: time, Session: r.Session, Cxid: r.Cxid, Op: r.Op}
	var code wire.Code
	switch r.Op {
	case wire.OpMulti:
		code = p.multi(r, t)
	case wire.OpCreateSession:
		var timeout wire.Int32
		_, err := wire.Decode(r.Body, &timeout)
		t.Timeout, code = timeout.Value, marshalling(err)
	case wire.OpCloseSession:
		p.closeSession(t)
	case wire.OpDeleteContainer:
		code = p.reap(t, string(r.Body))
	case OpSetSequence:
		code = p.setSequence(r, t)
	case wire.OpReconfig:
		code = wire.ReconfigDisabled
		if _, err := wire.Decode(r.Body, &wire.ReconfigRequest{}); err != nil {
			code = wire.MarshallingError
		}
	default:
		req := wire.NewRequest(r.Op)
		if _, err := wire.Decode(r.Body, req); err != nil {
			code = wire.MarshallingError
			if p.tree.Rules.SessionFirst && !r.Op.IsCreate() {
				if live := r.Live(); live != wire.OK {
					code = live
				}
			}
		} else {
			code = p.one(r, req, t)
		}
	}
	if code != wire.OK {
		*t = Txn{Zxid: zxid, Time: time, Session: r.Session, Cxid: r.Cxid, Op: wire.OpError, Err: code}
	}
	return t
}

func marshalling(err error) wire.Code {
	if err != nil {
		return wire.MarshallingError
	}
	return wire.OK
}

// The method `one` prepares an operation, alone or as a part of a multi.
func (p *Prep) one(r Request, req wire.Record, t *Txn) wire.Code {
	switch req := req.(type) {
	case *wire.CreateRequest:
		return p.create(r, req, -1, t)
	case *wire.CreateTTLRequest:
		return p.create(r, &req.CreateRequest, req.TTL, t)
	case *wire.SetDataRequest:
		return p.setData(r, req, t)
	case *wire.SetACLRequest:
		return p.setACL(r, req, t)
	case *wire.PathVersion:
		if t.Op == wire.OpCheck {
			return p.check(r, req, t)
		}
		return p.remove(r, req, t)
	}
	return wire.OK
}

func (p *Prep) create(r Request, req *wire.CreateRequest, ttl int64, t *Txn) wire.Code {
	if !validMode(req.Mode) {
		return wire.BadArguments
	}
	sequential := req.Mode == wire.ModePersistentSequential || req.Mode == wire.ModeEphemeralSequential ||
		req.Mode == wire.ModeTTLSequential
	switch hasTTL := req.Mode >= wire.ModeTTL; {
	case hasTTL && !p.TTL:
		return wire.Unimplemented
	case hasTTL && (ttl <= 0 || ttl > maxTTL), !hasTTL && ttl >= 0:
		return wire.BadArguments
	case !hasTTL && t.Op == wire.OpCreateTTL:
		return wire.BadArguments // a ZooKeeper server ends its process here
	}
	if code := r.Live(); code != wire.OK {
		if code == wire.UnknownSession && (req.Mode == wire.ModeEphemeral || req.Mode == wire.ModeEphemeralSequential) {
			code = wire.SessionExpired
		}
		return code
	}
	path := req.Path
	if path == wire.Null {
		return wire.MarshallingError
	}
	if strings.IndexByte(path, '/') < 0 || strings.IndexByte(path, 0) >= 0 {
		return wire.BadArguments
	}
	acl, code := fixACL(req.ACL, r.Auth, p.tree.Rules)
	if code != wire.OK {
		return code
	}
	parentPath, _ := split(path)
	parent, code := p.lookup(parentPath)
	if code != wire.OK {
		return code
	}
	if code := allowed(parent.acl, wire.PermCreate, r.Auth); code != wire.OK {
		return code
	}
	if sequential {
		path += fmt.Sprintf("%010d", parent.stat.cversion)
	}
	if !validPath(path) {
		return wire.BadArguments
	}
	if _, code := p.lookup(path); code == wire.OK {
		return wire.NodeExists
	}
	if parent.stat.owner.ephemeral() {
		return wire.NoChildrenForEphemerals
	}
	t.Path, t.Data, t.ACL, t.Version = path, req.Data, acl, parent.stat.cversion+1
	switch {
	case t.Op == wire.OpCreateContainer:
		t.Owner = containerOwner
	case t.Op == wire.OpCreateTTL:
		t.Owner = ttlOwner(ttl)
	case req.Mode == wire.ModeEphemeral || req.Mode == wire.ModeEphemeralSequential:
		t.Owner = owner(r.Session)
	}
	parent.zxid, parent.stat.cversion, parent.stat.pzxid = t.Zxid, t.Version, t.Zxid
	parent.children++
	p.record(parent)
	p.record(change{zxid: t.Zxid, path: path, acl: acl, stat: stat{
		czxid: t.Zxid, mzxid: t.Zxid, pzxid: t.Zxid, ctime: t.Time, mtime: t.Time, owner: t.Owner,
	}})
	return wire.OK
}

func (p *Prep) remove(r Request, req *wire.PathVersion, t *Txn) wire.Code {
	if code := r.Live(); code != wire.OK {
		return code
	}
	parentPath, code := parentOf(req.Path)
	if code != wire.OK {
		return code
	}
	parent, code := p.lookup(parentPath)
	if code != wire.OK {
		return code
	}
	if code := allowed(parent.acl, wire.PermDelete, r.Auth); code != wire.OK {
		return code
	}
	n, code := p.lookup(req.Path)
	switch {
	case code != wire.OK:
		return code
	case req.Version != -1 && req.Version != n.stat.version:
		return wire.BadVersion
	case n.children > 0:
		return wire.NotEmpty
	}
	p.removed(parent, req.Path, t)
	return wire.OK
}

func (p *Prep) removed(parent change, path string, t *Txn) {
	t.Path = path
	parent.zxid, parent.stat.pzxid = t.Zxid, t.Zxid
	parent.children--
	p.record(parent)
	p.record(change{zxid: t.Zxid, path: path, gone: true})
}

// reap deletes a container or a znode whose time to live is over. The leader
// requests this itself, so there is no session and no ACL to check.
func (p *Prep) reap(t *Txn, path string) wire.Code {
	parentPath, code := parentOf(path)
	if code != wire.OK {
		return code
	}
	n, code := p.lookup(path)
	switch {
	case code != wire.OK:
		return code
	case n.children > 0:
		return wire.NotEmpty
	case n.stat.owner.ephemeral():
		return wire.BadVersion
	}
	parent, code := p.lookup(parentPath)
	if code != wire.OK {
		return code
	}
	p.removed(parent, path, t)
	return wire.OK
}

// The method `permitted` returns the znode at path and whether the request has the permission on
// it.
func (p *Prep) permitted(r Request, path string, permission int32) (change, wire.Code) {
	if code := r.Live(); code != wire.OK {
		return change{}, code
	}
	if !validPath(path) {
		return change{}, wire.BadArguments
	}
	n, code := p.lookup(path)
	if code != wire.OK {
		return change{}, code
	}
	return n, allowed(n.acl, permission, r.Auth)
}

func (p *Prep) setData(r Request, req *wire.SetDataRequest, t *Txn) wire.Code {
	n, code := p.permitted(r, req.Path, wire.PermWrite)
	if code != wire.OK {
		return code
	}
	if req.Version != -1 && req.Version != n.stat.version {
		return wire.BadVersion
	}
	t.Path, t.Data, t.Version = req.Path, req.Data, n.stat.version+1
	n.zxid, n.stat.version, n.stat.mzxid, n.stat.mtime = t.Zxid, t.Version, t.Zxid, t.Time
	p.record(n)
	return wire.OK
}

func (p *Prep) setACL(r Request, req *wire.SetACLRequest, t *Txn) wire.Code {
	if code := r.Live(); code != wire.OK {
		return code
	}
	if !validPath(req.Path) {
		return wire.BadArguments
	}
	acl, code := fixACL(req.ACL, r.Auth, p.tree.Rules)
	if code != wire.OK {
		return code
	}
	n, code := p.lookup(req.Path)
	if code != wire.OK {
		return code
	}
	if code := allowed(n.acl, wire.PermAdmin, r.Auth); code != wire.OK {
		return code
	}
	if req.Version != -1 && req.Version != n.stat.aversion {
		return wire.BadVersion
	}
	t.Path, t.ACL, t.Version = req.Path, acl, n.stat.aversion+1
	n.zxid, n.stat.aversion, n.acl = t.Zxid, t.Version, acl
	p.record(n)
	return wire.OK
}

func (p *Prep) setSequence(r Request, t *Txn) wire.Code {
	var req wire.PathVersion
	if _, err := wire.Decode(r.Body, &req); err != nil {
		return wire.MarshallingError
	}
	if req.Path == "/" {
		req.Path = "" // a create at the top level looks up its parent as ""
	}
	n, code := p.lookup(req.Path)
	if code != wire.OK {
		return code
	}
	t.Path, t.Version = req.Path, req.Version
	n.zxid, n.stat.cversion = t.Zxid, t.Version
	p.record(n)
	return wire.OK
}

func (p *Prep) check(r Request, req *wire.PathVersion, t *Txn) wire.Code {
	n, code := p.permitted(r, req.Path, wire.PermRead)
	if code != wire.OK {
		return code
	}
	if req.Version != -1 && req.Version != n.stat.version {
		return wire.BadVersion
	}
	t.Path, t.Version = req.Path, n.stat.version+1
	return wire.OK
}

// closeSession deletes all ephemeral znodes of the session, including those
// whose creation is not applied yet.
func (p *Prep) closeSession(t *Txn) {
	var own set
	if s := p.tree.ephemerals[t.Session]; s != nil {
		own = s.clone()
	}
	for _, c := range p.changes {
		if c.gone {
			own.remove(c.path)
		} else if c.stat.owner.ephemeral() && int64(c.stat.owner) == t.Session {
			own.add(c.path, p.tree.seed)
		}
	}
	t.Paths = own.items
	for _, path := range t.Paths {
		p.record(change{zxid: t.Zxid, path: path, gone: true})
	}
}
