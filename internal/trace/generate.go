package trace

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

const clients = 3

// A kind is the kind of a step. A step of the kind `request` sends a request. The steps of all
// other kinds concern the connection.
type kind int

const (
	request   kind = iota
	resume         // close the connection, and resume the session
	take           // resume the session while the old connection stays open
	impostor       // try to resume the session with a wrong password
	prophet        // try to resume the session with a zxid from the future
	closeAfar      // close the session on a second connection
	kindsCount
)

var kindNames = [kindsCount]string{"request", "resume", "take", "impostor", "prophet", "closeAfar"}

// A Step is one action of one client, which waits for the result. If the client has no session, it
// first opens one. So a trace without some of its steps is still a valid trace.
type Step struct {
	client int
	kind   kind
	role   int  // the server to connect to: 0 is the leader, 1 and 2 are followers
	old    bool // connect like a client before 3.4

	// The fields below are for requests.
	op    wire.Op
	req   wire.Record
	cut   int  // number of bytes by which the request is cut at its end
	stale bool // on the connection that a step of kind `take` has left open
	since int  // for setWatches: number of writes of the trace after the zxid in the request
}

// Name returns the name of a request's operation, or of a change of the connection, such as
// "resume".
func (s Step) Name() string {
	if s.kind != request {
		return kindNames[s.kind]
	}
	return s.op.String()
}

// String returns the step as one line.
func (s Step) String() string {
	if s.kind != request {
		return fmt.Sprintf("client %d: %s at server %d", s.client, kindNames[s.kind], s.role)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "client %d: %v", s.client, s.op)
	if s.req != nil {
		fmt.Fprintf(&b, " %s", printed(s.req))
	}
	if s.cut > 0 {
		fmt.Fprintf(&b, ", %d bytes short", s.cut)
	}
	if s.stale {
		b.WriteString(", on its old connection")
	}
	return b.String()
}

// The function `printed` returns a request as one line, with data as text.
func printed(r wire.Record) string {
	switch r := r.(type) {
	case *wire.MultiRequest:
		var parts []string
		for _, op := range r.Ops {
			parts = append(parts, fmt.Sprintf("%v %s", op.Op, printed(op.Request)))
		}
		return "[" + strings.Join(parts, "; ") + "]"
	case *wire.CreateRequest:
		return fmt.Sprintf("%q data %s acl %+v mode %d", r.Path, text(r.Data), r.ACL, r.Mode)
	case *wire.CreateTTLRequest:
		return fmt.Sprintf("%s ttl %d", printed(&r.CreateRequest), r.TTL)
	case *wire.SetDataRequest:
		return fmt.Sprintf("%q data %s version %d", r.Path, text(r.Data), r.Version)
	case *wire.AuthRequest:
		return fmt.Sprintf("%q %s", r.Scheme, text(r.Auth))
	}
	return fmt.Sprintf("%+v", r)
}

// The function `text` returns data in quotes. A nil slice is distinct from an empty one.
func text(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

// Generate returns the trace of a seed. The root is only a prefix of the paths: it does not change
// the rest of the trace. No trace contains the requests that `limits` excludes, or those that the
// package comment of zktest/internal/difftest lists.
func Generate(seed uint64, root string, limits Limits) []Step {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 1)), root: root, Limits: limits}
	steps := make([]Step, 30+g.IntN(31))
	for i := range steps {
		steps[i] = g.step()
	}
	for i := range 5 { // to create some znodes first
		steps[i] = Step{client: g.IntN(clients), op: wire.OpCreate, req: &wire.CreateRequest{
			Path: root + one(g, "/a", "/a", "/b", "/a/x", "/a/y"), Data: g.data(), ACL: g.acl(),
			Mode: one(g, wire.ModePersistent, wire.ModePersistent, wire.ModePersistent, wire.ModeEphemeral),
		}}
	}
	return steps
}

type generator struct {
	*rand.Rand
	root string
	Limits
}

