package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/browser"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// The tests below open the pages in a real browser. If no browser is installed, they are skipped,
// or fail if CI is set. If ZKCOORD_SCREENSHOTS is set, it names the directory in which they store
// screenshots.

func startBrowser(t *testing.T) *browser.Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: a browser takes seconds to start")
	}
	b, err := browser.Start()
	if errors.Is(err, browser.ErrNone) {
		needs.Installed(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the browser: got error %v, want none", err)
		}
	})
	return b
}

func openPage(ctx context.Context, t *testing.T, b *browser.Browser, r *harness.Result, v browser.View) *browser.Page {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	var page bytes.Buffer
	if err := WriteHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(ctx, "file://"+path, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Await(ctx, "document.documentElement.dataset.drawn"); err != nil {
		t.Fatalf("draw the page of %s: %v; the console reports %q", r.Scenario, err, p.Problems())
	}
	return p
}

func eval[T any](ctx context.Context, t *testing.T, p *browser.Page, expression string) (v T) {
	t.Helper()
	if err := p.Eval(ctx, expression, &v); err != nil {
		t.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

func screenshot(ctx context.Context, t *testing.T, p *browser.Page, name string, whole bool) {
	t.Helper()
	dir := os.Getenv("ZKCOORD_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := p.Screenshot(ctx, whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func clean(t *testing.T, p *browser.Page) {
	t.Helper()
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("the console reports %q, want nothing", problems)
	}
	if requests := p.Requests(); len(requests) != 1 || !strings.HasPrefix(requests[0], "file://") {
		t.Errorf("requests of the page: got %q, want only its own file", requests)
	}
}

// sampleResult returns the result of a run in which four clients acquire a lock for the given
// number of rounds. If `broken` is set, client 0 keeps the lock after it has lost its session.
func sampleResult(rounds int, broken bool) *harness.Result {
	const root = "/zkcoord-sample-7-1/lock"
	var events []history.Event
	at := 20 * time.Millisecond
	add := func(e history.Event) {
		e.Time, e.Process = at, int32(e.Client)
		events = append(events, e)
		at += 100 * time.Microsecond
	}
	nobody := func(e history.Event) { e.Client = history.Nobody; add(e) }
	nobody(history.Event{Kind: history.Phase, Op: history.PhaseWork})
	for node, role := range []string{"follower", "leader", "follower"} {
		nobody(history.Event{Kind: history.Fact, Op: history.FactRole, Node: fmt.Sprintf("n%d", node), Result: role})
	}
	for c := range int16(4) {
		add(history.Event{Kind: history.Session, Op: history.SessionNew, Client: c, Session: int64(c) + 1})
	}
	step := func(i int) time.Duration { return time.Duration(2+i*i%7) * time.Millisecond }
	for i := range rounds {
		if broken && i == rounds/2+60 {
			add(history.Event{Kind: history.Session, Op: history.SessionLost, Client: 0, Session: 1, Error: "the session has expired"})
			add(history.Event{Kind: history.Hold, Op: history.HoldLost, Object: root, Client: 0, Token: int64(rounds/2 + 1), Error: "the session has expired"})
		}
		c := int16(i % 4)
		token := int64(i + 1)
		if broken && c == 0 && i > rounds/2 {
			continue
		}
		add(history.Event{Kind: history.Invoke, Op: checker.OpAcquire, Object: root, Client: c, Session: int64(c) + 1})
		at += step(i)
		outcome := history.OK
		if i%97 == 50 {
			outcome = history.Fail
		}
		add(history.Event{Kind: outcome, Op: checker.OpAcquire, Object: root, Client: c, Token: token})
		if outcome == history.Fail {
			continue
		}
		if i == rounds/2-1 {
			nobody(history.Event{Kind: history.Fault, Op: history.FaultStart, Object: "isolate-follower", Node: "node 0", Step: 1})
			nobody(history.Event{Kind: history.Fact, Op: history.FactRole, Node: "n0", Result: "looking"})
		}
		add(history.Event{Kind: history.Hold, Op: history.HoldBegin, Object: root, Client: c, Token: token, Session: int64(c) + 1})
		if broken && c == 0 && i == rounds/2 {
			continue // it keeps the lock
		}
		add(history.Event{Kind: history.Write, Op: history.WriteAccepted, Object: "account", Arg: "write", Result: fmt.Sprint(i), Client: c, Token: token})
		at += step(i + 3)
		add(history.Event{Kind: history.Hold, Op: history.HoldEnd, Object: root, Client: c, Token: token})
		add(history.Event{Kind: history.Invoke, Op: checker.OpRelease, Object: root, Client: c, Token: token})
		at += step(i) / 2
		add(history.Event{Kind: history.OK, Op: checker.OpRelease, Object: root, Client: c, Token: token})
	}
	nobody(history.Event{Kind: history.Fault, Op: history.FaultStop, Object: "isolate-follower", Node: "node 0", Step: 1, Result: "312 packets dropped"})
	nobody(history.Event{Kind: history.Phase, Op: history.PhaseHealed})
	at += 50 * time.Millisecond
	nobody(history.Event{Kind: history.Phase, Op: history.PhaseEnd})
	h := history.New(events...)
	checkers := []checker.Checker{checker.LockTokensRise(),
		checker.LockNoOverlap(checker.Envelope{}),
		checker.LockNoReleaseAfterLoss(),
		checker.FaultsHadEffect()}
	r := &harness.Result{
		Scenario: "lock-sample", Claim: "However sessions are lost, one client at a time holds the lock.", Seed: 7, Ensemble: "embedded",
		Nodes: 3, Clients: 4, Time: 20 * time.Second, Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), History: h, Checked: true,
		Command: "zkcoord run lock-sample --ensemble embedded --time 20s --seed 7",
		Plan:    harness.Plan{{Fault: "isolate-follower", At: time.Second, For: 2 * time.Second, Target: "node 0"}},
	}
	h.Start = r.Start
	r.TxnLog = committed(h)
	r.Results = checker.Run(context.Background(), h, checkers...)
	r.Verdict = checker.Overall(r.Results)
	return r
}

// The function `committed` returns the servers' log for a history. If a hold has not ended when the
// next hold begins, the log shows that the session of the earlier hold expired at that moment.
func committed(h *history.History) *witness.Log {
	var txns []txnlog.Txn
	add := func(session int64, at time.Duration, op wire.Op, token int64) {
		txns = append(txns, txn(int64(len(txns)+1), session, h.Start, at, op, fmt.Sprintf("/zkcoord-sample-7-1/lock/c-lock-%010d", token)))
	}
	holds := h.Holds()
	for i, hold := range holds {
		b := hold.Begin
		add(b.Session, b.Time, wire.OpCreate, b.Token)
		if i+1 < len(holds) && (hold.End == nil || hold.End.Time > holds[i+1].Begin.Time) {
			add(b.Session, holds[i+1].Begin.Time, wire.OpCloseSession, b.Token)
		} else if hold.End != nil {
			add(b.Session, hold.End.Time, wire.OpDelete, b.Token)
		}
	}
	return witness.Merge(witness.Server{Name: "n0", Txns: txns})
}

func TestPageIsUnderstoodInLightAndDarkAndOnAPhone(t *testing.T) {
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for name, r := range map[string]*harness.Result{"invalid": sampleResult(400, true), "valid": sampleResult(400, false)} {
		p := openPage(ctx, t, b, r, browser.View{})
		paper := eval[string](ctx, t, p, "getComputedStyle(document.body).backgroundColor")
		screenshot(ctx, t, p, name+"-light", true)
		if err := p.Look(ctx, browser.View{Dark: true}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := p.Await(ctx, "document.documentElement.dataset.theme === 'dark'"); err != nil {
			t.Fatalf("%s: got error %v, want a dark page", name, err)
		}
		if dark := eval[string](ctx, t, p, "getComputedStyle(document.body).backgroundColor"); dark == paper {
			t.Errorf("%s: got the background %s in both colour schemes, want different ones",
				name, dark)
		}
		screenshot(ctx, t, p, name+"-dark", true)
		if err := p.Look(ctx, browser.View{Width: 375, Height: 812, Phone: true}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// Charts adapt to the width one frame later.
		if err := p.Await(ctx, "document.documentElement.scrollWidth <= 375"); err != nil {
			t.Fatalf("%s: on a phone: got error %v, want a page of at most 375 pixels", name, err)
		}
		screenshot(ctx, t, p, name+"-phone", true)
		if hidden := eval[int](ctx, t, p, "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"); hidden != 0 {
			t.Errorf("%s: got %d tables that are cut off on a phone, want none", name, hidden)
		}
		if below := eval[bool](ctx, t, p, "document.querySelector('#story .words').getBoundingClientRect().bottom + scrollY > innerHeight"); below {
			t.Errorf("%s: got a story that ends below a phone's first screen, want it to fit", name)
		}
		if err := p.Look(ctx, browser.View{Width: 720, Height: 1018, Print: true}); err != nil { // A4 with margins
			t.Fatalf("%s: %v", name, err)
		}
		if err := p.Await(ctx, "document.documentElement.scrollWidth <= 720"); err != nil {
			t.Fatalf("%s: in print: got error %v, want a page of at most 720 pixels", name, err)
		}
		screenshot(ctx, t, p, name+"-print", true)
		if shown := eval[int](ctx, t, p, "[...document.querySelectorAll('button, .button')].filter(e => e.offsetParent).length"); shown != 0 {
			t.Errorf("%s: got %d buttons in print, want none", name, shown)
		}
		story := eval[string](ctx, t, p, "document.getElementById('story')?.innerText || ''")
		if invalid := name == "invalid"; invalid != strings.Contains(story, "both held /lock") || invalid != strings.Contains(story, "isolate-follower") {
			t.Errorf("%s: got story %q, want the two holders and the fault only in the invalid run", name, story)
		}
		clean(t, p)
	}
}

func TestViolationIsOneClickAway(t *testing.T) {
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := openPage(ctx, t, b, sampleResult(2000, true), browser.View{})
	if err := p.Eval(ctx, "document.getElementById('show').click()", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Await(ctx, "zkcoord.timeline.view.to - zkcoord.timeline.view.from < 0.5 * "+
		"document.getElementById('range').textContent.match(/of ([0-9.]+)/)[1] * 1e6"); err != nil {
		t.Fatalf("after a click on the link to the violation: got error %v, want a view of less "+
			"than half of the run", err)
	}
	if err := p.Await(ctx, "(r => r.bottom <= innerHeight && r.top > 0)(document.getElementById('lanes').getBoundingClientRect())"); err != nil {
		t.Errorf("after a click on the link to the violation: got error %v, want that the page "+
			"scrolls to the timeline", err)
	}
	screenshot(ctx, t, p, "violation", false)
	clean(t, p)
}

// In this test, client 0 holds the lock from long before the overlap until long after it. The
// picture must mark only the overlap as the violation. It must also contain, for the hold of client
// 0, the time at which another client was granted the lock.
func TestViolationIsMarkedWhereItWas(t *testing.T) {
	r := sampleResult(400, true)
	m3, _ := r.Of("lock/no-overlap")
	if m3.Verdict != checker.Invalid {
		t.Fatalf("got %+v, want it invalid", m3)
	}
	p := newPicture(r)
	at := slices.IndexFunc(p.Violations, func(v violation) bool { return v.ID == "lock/no-overlap" })
	if at < 0 {
		t.Fatalf("got violations %+v, want one of lock/no-overlap", p.Violations)
	}
	v := p.Violations[at]
	second, released := int64(-1), int64(-1)
	for _, e := range m3.Events {
		switch {
		case e.Op == history.HoldBegin:
			second = micro(e.Time) // the last begin counts, because the proof is ordered by time
		case e.Op == history.HoldEnd:
			released = micro(e.Time)
		}
	}
	if v.From != second || v.To != released {
		t.Errorf("the mark spans %d to %d, want %d to %d", v.From, v.To, second, released)
	}
	if v.ProofFrom >= v.From || v.ProofTo <= v.To {
		t.Errorf("the proof spans %d to %d, want more than the overlap from %d to %d",
			v.ProofFrom, v.ProofTo, v.From, v.To)
	}
	gone, begun := 0, int64(0)
	for i, g := range p.Holds.Gone {
		if begun += p.Holds.Start[i]; g >= 0 {
			gone++
			if begun+g != second || p.Holds.Client[i] != 0 {
				t.Errorf("the node of client %d is gone at %d, want client 0 at %d", p.Holds.Client[i], begun+g, second)
			}
		}
	}
	if gone != 1 {
		t.Errorf("got %d holds that outlived another client's grant, want 1", gone)
	}
	if fine := newPicture(sampleResult(400, false)); fine.Holds.Gone != nil {
		t.Errorf("a valid run: got Gone %v, want nil", fine.Holds.Gone)
	}
}

// In this test, client 0 believes that it holds the lock long after its session expired according
// to the servers' log. The page must show the lane of the servers' log above the lanes of the
// clients.
func TestServersLogIsALaneAboveTheClients(t *testing.T) {
	r := sampleResult(400, true)
	p := newPicture(r)
	i := slices.IndexFunc(p.Log, func(s heldSpan) bool { return s.Ended == "expired" })
	if i < 0 || p.Log[i].Client != 0 || len(p.Log) != len(r.History.Holds()) {
		t.Fatalf("got %d spans of the log, and the expired one is number %d; want %d, and client 0", len(p.Log), i, len(r.History.Holds()))
	}
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	page := openPage(ctx, t, b, r, browser.View{})
	tips := eval[[]string](ctx, t, page, fmt.Sprintf(`(() => {
		const at = %d, tl = zkcoord.timeline, lanes = document.getElementById("lanes"), tip = document.getElementById("tip"), found = [];
		tl.set(at - 20000, at + 20000); tl.drawNow();
		const box = lanes.getBoundingClientRect();
		for (let y = 0; y < box.height; y++) {
			tip.hidden = true;
			lanes.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 92 + (box.width - 92) * .45, clientY: box.top + y }));
			const text = tip.hidden ? "" : tip.innerText;
			if (text && text !== found.at(-1)) found.push(text);
		}
		return found;
	})()`, p.Log[i].To))
	lane := slices.IndexFunc(tips, func(s string) bool {
		return strings.Contains(s, "by the servers' log, client c0 held") && strings.Contains(s, "expired")
	})
	client := slices.IndexFunc(tips, func(s string) bool { return strings.HasPrefix(s, "client c0 holds") })
	if lane < 0 || client < lane {
		t.Errorf("got the lanes %q from top to bottom, want the servers' log with the hold of c0 above client c0", tips)
	}
	if err := page.Eval(ctx, "document.getElementById('timeline').scrollIntoView({block: 'start'})", nil); err != nil {
		t.Fatal(err)
	}
	screenshot(ctx, t, page, "servers-log", false)
	clean(t, page)
}

func TestGravestVerdictComesFirst(t *testing.T) {
	row := func(id string, v checker.Verdict, optional bool) checker.Result {
		return checker.Result{Property: checker.Property{ID: id}, Verdict: v, Optional: optional}
	}
	var got []string
	for _, r := range gravestFirst([]checker.Result{row("o",
		checker.NotExercised, true), row("a",
		checker.Valid, false), row("n",
		checker.NotExercised, false),
		row("b", checker.Valid, false), row("u", checker.Unknown, false), row("i", checker.Invalid, false)}) {
		got = append(got, r.ID)
	}
	if text := strings.Join(got, " "); text != "i u n a b o" {
		t.Errorf("got the order %s, want i u n a b o", text)
	}
}

func TestZoomByButtonKeyWheelAndMap(t *testing.T) {
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := openPage(ctx, t, b, sampleResult(400, false), browser.View{})
	length := func() float64 {
		return eval[float64](ctx, t, p, "zkcoord.timeline.view.to - zkcoord.timeline.view.from")
	}
	whole := length()
	for what, do := range map[string]string{
		"button": "document.getElementById('closer').click()",
		"key":    "lanes.dispatchEvent(new KeyboardEvent('keydown', {key: '+'}))",
		"wheel":  "lanes.dispatchEvent(new WheelEvent('wheel', {deltaY: -200, ctrlKey: true, clientX: 600}))",
		"map": "(b => [['pointerdown', .4], ['pointermove', .6], ['pointerup', .6]].forEach(([type, at]) => " +
			"map.dispatchEvent(new PointerEvent(type, {clientX: b.left + b.width * at, pointerId: 1}))))(map.getBoundingClientRect())",
	} {
		js := "(lanes => { const map = document.getElementById('map'); map.setPointerCapture = () => {}; " + do + " })(document.getElementById('lanes'))"
		if err := p.Eval(ctx, js, nil); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if now := length(); now >= whole {
			t.Errorf("%s: got a view of %v µs after it should zoom in, want less than %v µs",
				what, now, whole)
		}
		if err := p.Eval(ctx, "document.getElementById('whole').click()", nil); err != nil {
			t.Fatalf("the button whole run after %s: %v", what, err)
		}
		if now := length(); now != whole {
			t.Errorf("the button whole run after %s: got a view of %v µs, want %v µs",
				what, now, whole)
		}
	}
	clean(t, p)
}

func TestHundredThousandOperationsStaySmallAndSmooth(t *testing.T) {
	r := sampleResult(50_500, true)
	ops, err := r.History.Operations()
	if err != nil || len(ops) < 80_000 {
		t.Fatalf("got %d operations, %v; want at least 80000", len(ops), err)
	}
	var page bytes.Buffer
	if err := WriteHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations: %d bytes", len(ops), page.Len())
	if page.Len() > 2<<20 {
		t.Errorf("the page has %d bytes for %d operations, want at most 2 MiB", page.Len(), len(ops))
	}
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := openPage(ctx, t, b, r, browser.View{})
	// The minimum of several measurements is the cost of the page itself, independent of other
	// load.
	frame := eval[float64](ctx, t, p, `(() => { let least = 1e9; for (let i = 0; i < 21; i++) {
		const begun = performance.now(); zkcoord.timeline.drawNow(); least = Math.min(least, performance.now() - begun); } return least; })()`)
	zoom := eval[float64](ctx, t, p, `(() => { let least = 1e9; for (let i = 0; i < 21; i++) {
		const begun = performance.now(); zkcoord.timeline.zoom(i % 2 ? 2 : .5); zkcoord.timeline.drawNow(); least = Math.min(least, performance.now() - begun); } return least; })()`)
	t.Logf("drawing the whole run takes %.1f ms, a zoom with its charts %.1f ms", frame, zoom)
	if frame > 100 || zoom > 200 { // the goal is 16 ms
		t.Errorf("drawing the whole run takes %.1f ms, want at most 100; a zoom with its charts takes %.1f ms, want at most 200", frame, zoom)
	}
	clean(t, p)
}

func TestWhatARunSaysIsNeverMarkup(t *testing.T) {
	r := sampleResult(40, true)
	evil := `</script><img src=x onerror="document.title='caught'"><!-- ` + "\u2028"
	for i := range r.Results {
		r.Results[i].Reason += evil
		r.Results[i].Claim += evil
	}
	for i := range r.History.Events {
		r.History.Events[i].Error += evil
	}
	r.Claim, r.Command, r.Plan[0].Target = evil, evil, evil
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := openPage(ctx, t, b, r, browser.View{})
	if n := eval[int](ctx, t, p, "document.images.length"); n != 0 {
		t.Errorf("got %d images, want none", n)
	}
	if title := eval[string](ctx, t, p, "document.title"); title == "caught" {
		t.Errorf("got title %q, want another one: text of the run was executed as a script", title)
	}
	clean(t, p)
}

// Regression: a role of server -1 caused a panic, and a role of server 2147483647 used all memory.
func TestRolesOfServersThatNoEnsembleHasAreLeftOut(t *testing.T) {
	role := func(node string) history.Event {
		return history.Event{Kind: history.Fact, Op: history.FactRole, Node: node, Result: "leader", Client: history.Nobody}
	}
	h := history.New(role("n-1"), role(""), role("n1"), role("n1048576"), role("n98"))
	p := newPicture(&harness.Result{History: h})
	if len(p.Servers) != 99 || len(p.Servers[1]) != 1 || len(p.Servers[98]) != 1 {
		t.Errorf("got %d servers %v, want 99 with roles of 1 and 98 only", len(p.Servers), p.Servers)
	}
}

func TestUnjudgedAndEmptyRunsHaveAPageToo(t *testing.T) {
	for name, r := range map[string]*harness.Result{
		"empty":     {Scenario: "empty", History: history.New()},
		"malformed": {Scenario: "malformed", History: history.New(history.Event{Kind: history.OK, Op: "get"})},
		"unknown":   {Scenario: "unknown", History: history.New(), Results: []checker.Result{{Property: checker.Property{ID: "run/whole"}, Reason: "interrupted"}}},
	} {
		var page bytes.Buffer
		if err := WriteHTML(&page, r); err != nil {
			t.Errorf("%s: WriteHTML: got error %v, want none", name, err)
		}
		for _, want := range []string{"<h1>" + name + "</h1>", "Leon Sorokin"} { // its title, and the licence of uPlot
			if !strings.Contains(page.String(), want) {
				t.Errorf("%s: got a page of %d bytes, want it to contain %q",
					name, page.Len(), want)
			}
		}
	}
}

func TestRecoveryIsCountedFromTheHeal(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	event := func(at int, kind history.Kind, op string) history.Event {
		return history.Event{Time: ms(at), Kind: kind, Op: op, Object: "kill", Node: "leader", Step: 1, Client: history.Nobody, Process: history.Nobody}
	}
	op := func(at int) []history.Event {
		return []history.Event{{Time: ms(at), Kind: history.Invoke, Op: "get"}, {Time: ms(at), Kind: history.OK, Op: "get"}}
	}
	events := append(op(10), event(100, history.Fault, history.FaultStart))
	events = append(events, op(120)...)
	stop := event(400, history.Fault, history.FaultStop)
	stop.Node, stop.Result = "node 1", "it was down"
	begun := op(420) // an operation that began during the fault is no sign of the recovery
	begun[0].Time, begun[0].Process, begun[1].Process = ms(390), 1, 1
	events = append(events, begun[0], stop, begun[1])
	events = append(events, append(op(450), op(900)...)...)
	faults := newFaults(history.New(events...))
	if len(faults) != 1 {
		t.Fatalf("got faults %+v, want one", faults)
	}
	got := faults[0]
	want := fault{Name: "kill", Target: "node 1", Evidence: "it was down", From: ms(100), To: ms(400), Healed: true, Silence: ms(300), Recovery: ms(50)}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestQuantilesAreValuesThatOccurred(t *testing.T) {
	for n, wants := range map[int]map[float64]time.Duration{
		100: {0.5: 50, 0.95: 95, 0.99: 99, 0.999: 100, 1: 100, 0: 1},
		13:  {0.5: 7, 0.95: 13, 0.08: 2}, // ranks 6.5, 12.35 and 1.04 of 13, rounded up
	} {
		var sorted []time.Duration
		for i := range n {
			sorted = append(sorted, time.Duration(i+1))
		}
		for q, want := range wants {
			if got := quantile(sorted, q); got != want {
				t.Errorf("quantile %v of 1 to %d is %d, want %d", q, n, got, want)
			}
		}
	}
}

func TestPlanAsLiteral(t *testing.T) {
	got := literal(sampleResult(8, false).Plan)
	want := "harness.Plan{\n\t{Fault: \"isolate-follower\", At: 1000 * time.Millisecond, For: 2000 * time.Millisecond, Target: \"node 0\"},\n}"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTextsForPeopleAreRoundedAndRootless(t *testing.T) {
	got := plainly("both held /zkcoord-lock-7-18e/lock for 200.212273ms from 6.093685513s, 1m0.5s")
	if want := fmt.Sprintf("both held /lock for 200 ms from 6.09 s, %s", "60.5 s"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
