package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/wire"
)

func ok() wire.Code { return wire.OK }

var anyone = []wire.ID{{Scheme: "ip", ID: "127.0.0.1"}}

// A leader prepares transactions and applies them later. So some prepared transactions are not
// applied yet.
type leader struct {
	*Tree
	*Prep
	zxid int64
	log  []*Txn
}

func newLeader() *leader {
	t := New("", Rules{}, 1)
	return &leader{Tree: t, Prep: NewPrep(t, true)}
}

func (l *leader) prepare(op wire.Op, session int64, r wire.Record) *Txn {
	l.zxid++
	var body []byte
	if r != nil {
		body = wire.Append(nil, r)
	}
	txn := l.Prepare(Request{Session: session, Op: op, Body: body, Auth: anyone, Live: ok}, l.zxid, l.zxid)
	l.log = append(l.log, txn)
	return txn
}

func (l *leader) applyAll() {
	for len(l.log) > 0 {
		if r := l.Apply(l.log[0]); r.Err != l.log[0].Err && l.log[0].Op != wire.OpMulti {
			panic(fmt.Sprintf("%+v failed with %v", l.log[0], r.Err))
		}
		l.Applied(l.log[0].Zxid)
		l.log = l.log[1:]
	}
}

func create(path string, mode int32) *wire.CreateRequest {
	return &wire.CreateRequest{Path: path, ACL: openACL, Mode: mode}
}

// The checks see changes that are proposed and not applied.
func TestChecksSeeOutstandingChanges(t *testing.T) {
	l := newLeader()
	expect := func(op wire.Op, r wire.Record, want wire.Code) *Txn {
		t.Helper()
		txn := l.prepare(op, 1, r)
		if txn.Err != want {
			t.Errorf("%v %+v: got %v, want %v", op, r, txn.Err, want)
		}
		return txn
	}
	expect(wire.OpCreate, create("/a", 0), wire.OK)
	expect(wire.OpCreate, create("/a", 0), wire.NodeExists)
	expect(wire.OpCreate, create("/a/e", 1), wire.OK)
	expect(wire.OpCreate, create("/a/e/x", 0), wire.NoChildrenForEphemerals)
	expect(wire.OpDelete, &wire.PathVersion{Path: "/a", Version: -1}, wire.NotEmpty)
	expect(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: 0}, wire.OK)
	expect(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: 0}, wire.BadVersion)
	expect(wire.OpCheck, &wire.PathVersion{Path: "/a", Version: 1}, wire.OK)
	if txn := expect(wire.OpCreate, create("/a/s", 2), wire.OK); txn.Path != "/a/s0000000001" {
		t.Errorf("sequential create: got %s, want /a/s0000000001", txn.Path)
	}
	txn := l.prepare(wire.OpCloseSession, 1, nil)
	if !slices.Equal(txn.Paths, []string{"/a/e"}) {
		t.Errorf("closeSession deletes %v, want [/a/e]", txn.Paths)
	}
	expect(wire.OpDelete, &wire.PathVersion{Path: "/a/e", Version: -1}, wire.NoNode)
	l.applyAll()
	if len(l.latest) != 0 || len(l.changes) != 0 {
		t.Errorf("got %d changes after all are applied, want none", len(l.changes))
	}
	if st, _ := l.Exists("/a", Reader{}); st.NumChildren != 1 || st.Cversion != 3 || st.Version != 1 {
		t.Errorf("got stat %+v, want 1 child, cversion 3 and version 1", st)
	}
}

// Regression: a client sent a truncated setData on a connection that its session had already left.
// ZooKeeper closed the connection, and zktest returned an error. One in 5,000 traces on three
// servers of 3.8 showed this difference.
func TestMovedSessionOfARequestThatIsTooShort(t *testing.T) {
	moved := func() wire.Code { return wire.SessionMoved }
	for _, c := range []struct {
		release string
		op      wire.Op
		want    wire.Code
	}{
		{"3.8.0", wire.OpSetData, wire.SessionMoved},
		{"3.8.6", wire.OpSetACL, wire.SessionMoved},
		{"3.8.6", wire.OpDelete, wire.SessionMoved},
		{"3.8.0", wire.OpCheck, wire.SessionMoved},
		{"3.8.6", wire.OpCreate, wire.MarshallingError},
		{"3.9.0", wire.OpSetData, wire.MarshallingError},
		{"3.9.6", wire.OpDelete, wire.MarshallingError},
	} {
		rules, err := RulesOf(c.release)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPrep(New("", rules, 1), true)
		if got := p.Prepare(Request{Session: 1, Op: c.op, Body: []byte{0}, Auth: anyone, Live: moved}, 1, 1); got.Err != c.want {
			t.Errorf("%s: a %v that is too short: got %v, want %v", c.release, c.op, got.Err, c.want)
		}
	}
}

