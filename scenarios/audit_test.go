package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/txnlog"
)

// The function `audited` compares the holds in the clients' log of a run with the servers' logs,
// like the command "zkcoord audit". It returns the conflicts and the number of holds.
func audited(t *testing.T, dir string) (conflicts []audit.Conflict, holds int) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "clients.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	claims, err := audit.ReadClaims(f.Name(), f)
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(dir, "n*"))
	if err != nil {
		t.Fatal(err)
	}
	var servers []txnlog.Server
	for _, name := range dirs {
		s, err := txnlog.Open(name, os.DirFS(name))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	var spans []audit.Span
	for s, err := range audit.Spans(audit.Start{}, "/", txnlog.Merge(0, servers...).All()) {
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, s)
	}
	if len(claims) == 0 || len(spans) == 0 {
		t.Fatalf("got %d holds and %d spans, want some", len(claims), len(spans))
	}
	var first, last time.Time
	for t, err := range txnlog.Merge(0, servers...).All() {
		if last = time.UnixMilli(t.Time); err == nil && first.IsZero() {
			first = last
		}
	}
	return audit.Compare(claims, spans, 100*time.Millisecond, first, last), len(claims)
}

// noConflict fails the test if the audit of a run finds a conflict.
func noConflict(t *testing.T, dir string) {
	t.Helper()
	conflicts, holds := audited(t, dir)
	for _, c := range conflicts {
		t.Errorf("the claim of %s at %s from %v to %v: got %s from %v to %v, want no conflict", c.Claim.Client, c.Claim.Path, c.Claim.From, c.Claim.To, c.Why, c.From, c.To)
	}
	t.Logf("%d holds audited", holds)
}

// In this test the clients use go-zookeeper's zk.Lock, which trusts its connection. So two clients
// hold the lock at the same time for seconds. The audit names both clients.
func TestAuditNamesTwoHolders(t *testing.T) {
	s := IsolatedFollower()
	s = s.Mutate(s.Mutants[slices.IndexFunc(s.Mutants, func(m harness.Mutant) bool { return m.Name == "zk-lock" })])
	dir := t.TempDir()
	if *kind == "process" {
		o := options(t, s.Time)
		o.TxnLogs, o.Store = dir, nil
		if _, err := harness.Run(t.Context(), s, o); err != nil {
			t.Fatal(err)
		}
	} else {
		o := VirtualOptions(s, *seed)
		o.TxnLogs = dir
		virtually(t, s, o)
	}
	conflicts, _ := audited(t, dir)
	for _, c := range conflicts {
		for _, o := range c.Others {
			t.Logf("session 0x%x held %v too long, %s; session 0x%x held at the same time for %v (its own log says so: %v)",
				c.Span.Session, c.To.Sub(c.From), c.Span.End, o.Span.Session, o.To.Sub(o.From), o.Claims)
			if c.Why == audit.Outlived && c.Span.End == audit.Expired && c.To.Sub(c.From) > time.Second && o.Claims && o.Span.Session != c.Span.Session {
				return
			}
		}
	}
	t.Errorf("got %d conflicts, those above; want one of more than 1 s, between an expired "+
		"holder and another one whose log says so", len(conflicts))
}

// In these runs, sessions expire and servers fail, but each client ends its hold in time. The audit
// finds no conflict.
func TestAuditRaisesNoFalseAlarm(t *testing.T) {
	for _, s := range []harness.Scenario{LockFaults(), RWLock(), Semaphore(), Election(), IsolatedFollower(), IsolatedLeader()} {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			o := VirtualOptions(s, *seed)
			o.TxnLogs = t.TempDir()
			if r := virtually(t, s, o); !r.Verdict.Passed() {
				t.Fatal(r.Summary())
			}
			noConflict(t, o.TxnLogs)
		})
	}
}
