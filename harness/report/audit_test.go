package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/browser"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// auditOf returns the audit of locks that one session holds while another session waits. At the
// first lock, the session of the holder expires after 3 s. The holder believes for 2 s more that it
// holds the lock.
func auditOf(t *testing.T, locks int, label string) Audit {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var txns []txnlog.Txn
	add := func(s int, session int64, op wire.Op, path string) {
		one := txn(int64(len(txns)+1), session, start, time.Duration(s)*time.Second, op, path)
		one.Cxid = 1
		if op == wire.OpCloseSession {
			one.Cxid = 0
		}
		for i := range one.Changes {
			one.Changes[i].Data = []byte(label)
		}
		txns = append(txns, one)
	}
	path := func(lock, n int) string { return fmt.Sprintf("/locks/%03d/c-lock-%010d", lock, n) }
	for i := range locks {
		add(0, 1, wire.OpCreate, path(i, 0))
		add(1, 2, wire.OpCreate, path(i, 1))
	}
	add(3, 1, wire.OpCloseSession, path(0, 0))
	add(9, 2, wire.OpDelete, path(0, 1))
	a := Audit{Path: "/locks", Servers: 3, Txns: len(txns), From: start, To: at(9), Summary: new(audit.Summary), Notes: []string{label}}
	var spans []audit.Span
	for s, err := range audit.Spans(audit.Start{}, a.Path, func(yield func(txnlog.Txn, error) bool) {
		for _, t := range txns {
			if !yield(t, nil) {
				return
			}
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, s)
		a.Summary.Add(s, a.To)
	}
	a.Claims = []audit.Claim{{Source: "a.log", Line: 7, Path: path(0, 0), Token: 1, Session: 1, Client: "web-1" + label, From: at(0), To: at(5), Ended: true}}
	a.Conflicts = audit.Compare(a.Claims, spans, 0, a.From, a.To)
	if len(a.Conflicts) != 1 || len(a.Conflicts[0].Others) != 1 {
		t.Fatalf("got %+v, want a conflict of two holders", a.Conflicts)
	}
	return a
}

func openAudit(ctx context.Context, t *testing.T, a Audit) *browser.Page {
	t.Helper()
	b := startBrowser(t)
	path := filepath.Join(t.TempDir(), "audit.html")
	var page bytes.Buffer
	if err := WriteAudit(&page, a); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(ctx, "file://"+path, browser.View{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Await(ctx, "document.documentElement.dataset.drawn"); err != nil {
		t.Fatalf("draw the page: %v; the console reports %q", err, p.Problems())
	}
	return p
}

func TestAuditPageShowsTwoHolders(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := openAudit(ctx, t, auditOf(t, 3, ""))
	screenshot(ctx, t, p, "audit-light", true)
	story := eval[string](ctx, t, p, "document.getElementById('story').innerText")
	for _, want := range []string{"line 7 of a.log says that web-1, session 0x1 held it", "2s too long", "TWO HOLDERS for 2s: session 0x1 and session 0x2"} {
		if !strings.Contains(story, want) {
			t.Errorf("got story %q, want it to contain %q", story, want)
		}
	}
	if got, want := eval[string](ctx, t, p, "document.getElementById('range').textContent"), "03:04:05.000 to 03:04:14.000 UTC"; got != want {
		t.Errorf("the timeline shows %q, want %q", got, want)
	}
	// The function `tip` returns what the timeline shows at a point. The parameter `seconds` is the
	// time of the point since the start. The parameter `below` is its distance in pixels from the
	// top of the timeline.
	tip := func(seconds float64, below int) string {
		t.Helper()
		return eval[string](ctx, t, p, fmt.Sprintf(`(() => {
			const lanes = document.getElementById("lanes"), box = lanes.getBoundingClientRect(), gutter = Math.min(230, box.width * .3);
			const e = new MouseEvent("click", { clientX: box.left + gutter + %v / 9 * (box.width - gutter), clientY: box.top + %d });
			lanes.dispatchEvent(e);
			return document.getElementById("tip").hidden ? "" : document.getElementById("tip").innerText;
		})()`, seconds, below))
	}
	for _, c := range []struct {
		seconds float64
		below   int
		want    string
	}{
		{1, 42, "by the servers' log, session 0x1 held /locks/000"},
		{6, 42, "by the servers' log, session 0x2 held /locks/000"},
		{4, 64, "by its own log, web-1, session 0x1 held /locks/000"},
		{6, 64, ""},
		{8, 88, "session 0x1 held /locks/001"},
	} {
		if got := tip(c.seconds, c.below); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("at %v s, %d pixels below the top: got %q, want %q", c.seconds, c.below, got, c.want)
		}
	}
	if err := p.Eval(ctx, "document.getElementById('show').click()", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Await(ctx, "zkcoord.timeline.view.to - zkcoord.timeline.view.from < 8e6"); err != nil {
		t.Errorf("after a click on the link to the conflict: got error %v, want a view of less "+
			"than 8 s", err)
	}
	if err := p.Look(ctx, browser.View{Width: 375, Height: 812, Phone: true, Dark: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.Await(ctx, "document.documentElement.scrollWidth <= 375 && document.documentElement.dataset.theme === 'dark'"); err != nil {
		t.Errorf("on a phone in the dark: got error %v, want a dark page of at most 375 pixels",
			err)
	}
	screenshot(ctx, t, p, "audit-phone", true)
	clean(t, p)
}

func TestTextOfAnAuditIsNeverMarkup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := auditOf(t, 200, `</script><img src=x onerror="document.title='caught'"><!-- `)
	p := openAudit(ctx, t, a)
	if n := eval[int](ctx, t, p, "document.images.length"); n != 0 {
		t.Errorf("got %d images, want none", n)
	}
	if title := eval[string](ctx, t, p, "document.title"); title == "caught" {
		t.Errorf("got title %q, want another one: text of the logs was executed as a script", title)
	}
	// The timeline has the lock with the conflict, and as many other locks as fit. The list of
	// paths has all locks.
	if n, all := eval[int](ctx, t, p, "document.querySelectorAll('#places details').length"), a.Summary.Places(); n != len(all) {
		t.Errorf("got %d paths, want %d", n, len(all))
	}
	picture := newAuditPicture(a, a.Summary.Places())
	if got := picture.Lanes[0].Name; got != "/locks/000" || picture.Left != 200-mostLanes || len(picture.Lanes) != mostLanes+1 {
		t.Errorf("got %d lanes, the first of %s, and %d left out; want %d of which one is of clients, /locks/000 and %d", len(picture.Lanes), got, picture.Left, mostLanes+1, 200-mostLanes)
	}
	clean(t, p)
}

func TestAuditOfNothingHasAPageToo(t *testing.T) {
	var page bytes.Buffer
	const want = "Nothing was held here"
	if err := WriteAudit(&page, Audit{Path: "/", Summary: new(audit.Summary)}); err != nil || !strings.Contains(page.String(), want) {
		t.Errorf("got a page of %d bytes, error %v; want one that contains %q",
			page.Len(), err, want)
	}
}