func TestFailedMultiLeavesNoChange(t *testing.T) {
	l := newLeader()
	l.prepare(wire.OpCreate, 1, create("/a", 0))
	multi := &wire.MultiRequest{Ops: []wire.MultiOp{
		{Op: wire.OpCreate, Request: create("/a/b", 0)}, {Op: wire.OpSetData, Request: &wire.SetDataRequest{Path: "/a", Version: 0}},
		{Op: wire.OpDelete, Request: &wire.PathVersion{Path: "/none"}}, {Op: wire.OpCreate, Request: create("/c", 0)},
	}}
	txn := l.prepare(wire.OpMulti, 1, multi)
	var codes []wire.Code
	for _, sub := range txn.Subs {
		codes = append(codes, sub.Err)
	}
	if want := []wire.Code{wire.OK, wire.OK, wire.NoNode, wire.RuntimeInconsistency}; !slices.Equal(codes, want) {
		t.Errorf("got codes %v, want %v", codes, want)
	}
	if txn := l.prepare(wire.OpSetData, 1, &wire.SetDataRequest{Path: "/a", Version: 0}); txn.Err != wire.OK {
		t.Errorf("set after the multi: got %v, want OK", txn.Err)
	}
	if txn := l.prepare(wire.OpCreate, 1, create("/a/b", 0)); txn.Err != wire.OK {
		t.Errorf("create after the multi: got %v, want OK", txn.Err)
	}
	l.applyAll()
}

// Each prepared transaction applies with the outcome that was prepared, and a
// clone behaves like its original.
func TestWhatIsPreparedApplies(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newLeader()
		replica := New("", Rules{}, 1)
		path := func() string {
			p := fmt.Sprintf("/%c", 'a'+r.IntN(3))
			if r.IntN(2) == 0 {
				p += fmt.Sprintf("/%c", 'a'+r.IntN(3))
			}
			return p
		}
		one := func() wire.MultiOp {
			switch r.IntN(4) {
			case 0:
				return wire.MultiOp{Op: wire.OpDelete, Request: &wire.PathVersion{Path: path(), Version: -1}}
			case 1:
				return wire.MultiOp{Op: wire.OpSetData, Request: &wire.SetDataRequest{Path: path(), Version: int32(r.IntN(3) - 1)}}
			case 2:
				return wire.MultiOp{Op: wire.OpCheck, Request: &wire.PathVersion{Path: path(), Version: -1}}
			}
			return wire.MultiOp{Op: wire.OpCreate, Request: create(path(), int32(r.IntN(5)))}
		}
		for range 300 {
			switch n := r.IntN(10); {
			case n < 6:
				op := one()
				l.prepare(op.Op, int64(1+r.IntN(3)), op.Request)
			case n < 8:
				l.prepare(wire.OpMulti, int64(1+r.IntN(3)), &wire.MultiRequest{Ops: []wire.MultiOp{one(), one(), one()}})
			case n < 9:
				l.prepare(wire.OpCloseSession, int64(1+r.IntN(3)), nil)
			default:
				for _, txn := range l.log {
					replica.Apply(txn)
				}
				l.applyAll()
				if r.IntN(10) == 0 {
					replica = replica.Clone()
				}
			}
		}
		for _, txn := range l.log {
			replica.Apply(txn)
		}
		l.applyAll()
		var a, b bytes.Buffer
		l.Dump(&a)
		replica.Dump(&b)
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("seed %d: got the replica:\n%s\nwant that of the leader:\n%s",
				seed, b.String(), a.String())
		}
	}
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a": true, "/a/b": true, "/...": true, "/a.b": true, "/ü": true, "/.a": true, "/zookeeper": true,
		"": false, "a": false, "//": false, "/a/": false, "/a//b": false, "/.": false, "/..": false, "/a/./b": false,
		"/a/..": false, "/\x00": false, "/\x1f": false, "/\u007f": false, "/\ue000": false, "/\ufff0": false, "/\xff": false, "/\U0001f600": false,
	} {
		if got := validPath(path); got != want {
			t.Errorf("%q: valid is %v, want %v", path, got, want)
		}
	}
}

