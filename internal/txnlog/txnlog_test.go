package txnlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"reflect"
	"testing"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// written has one transaction of each kind, with the expected result of Read.
var written = []struct {
	op      wire.Op
	record  wire.Record
	changes []Change
	timeout int32
	err     wire.Code
	rest    bool // the value of Unlisted
}{
	{op: wire.OpCreateSession, record: &wire.CreateSessionTxn{Timeout: 4000}, timeout: 4000},
	{
		op: wire.OpCreate, record: &wire.CreateTxn{Path: "/a", Data: []byte("x"), ACL: []wire.ACL{{Perms: wire.PermAll}}},
		changes: []Change{{Op: wire.OpCreate, Path: "/a", Data: []byte("x")}},
	},
	{
		op: wire.OpCreate2, record: &wire.CreateTxn{Path: "/a/e", Ephemeral: true, Parent: 1},
		changes: []Change{{Op: wire.OpCreate, Path: "/a/e", Ephemeral: true}},
	},
	{
		op: wire.OpCreateContainer, record: &wire.CreateContainerTxn{Path: "/c"},
		changes: []Change{{Op: wire.OpCreate, Path: "/c", Container: true}},
	},
	{
		op: wire.OpCreateTTL, record: &wire.CreateTTLTxn{CreateContainerTxn: wire.CreateContainerTxn{Path: "/t"}, TTL: 10},
		changes: []Change{{Op: wire.OpCreate, Path: "/t"}},
	},
	{
		op: wire.OpSetData, record: &wire.SetDataRequest{Path: "/a", Data: []byte("y"), Version: 1},
		changes: []Change{{Op: wire.OpSetData, Path: "/a", Data: []byte("y")}},
	},
	{
		op: wire.OpSetACL, record: &wire.SetACLRequest{Path: "/a", Version: 1},
		changes: []Change{{Op: wire.OpSetACL, Path: "/a"}},
	},
	{op: wire.OpDelete, record: &wire.Path{Path: "/t"}, changes: []Change{{Op: wire.OpDelete, Path: "/t"}}},
	{op: wire.OpDeleteContainer, record: &wire.Path{Path: "/c"}, changes: []Change{{Op: wire.OpDelete, Path: "/c"}}},
	{op: wire.OpError, record: &wire.ErrorTxn{Code: wire.NoNode}, err: wire.NoNode},
	{
		op: wire.OpMulti, record: &wire.MultiTxn{Parts: []wire.TxnPart{
			{Op: wire.OpCheck, Body: wire.Append(nil, &wire.PathVersion{Path: "/a", Version: 1})},
			{Op: wire.OpDelete, Body: wire.Append(nil, &wire.Path{Path: "/a/e"})},
		}},
		changes: []Change{{Op: wire.OpDelete, Path: "/a/e"}},
	},
	{
		op: wire.OpMulti, record: &wire.MultiTxn{Parts: []wire.TxnPart{
			{Op: wire.OpError, Body: wire.Append(nil, &wire.ErrorTxn{Code: wire.BadVersion})},
			{Op: wire.OpError, Body: wire.Append(nil, &wire.ErrorTxn{Code: wire.RuntimeInconsistency})},
		}},
		err: wire.BadVersion,
	},
	{ // a multi whose second part was refused, in the form that the leader writes
		op: wire.OpMulti, record: &wire.MultiTxn{Parts: []wire.TxnPart{
			{Op: wire.OpDelete, Body: wire.Append(nil, &wire.Path{Path: "/a/e"})},
			{Op: wire.OpError, Body: wire.Append(nil, &wire.ErrorTxn{Code: wire.NoNode})},
		}},
		err: wire.NoNode,
	},
	{ // the same, in the form of a server that received it later
		op: wire.OpMulti, record: &wire.MultiTxn{Parts: []wire.TxnPart{
			{Op: wire.OpError, Body: wire.Append(nil, &wire.Path{Path: "/a/e"})},
			{Op: wire.OpError, Body: wire.Append(nil, &wire.ErrorTxn{Code: wire.NoNode})},
		}},
		err: wire.NoNode,
	},
	{
		op: wire.OpCloseSession, record: &wire.CloseSessionTxn{Paths: []string{"/a/e"}},
		changes: []Change{{Op: wire.OpDelete, Path: "/a/e"}},
	},
	{op: wire.OpCloseSession, rest: true},
}

// The function `write` writes all transactions of `written`. It returns the log, and the length of
// the log after each transaction.
func write(t testing.TB) (log []byte, ends []int) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for i, one := range written {
		h := wire.TxnHeader{Session: 7, Cxid: int32(i), Zxid: int64(i + 1), Time: 1000, Op: one.op}
		if err := w.Append(h, one.record); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, b.Len())
	}
	return b.Bytes(), ends
}

func read(log []byte) (txns []Txn, err error) {
	for t, err := range Read(bytes.NewReader(log)) {
		if err != nil {
			return txns, err
		}
		txns = append(txns, t)
	}
	return txns, nil
}