// Limits exclude requests from the traces of a comparison.
type Limits struct {
	Modes     bool // a multi contains no create2, and the mode of each create matches its operation; for releases before 3.8.2
	CutWrites bool // no write except a multi is truncated; for ensembles of several servers of 3.9

	// Guest is for servers that other clients use too. With Guest, a trace neither reads nor
	// changes anything outside the root. It contains neither truncated requests nor requests that
	// depend on the configuration of the servers. Each ACL that is not empty also gives Owner all
	// permissions.
	Guest bool
	Owner wire.ID
}

func one[T any](g generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g generator) percent(p int) bool { return g.IntN(100) < p }

func (g generator) step() Step {
	s := Step{client: g.IntN(clients), role: g.IntN(3), op: g.op(), since: g.IntN(6)}
	if g.Guest && (s.op == wire.OpReconfig || s.op == wire.OpSASL || s.op == Unknown) {
		s.op = wire.OpExists
	}
	switch {
	case g.percent(4):
		s.kind, s.old = 1+kind(g.IntN(int(kindsCount)-1)), g.percent(10)
		return s
	case g.percent(3):
		// A stale request uses an old connection. The fate of this connection depends on the server
		// that leads. With Limits.Guest, it may be unknown which server leads, so no request is
		// stale.
		s.stale = !g.Guest
	}
	s.req = g.request(s.op)
	if s.req != nil && g.mayCut(s.op) && g.percent(2) {
		s.cut = 1 + g.IntN(12)
	}
	return s
}

// mayCut reports whether a request may be truncated. g.Limits exclude some requests from being
// truncated. A reconfig must never be truncated, because the leader answers no request after a
// truncated reconfig.
func (g generator) mayCut(op wire.Op) bool {
	return !g.Guest && op != wire.OpReconfig && (!g.CutWrites || !op.IsWrite() || op == wire.OpMulti)
}

// Unknown is a number that no operation has. Servers refuse a request with it.
const Unknown wire.Op = 77

// Operations returns the operations and their weights. Creates and watches have more weight, and
// operations that end the session have less.
func Operations() (ops []wire.Op, weights []int) {
	for _, o := range []struct {
		op     wire.Op
		weight int
	}{
		{wire.OpCreate, 14}, {wire.OpCreate2, 10}, {wire.OpCreateContainer, 3}, {wire.OpCreateTTL, 3}, {wire.OpDelete, 10},
		{wire.OpSetData, 9}, {wire.OpSetACL, 4}, {wire.OpCheck, 2}, {wire.OpMulti, 9}, {wire.OpMultiRead, 3},
		{wire.OpExists, 8}, {wire.OpGetData, 7}, {wire.OpGetChildren, 5}, {wire.OpGetChildren2, 5}, {wire.OpGetACL, 4},
		{wire.OpSync, 1}, {wire.OpPing, 1}, {wire.OpWhoAmI, 1}, {wire.OpGetEphemerals, 2}, {wire.OpGetAllChildrenNumber, 2},
		{wire.OpAddWatch, 5}, {wire.OpRemoveWatches, 4}, {wire.OpCheckWatches, 3}, {wire.OpSetWatches, 2},
		{wire.OpSetWatches2, 2}, {wire.OpAuth, 4}, {wire.OpCloseSession, 2}, {wire.OpReconfig, 1}, {wire.OpSASL, 1}, {Unknown, 1},
	} {
		ops, weights = append(ops, o.op), append(weights, o.weight)
	}
	return ops, weights
}

func (g generator) op() wire.Op {
	ops, weights := Operations()
	total := 0
	for _, w := range weights {
		total += w
	}
	n := g.IntN(total)
	for i, w := range weights {
		if n -= w; n < 0 {
			return ops[i]
		}
	}
	panic("unreachable")
}

