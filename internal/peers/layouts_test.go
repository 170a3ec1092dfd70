//go:build linux

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/waits"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Regression: the audit showed four kinds of znodes without their meaning: members of kazoo's Party
// and of Curator's GroupMember, permits of kazoo's Semaphore, and claims of kazoo's queue.
func TestAuditRecognizesTheLibraries(t *testing.T) {
	needs.Installed(t, errors.Join(Curator.Installed(), Kazoo.Installed()))
	e := zktest.Start(t, zktest.Options{TCP: true})
	var want []string
	use := func(l Library, r client.Recipe, kind waits.Kind, how audit.End, subject bool, done func(), requests ...client.Request) {
		t.Helper()
		path := fmt.Sprintf("/%s/%s", l, r)
		p, err := l.Client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := client.Setup{Servers: e.Servers(), Timeout: 10 * time.Second, Path: path, Recipe: r, Permits: 2}
		c, err := client.Start(t.Context(), p, s, client.Options{Dial: (&net.Dialer{}).DialContext, HelloTime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, r := range requests {
			if _, err := c.Do(t.Context(), r); err != nil {
				t.Fatalf("%s at %s: %v", r.Op, path, err)
			}
		}
		done()
		want = append(want, fmt.Sprintf("%s %s %s %v", path, kind, how, subject))
	}
	do := func(op string) client.Request { return client.Request{Op: op, Value: "me"} }
	nothing := func() {}
	use(Curator, client.Semaphore, waits.Semaphore, audit.Released, false, nothing, do(client.OpAcquirePermit), do(client.OpRelease))
	use(Kazoo, client.Semaphore, waits.Semaphore, audit.Released, false, nothing, do(client.OpAcquirePermit), do(client.OpRelease))
	use(Kazoo, client.Claims, waits.Queue, audit.Acked, true, nothing, do(client.OpPut), do(client.OpClaim), do(client.OpAck))
	// The path of a znode of kazoo's Party does not contain the member's name, so the span has no
	// subject.
	use(Kazoo, client.Group, waits.Group, audit.Closed, false, nothing, do(client.OpJoin))
	// Curator's GroupMember returns before it has joined, so the test waits for its znode.
	use(Curator, client.Group, waits.Group, audit.Closed, true, func() { awaitNode(t, e, "/curator/group/me") }, do(client.OpJoin))
	got := make(map[string]bool)
	for _, s := range auditOf(t, e) {
		got[fmt.Sprintf("%s %s %s %v", s.Place, s.Kind, s.End, s.Subject() != "")] = true
		if s.Kind == audit.Node {
			t.Errorf("the audit does not recognize %s, want a span with a meaning", s.Path)
		}
	}
	for _, one := range want {
		if !got[one] {
			t.Errorf("got no span %q", one)
		}
	}
	if t.Failed() {
		for one := range got {
			t.Logf("got %q", one)
		}
	}
}

func awaitNode(t *testing.T, e *zktest.Ensemble, path string) {
	t.Helper()
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers(), Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err = session.ErrNoNode; errors.Is(err, session.ErrNoNode); {
		_, err = s.Get(ctx, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// auditOf returns the spans that the ensemble's log shows.
func auditOf(t *testing.T, e *zktest.Ensemble) (all []audit.Span) {
	t.Helper()
	var servers []txnlog.Server
	for i := range e.Servers() {
		var log bytes.Buffer
		if err := e.WriteLog(i, &log); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, txnlog.Server{Name: fmt.Sprint(i), Txns: func(yield func(txnlog.Txn, error) bool) { // Merge reads the log twice
			txnlog.Read(bytes.NewReader(log.Bytes()))(yield)
		}})
	}
	for s, err := range audit.Spans(audit.Start{}, "/", txnlog.Merge(0, servers...).All()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if !slices.ContainsFunc(all, func(s audit.Span) bool { return s.End == audit.Closed }) {
		t.Fatalf("got %d spans, and none that a client closed", len(all))
	}
	return all
}