func TestLogRoundTrip(t *testing.T) {
	log, _ := write(t)
	for name, tail := range map[string][]byte{"end of file": nil, "reserved space": make([]byte, 1000), "little space": make([]byte, 5)} {
		txns, err := read(append(bytes.Clone(log), tail...))
		if err != nil || len(txns) != len(written) {
			t.Fatalf("%s: got %d transactions, %v; want %d, no error", name, len(txns), err, len(written))
		}
		for i, one := range written {
			want := Txn{
				TxnHeader: wire.TxnHeader{Session: 7, Cxid: int32(i), Zxid: int64(i + 1), Time: 1000, Op: one.op},
				Timeout:   one.timeout, Err: one.err, Changes: one.changes, Unlisted: one.rest,
			}
			if !reflect.DeepEqual(txns[i], want) {
				t.Errorf("transaction %d: got %+v, want %+v", i+1, txns[i], want)
			}
		}
	}
}

// A server can be killed after any byte of a write. Read returns the complete transactions of the
// log that remains, and ErrTorn if a part of another transaction follows them.
func TestTornLogGivesItsWholeTransactions(t *testing.T) {
	log, ends := write(t)
	for n := range log {
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		txns, err := read(log[:n])
		begun := 16
		if whole > 0 {
			begun = ends[whole-1]
		}
		// Reserved space consists of zeros. The first 4 bytes of an entry are zeros too. So if a
		// log ends within these 4 bytes, Read does not return ErrTorn.
		atEnd := n == 0 || n >= begun && n <= begun+4
		if len(txns) != whole || atEnd != (err == nil) || err != nil && !errors.Is(err, ErrTorn) {
			t.Fatalf("%d bytes: got %d transactions, %v; want %d, at an end: %v", n, len(txns), err, whole, atEnd)
		}
	}
}

func TestDamagedEntryIsTorn(t *testing.T) {
	log, ends := write(t)
	log[ends[2]+20] ^= 1
	if txns, err := read(log); len(txns) != 3 || !errors.Is(err, ErrTorn) {
		t.Errorf("got %d transactions, %v; want 3, %v", len(txns), err, ErrTorn)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	for _, text := range []string{"ZKSN\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00", "ZKLG\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00", "a text, not a log"} {
		if txns, err := read([]byte(text)); err == nil || errors.Is(err, ErrTorn) || len(txns) > 0 {
			t.Errorf("%q: got %d transactions, %v; want an error that is not %v", text, len(txns), err, ErrTorn)
		}
	}
}

// A transaction that closes a session can lack its record, but it still has a digest of the tree.
// Read does not mistake the digest for the record.
func TestDigestIsNotTakenForARecord(t *testing.T) {
	digest := []byte{0, 0, 0, 2, 0x9a, 0x11, 0x7c, 0x02, 0x33, 0x44, 0x55, 0x66}
	var b bytes.Buffer
	w := NewWriter(&b)
	for i, r := range []wire.Record{raw(digest), raw(append(wire.Append(nil, &wire.CloseSessionTxn{Paths: []string{"/eph"}}), digest...))} {
		if err := w.Append(wire.TxnHeader{Zxid: int64(i + 1), Op: wire.OpCloseSession}, r); err != nil {
			t.Fatal(err)
		}
	}
	txns, err := read(b.Bytes())
	if err != nil || len(txns) != 2 {
		t.Fatalf("got %d transactions, error %v; want 2 and no error", len(txns), err)
	}
	if !txns[0].Unlisted || txns[1].Unlisted || len(txns[1].Changes) != 1 {
		t.Errorf("got %+v; want the first one unlisted, and one deletion in the second", txns)
	}
}

// raw is a record in its encoded form. Its length is a multiple of 4.
type raw []byte

func (r raw) Fields(f *wire.Fields) {
	for i := 0; i < len(r); i += 4 {
		v := int32(binary.BigEndian.Uint32(r[i:]))
		f.Int32(&v)
	}
}

func FuzzRead(f *testing.F) {
	log, ends := write(f)
	f.Add(log)
	f.Add(log[:ends[3]+7])
	f.Fuzz(func(t *testing.T, log []byte) {
		n := 0
		for txn, err := range Read(bytes.NewReader(log)) {
			if n++; err == nil && len(txn.Changes) > len(log) {
				t.Errorf("got %d changes in a log of %d bytes, want at most one for each byte", len(txn.Changes), len(log))
			}
		}
		if n > len(log) {
			t.Errorf("got %d transactions in a log of %d bytes, want at most one for each byte", n, len(log))
		}
	})
}

// FuzzTxn fuzzes the contents of an entry with the right checksum.
func FuzzTxn(f *testing.F) {
	log, ends := write(f)
	// Number of bytes of an entry before its body (checksum and length) and after it (the end).
	const before, behind = 12, 1
	begin := 16
	for _, end := range ends {
		f.Add(log[begin+before : end-behind])
		begin = end
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return
		}
		log := append([]byte(magic), 0, 0, 0, version, 0, 0, 0, 0, 0, 0, 0, 0)
		log = binary.BigEndian.AppendUint64(log, uint64(adler32.Checksum(body)))
		log = binary.BigEndian.AppendUint32(log, uint32(len(body)))
		log = append(append(log, body...), endOfOne)
		txns, err := read(log)
		if errors.Is(err, ErrTorn) {
			t.Errorf("got %v for a whole entry, want any error but %v", err, ErrTorn)
		}
		for _, txn := range txns {
			if len(txn.Changes) > len(body) {
				t.Errorf("got %d changes from %d bytes, want at most one a byte", len(txn.Changes), len(body))
			}
		}
	})
}