// The method `request` draws the body of a request of an operation. It returns nil if such a
// request has no body.
func (g generator) request(op wire.Op) wire.Record {
	switch op {
	case wire.OpCreate, wire.OpCreate2, wire.OpCreateContainer, wire.OpCreateTTL:
		return g.create(op)
	case wire.OpDelete:
		return &wire.PathVersion{Path: g.deletable(), Version: g.version()}
	case wire.OpCheck:
		// No znode has these versions, so the check fails. A check outside of a multi must not
		// succeed, because some releases of ZooKeeper do not answer it then: see the package
		// comment of difftest. Inside a multi, a check may succeed, and the method `multi` sets
		// another version.
		return &wire.PathVersion{Path: g.path(), Version: one[int32](g, -2, 99)}
	case wire.OpSetData:
		return &wire.SetDataRequest{Path: g.path(), Data: g.data(), Version: g.version()}
	case wire.OpSetACL:
		return &wire.SetACLRequest{Path: g.path(), ACL: g.acl(), Version: g.version()}
	case wire.OpMulti:
		if g.percent(25) { // like a heartbeat
			return g.multi(wire.OpCheck)
		}
		return g.multi(wire.OpCreate, wire.OpCreate, wire.OpCreate2, wire.OpCreateContainer, wire.OpCreateTTL,
			wire.OpDelete, wire.OpDelete, wire.OpSetData, wire.OpSetData, wire.OpCheck, wire.OpCheck)
	case wire.OpMultiRead:
		return g.multi(wire.OpGetData, wire.OpGetChildren)
	case wire.OpExists, wire.OpGetData, wire.OpGetChildren, wire.OpGetChildren2:
		return &wire.PathWatch{Path: g.readable(), Watch: g.percent(60)}
	case wire.OpGetACL, wire.OpSync, wire.OpGetAllChildrenNumber:
		return &wire.Path{Path: g.readable()}
	case wire.OpGetEphemerals:
		return &wire.Path{Path: one(g, "", "/", " ", g.readable(), g.readable())}
	case wire.OpAddWatch:
		return &wire.AddWatchRequest{Path: g.readable(), Mode: one[int32](g, 0, 0, 0, 1, 1, 1, 1, 2)}
	case wire.OpRemoveWatches, wire.OpCheckWatches:
		return &wire.WatchesRequest{Path: g.watchable(), Type: one[int32](g, 1, 1, 2, 2, 3, 3, 3, 3, 0, 4, 5)}
	case wire.OpSetWatches:
		return g.setWatches()
	case wire.OpSetWatches2:
		return &wire.SetWatches2Request{SetWatchesRequest: *g.setWatches(), Persistent: g.paths(), PersistentRecursive: g.paths()}
	case wire.OpAuth:
		return g.auth()
	case wire.OpReconfig:
		return &wire.ReconfigRequest{Joining: "server.9=127.0.0.1:1:2;3", ConfigID: -1}
	case wire.OpSASL:
		return &wire.AuthToken{Token: []byte("token")}
	}
	return nil
}

func (g generator) create(op wire.Op) wire.Record {
	mode := one(g, wire.ModePersistent, wire.ModePersistent, wire.ModePersistent, wire.ModeEphemeral,
		wire.ModePersistentSequential, wire.ModeEphemeralSequential)
	switch {
	case op == wire.OpCreateContainer:
		mode = wire.ModeContainer
	case op == wire.OpCreateTTL:
		mode = one(g, wire.ModeTTL, wire.ModeTTLSequential)
	}
	if g.percent(4) {
		mode = int32(g.IntN(9) - 1) // of another operation, or invalid
	}
	path := g.path()
	if g.percent(1) {
		path = g.root + one(g, "/\xff", "/😀") // only in creates, because no reply or event may contain such a path: see the package comment of difftest
	}
	if mode == wire.ModePersistentSequential || mode == wire.ModeEphemeralSequential || mode == wire.ModeTTLSequential {
		path = g.sequential(path)
	}
	r := wire.CreateRequest{Path: path, Data: g.data(), ACL: g.acl(), Mode: mode}
	if op != wire.OpCreateTTL {
		return &r
	}
	ttl := &wire.CreateTTLRequest{CreateRequest: r, TTL: one[int64](g, 1, 1000, 1e9, 1e9, 1<<40-1, 1<<40, 0, -1)}
	if mode != wire.ModeTTL && mode != wire.ModeTTLSequential {
		ttl.TTL = max(0, ttl.TTL) // -1 would end the server
	}
	return ttl
}