func TestACLOfAddresses(t *testing.T) {
	for _, c := range []struct {
		acl, addr     string
		valid, passes bool
	}{
		{"127.0.0.1", "127.0.0.1", true, true}, {"127.0.0.0/8", "127.9.9.9", true, true}, {"10.0.0.0/8", "127.0.0.1", true, false},
		{"127.0.0.1/33", "127.0.0.1", false, false}, {"localhost", "127.0.0.1", false, false}, {"", "", false, false},
		{"::1", "::1", true, true}, {"::1/64", "::2", true, true},
		{"::1/127", "::2", true, false}, {"fe80::/10", "febf:0:0:0:1:2:3:4", true, true}, {"fe80::/10", "fec0::", true, false},
		{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", true, true}, {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", true, true}, {"::/0", "::", true, true},
		{"::1", "127.0.0.1", true, false}, {"::/0", "127.0.0.1", true, false}, {"0.0.0.0/0", "::1", true, false}, {"::1/129", "::1", false, false},
		{"1::2::3", "1::2", false, false}, {":::", "::", false, false}, {":1", ":1", false, false}, {"1:2:3:4:5:6:7", "", false, false},
		{"1:2:3:4:5:6:7:8::", "", false, false}, {"12345::", "::", false, false}, {"::ffff:127.0.0.1", "127.0.0.1", false, false}, {"g::", "", false, false}, {"127.0.0.1", "::1", true, false}, {"0.0.0.0/0", "10.1.2.3", true, true},
		{"127.000.00.01", "127.0.0.1", true, true}, {"127.0.0.256", "", false, false}, {"127.0.0.1.", "", false, false}, {"127.0.0.1/", "", false, false},
	} {
		acl := []wire.ACL{{Perms: wire.PermRead, ID: wire.ID{Scheme: "ip", ID: c.acl}}}
		if _, code := fixACL(acl, nil, Rules{}); (code == wire.OK) != c.valid {
			t.Errorf("%q: got %v, want valid %v", c.acl, code, c.valid)
		}
		if _, code := fixACL(acl, nil, Rules{NoIPv6: true}); (code == wire.OK) != (c.valid && !strings.Contains(c.acl, ":")) {
			t.Errorf("%q before 3.9.4: got %v, want valid only if it is IPv4", c.acl, code)
		}
		if code := allowed(acl, wire.PermRead, []wire.ID{{Scheme: "ip", ID: c.addr}}); (code == wire.OK) != c.passes {
			t.Errorf("%q for %q: got %v, want allowed %v", c.acl, c.addr, code, c.passes)
		}
	}
}

type recorder struct{ events []string }

func (r *recorder) Event(e Event) {
	r.events = append(r.events, fmt.Sprintf("%d %s", e.Type, e.Path))
}

func (r *recorder) Auth() []wire.ID { return nil }

// A watcher of both the data and the children of a znode receives one event when
// the znode is deleted.
func TestDeletionIsToldOncePerWatcher(t *testing.T) {
	l := newLeader()
	w := &recorder{}
	l.prepare(wire.OpCreate, 1, create("/a", 0))
	l.applyAll()
	l.Get("/a", Reader{Watcher: w})
	l.Children("/a", Reader{Watcher: w})
	l.Children("/", Reader{Watcher: w})
	l.prepare(wire.OpDelete, 1, &wire.PathVersion{Path: "/a", Version: -1})
	l.applyAll()
	if want := []string{"2 /a", "4 /"}; !slices.Equal(w.events, want) {
		t.Errorf("got events %q, want %q", w.events, want)
	}
	if n := l.Watches.Count(); n != 0 {
		t.Errorf("got %d watches, want none", n)
	}
}

type stranger struct{ recorder }

func (r *stranger) Auth() []wire.ID { return []wire.ID{{Scheme: "ip", ID: "127.0.0.1"}} }

// The owner of a recursive watch receives no event of a znode that the owner is not allowed to
// read. Older releases of ZooKeeper sent such events (CVE-2024-23944).
func TestEventsAreKeptFromWhoMayNotRead(t *testing.T) {
	l := newLeader()
	w := &stranger{}
	l.AddPersistent("/", w, true)
	secret := create("/secret", 0)
	secret.ACL = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "digest", ID: "u:p"}}}
	l.prepare(wire.OpCreate, 1, secret)
	l.prepare(wire.OpCreate, 1, create("/open", 0))
	l.applyAll()
	if want := []string{"1 /open"}; !slices.Equal(w.events, want) {
		t.Errorf("got events %q, want %q", w.events, want)
	}
}

// Regression: children were listed in the order of their creation, so a recipe that forgot to sort
// them passed its tests.
func TestTheSeedOrdersChildren(t *testing.T) {
	list := func(seed uint64) []string {
		l := newLeader()
		l.Tree = New("", Rules{}, seed)
		l.Prep = NewPrep(l.Tree, true)
		l.prepare(wire.OpCreate, 1, create("/q", 0))
		for i := range 12 {
			l.prepare(wire.OpCreate, 1, create(fmt.Sprintf("/q/%02d", i), 0))
		}
		l.prepare(wire.OpDelete, 1, &wire.PathVersion{Path: "/q/05", Version: -1})
		l.applyAll()
		names, _, _ := l.Clone().Children("/q", Reader{Auth: anyone})
		if again, _, _ := l.Children("/q", Reader{Auth: anyone}); !slices.Equal(names, again) {
			t.Errorf("seed %d: got %q from a copy, want %q", seed, names, again)
		}
		return names
	}
	first := map[string]int{}
	for seed := range uint64(300) {
		names := list(seed)
		if slices.IsSorted(names) {
			t.Errorf("seed %d: got %q, want another order than that of creation", seed, names)
		}
		if again := list(seed); !slices.Equal(names, again) {
			t.Errorf("seed %d: got %q and then %q, want the same order", seed, names, again)
		}
		first[names[0]]++
		if slices.Sort(names); len(names) != 11 || names[5] != "06" {
			t.Errorf("seed %d: got children %q, want 00 to 11 without 05", seed, names)
		}
	}
	for name, n := range first { // 27 of 300 on average
		if n > 60 {
			t.Errorf("%s is the first child with %d of 300 seeds, want them about equal", name, n)
		}
	}
	if len(first) != 11 {
		t.Errorf("got %d children that come first with some seed, want 11", len(first))
	}
}
