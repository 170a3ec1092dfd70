package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// txn makes a transaction with one change, at the time start + at. If a client's request causes a
// transaction, the transaction has the number of the request, its cxid. The transactions of txn
// have no cxid. So if one of them closes a session, no client closed the session: it expired.
func txn(zxid, session int64, start time.Time, at time.Duration, op wire.Op, path string) txnlog.Txn {
	t := txnlog.Txn{TxnHeader: wire.TxnHeader{Zxid: zxid, Session: session, Time: start.Add(at).UnixMilli(), Op: op}}
	change := op
	if op == wire.OpCloseSession {
		change = wire.OpDelete
	}
	t.Changes = []txnlog.Change{{Op: change, Path: path, Ephemeral: true}}
	return t
}

// In this test, the session of the first client expires at 5 s according to the servers' log. The
// history does not show that the client's hold ended.
func TestHeldIsWhatTheLogsSay(t *testing.T) {
	h, err := history.ParseText(strings.NewReader(`
1ms c0 session new session=0xa
1ms c1 session new session=0xb
12ms c0 hold begin /l token=0x1 session=0xa
5001ms c1 hold begin /l token=0x2 session=0xb
7000ms - phase end
`))
	if err != nil {
		t.Fatal(err)
	}
	h.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(zxid, session int64, ms int, op wire.Op, path string) txnlog.Txn {
		return txn(zxid, session, h.Start, time.Duration(ms)*time.Millisecond, op, path)
	}
	log := witness.Merge(witness.Server{Name: "n0", Txns: []txnlog.Txn{
		at(1, 0xa, 10, wire.OpCreate, "/l/a-lock-0000000000"),
		at(2, 0xb, 20, wire.OpCreate, "/l/b-lock-0000000001"),
		at(3, 0xa, 5000, wire.OpCloseSession, "/l/a-lock-0000000000"),
		at(4, 0xb, 6000, wire.OpDelete, "/l/b-lock-0000000001"),
		at(5, 0xc, 6500, wire.OpCreate, "/l/c-lock-0000000002"),
		at(6, 0xc, 6600, wire.OpCreate, "/m/c-lock-0000000000"),
	}})
	got := fmt.Sprint(heldBy(log, h))
	if want := fmt.Sprint([]held{
		{From: 10 * time.Millisecond, To: 5 * time.Second, Client: 0, Session: 0xa, Object: "/l", Token: 1, End: "expired"},
		{From: 5 * time.Second, To: 6 * time.Second, Client: 1, Session: 0xb, Object: "/l", Token: 2, End: "released"},
		{From: 6500 * time.Millisecond, To: 7 * time.Second, Client: history.Nobody, Session: 0xc, Object: "/l", Token: 5},
	}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if none := heldBy(nil, h); none != nil {
		t.Errorf("without logs: got %v, want nil", none)
	}
}