// The method `sequential` converts a path to one that can get a sequence number. It converts the
// root to a path below the root. Otherwise the new znode would be next to the root, where the
// sequence numbers depend on other traces. A path outside of the root stays as it is: servers
// refuse it, because it is invalid.
func (g generator) sequential(path string) string {
	if path == g.root {
		return g.root + "/"
	}
	if strings.HasPrefix(path, g.root+"/") {
		return path[:strings.LastIndex(path, "/")+1] + one(g, "s-", "s-", "")
	}
	return path
}

func (g generator) multi(ops ...wire.Op) wire.Record {
	m := &wire.MultiRequest{}
	for range g.IntN(5) {
		op := one(g, ops...)
		if g.Modes && op == wire.OpCreate2 {
			op = wire.OpCreate
		}
		if g.percent(2) {
			op = one(g, wire.OpGetData, wire.OpDelete, wire.OpGetChildren, wire.OpSetACL, wire.OpExists)
		}
		req := g.request(op)
		if check, ok := req.(*wire.PathVersion); ok {
			check.Version = g.version()
		}
		m.Ops = append(m.Ops, wire.MultiOp{Op: op, Request: req})
		if g.Modes {
			matchMode(m.Ops[len(m.Ops)-1])
		}
	}
	return m
}

// matchMode sets a create's mode to one that matches its operation.
func matchMode(op wire.MultiOp) {
	switch r := op.Request.(type) {
	case *wire.CreateRequest:
		if op.Op == wire.OpCreateContainer {
			r.Mode = wire.ModeContainer
		} else if r.Mode < 0 || r.Mode > wire.ModeEphemeralSequential {
			r.Mode = wire.ModePersistent
		}
	case *wire.CreateTTLRequest:
		if r.Mode != wire.ModeTTLSequential {
			r.Mode = wire.ModeTTL
		}
	}
}

func (g generator) setWatches() *wire.SetWatchesRequest {
	return &wire.SetWatchesRequest{Data: g.paths(), Exist: g.paths(), Child: g.paths()}
}

func (g generator) paths() []string {
	paths := make([]string, g.IntN(3))
	for i := range paths {
		paths[i] = g.readable()
	}
	return paths
}

// The method `path` draws a path for any operation. Most paths are those of a few znodes of the
// trace.
func (g generator) path() string {
	switch n := g.IntN(100); {
	case n < 40:
		return g.root + one(g, "/a", "/b")
	case n < 65:
		return g.root + one(g, "/a", "/b") + one(g, "/x", "/y")
	case n < 72:
		return g.root + "/a/x/" + one(g, "p", "q")
	case n < 88:
		return fmt.Sprintf("%s%s%s%010d", g.root, one(g, "/a/", "/a/", "/b/", "/"), one(g, "s-", "s-", ""), g.IntN(4))
	case n < 93:
		return g.root
	case n < 96:
		return g.root + "/none/such"
	}
	return one(g, "", "a", g.root+"/", g.root+"//a", g.root+"/a/", g.root+"/a/.", g.root+"/../a", g.root+"/a\x00b", g.root+"/\x01",
		g.root+"/\u007f", g.root+"/\uf8ff", g.root+"/\ufff0", g.root+"/é", g.root+"/...")
}

// The method `readable` draws a path that other traces do not affect. So it excludes the empty
// path, which means the root of all znodes.
func (g generator) readable() string {
	switch p := g.path(); p {
	case "":
		if g.Guest {
			return g.root
		}
		return one(g, "/zookeeper", "/zookeeper/quota")
	default:
		return p
	}
}

// The method `watchable` draws a path that no other trace watches, and that contains a slash.
func (g generator) watchable() string {
	if p := g.path(); strings.HasPrefix(p, g.root+"/") {
		return p
	}
	return g.root
}

func (g generator) deletable() string {
	if !g.Guest && g.percent(3) {
		return one(g, "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config")
	}
	return g.path()
}

func (g generator) version() int32 { return one[int32](g, -1, -1, -1, -1, 0, 0, 1, 2, -2) }

func (g generator) data() []byte {
	return one(g, nil, []byte{}, []byte("1"), []byte("two"), []byte(strings.Repeat("long", 50)))
}

