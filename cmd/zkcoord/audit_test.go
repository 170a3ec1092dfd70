package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

var auditBytes = flag.Int("audit-bytes", 4<<20, "size of the log of TestAuditOfALargeLog")

// writeLog writes a log of about n bytes, in which locks pass from one contender to the next. It
// returns the number of transactions.
func writeLog(t *testing.T, name string, n int) (txns int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	size := &sized{w: out}
	log := txnlog.NewWriter(size)
	zxid, at := int64(1<<32), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	add := func(session int64, op wire.Op, r wire.Record) {
		zxid++
		txns++
		if err := log.Append(wire.TxnHeader{Zxid: zxid, Session: session, Cxid: 1, Time: at, Op: op}, r); err != nil {
			t.Fatal(err)
		}
	}
	const sessions, places = 500, 1000
	for s := range int64(sessions) {
		add(s+1, wire.OpCreateSession, &wire.CreateSessionTxn{Timeout: 10000})
	}
	acl := []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}
	node := func(i int) string {
		return fmt.Sprintf("/app/locks/place-%04d/%032x-lock-%010d", i%places, i, i/places)
	}
	for i := 0; size.n < n; i++ {
		at++
		add(int64(i*7%sessions)+1, wire.OpCreate2, &wire.CreateTxn{Path: node(i), Data: []byte("worker-17.example"), ACL: acl, Ephemeral: true})
		if before := i - places; before >= 0 { // the previous contender of the same lock leaves
			add(int64(before*7%sessions)+1, wire.OpDelete, &wire.Path{Path: node(before)})
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return txns
}

type sized struct {
	w *bufio.Writer
	n int
}

func (s *sized) Write(b []byte) (int, error) {
	s.n += len(b)
	return s.w.Write(b)
}

// An audit of a log of one gigabyte takes less than a minute, and less than 500 MB of memory. This
// command measures both:
//
//	go test ./cmd/zkcoord -run TestAuditOfALargeLog -audit-bytes 1000000000 -v
func TestAuditOfALargeLog(t *testing.T) {
	dir := t.TempDir()
	txns := writeLog(t, filepath.Join(dir, "log.100000001"), *auditBytes)
	var out, errs bytes.Buffer
	begun := time.Now()
	if code := run([]string{"audit", dir, "--limit", "1"}, strings.NewReader(""), &out, &errs); code != exitValid || errs.Len() > 0 {
		t.Fatalf("got code %d, %s; want %d", code, errs.String(), exitValid)
	}
	t.Logf("%d bytes, %d transactions: %v, %s", *auditBytes, txns, time.Since(begun), peak())
	if want := fmt.Sprintf("1 server, %d transactions from 2026-01-01 00:00:00.000 to ", txns); !strings.HasPrefix(out.String(), want) {
		t.Errorf("got %.200s, want it to begin with %q", out.String(), want)
	}
	if got := strings.Count(out.String(), "/app/locks/place-"); got != 1000 {
		t.Errorf("got %d locks, want 1000", got)
	}
}

// peak returns the largest size of this process in memory, if the system reports it.
func peak() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	size, _, _ := strings.Cut(rest, "\n")
	return "peak " + strings.Join(strings.Fields(size), " ")
}