// Digest returns the identity of a user under the scheme digest, for the password "pw".
func Digest(user string) wire.ID {
	sum := sha1.Sum([]byte(user + ":pw"))
	return wire.ID{Scheme: "digest", ID: user + ":" + base64.StdEncoding.EncodeToString(sum[:])}
}

var world = wire.ID{Scheme: "world", ID: "anyone"}

func (g generator) acl() []wire.ACL {
	if g.percent(70) {
		return []wire.ACL{{Perms: wire.PermAll, ID: world}}
	}
	acl := make([]wire.ACL, g.IntN(3))
	for i := range acl {
		acl[i] = wire.ACL{Perms: one(g, wire.PermAll, wire.PermAll, int32(g.IntN(32)), wire.PermAll&^wire.PermAdmin), ID: g.id()}
	}
	if g.Guest && len(acl) > 0 {
		acl = append(acl, wire.ACL{Perms: wire.PermAll, ID: g.Owner})
	}
	return acl
}

func (g generator) id() wire.ID {
	if g.Guest { // client addresses and available schemes differ between environments
		return one(g, world, world, Digest("u1"), Digest("u1"), Digest("u2"), wire.ID{Scheme: "auth"}, wire.ID{Scheme: "auth", ID: "any"},
			wire.ID{}, wire.ID{Scheme: "world", ID: "someone"}, wire.ID{Scheme: "digest", ID: "u1"}, wire.ID{Scheme: "digest", ID: "a:b:c"})
	}
	if g.percent(10) {
		return one(g, wire.ID{}, wire.ID{Scheme: "world", ID: "someone"}, wire.ID{Scheme: "digest", ID: "u1"},
			wire.ID{Scheme: "digest", ID: "a:b:c"}, wire.ID{Scheme: "ip", ID: "nowhere"}, wire.ID{Scheme: "ip", ID: "127.0.0.1/99"},
			wire.ID{Scheme: "ip", ID: "::1"}, wire.ID{Scheme: "ip", ID: "fe80::/10"}, wire.ID{Scheme: "ip", ID: "1::2::3"}, wire.ID{Scheme: "ip", ID: "127.000.0.01/8"},
			wire.ID{Scheme: "kerberos", ID: "u1"}, wire.ID{Scheme: "super", ID: ""}, wire.ID{Scheme: "x509", ID: "CN=u1"})
	}
	return one(g, world, world, Digest("u1"), Digest("u1"), Digest("u2"), wire.ID{Scheme: "auth"}, wire.ID{Scheme: "auth", ID: "any"},
		wire.ID{Scheme: "ip", ID: "127.0.0.1"}, wire.ID{Scheme: "ip", ID: "127.0.0.0/8"}, wire.ID{Scheme: "ip", ID: "10.0.0.1"})
}

func (g generator) auth() wire.Record {
	if g.Guest {
		return one(g, &wire.AuthRequest{Scheme: "digest", Auth: []byte("u1:pw")}, &wire.AuthRequest{Scheme: "digest", Auth: []byte("u2:pw")},
			&wire.AuthRequest{Scheme: "digest", Auth: []byte("u1:wrong")}, &wire.AuthRequest{Scheme: "none", Auth: []byte("x")})
	}
	if g.percent(8) {
		return one(g, &wire.AuthRequest{Scheme: "none", Auth: []byte("x")}, &wire.AuthRequest{Scheme: "world", Auth: []byte("anyone")},
			&wire.AuthRequest{Scheme: "auth"}, &wire.AuthRequest{Scheme: ""}, &wire.AuthRequest{Scheme: "super", Auth: []byte("super:pw")},
			&wire.AuthRequest{Scheme: "digest"}, &wire.AuthRequest{Scheme: "digest", Auth: []byte("u1")})
	}
	return one(g, &wire.AuthRequest{Scheme: "digest", Auth: []byte("u1:pw")}, &wire.AuthRequest{Scheme: "digest", Auth: []byte("u2:pw")},
		&wire.AuthRequest{Scheme: "digest", Auth: []byte("u1:wrong")}, &wire.AuthRequest{Scheme: "digest", Auth: []byte("super:pw")},
		&wire.AuthRequest{Scheme: "ip"})
}
