package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/waits"
)

// These types define the JSON output. The output begins with a document for each span, in the order
// in which the spans end. A document for each conflict follows. The last document is about the
// logs.
type (
	auditSpan struct {
		Record    string     `json:"record"` // "span"
		Kind      waits.Kind `json:"kind"`
		Place     string     `json:"place"`
		Path      string     `json:"path"`
		Name      string     `json:"name,omitempty"`
		Token     int64      `json:"token"`
		Session   string     `json:"session"`
		Label     string     `json:"label,omitempty"`
		Shared    bool       `json:"shared,omitempty"`
		Created   time.Time  `json:"created"`
		Served    time.Time  `json:"served,omitzero"`
		Ended     time.Time  `json:"ended,omitzero"`
		End       audit.End  `json:"end,omitempty"`
		By        string     `json:"by,omitempty"`
		WaitedMS  int64      `json:"waited_ms"`
		HeldMS    int64      `json:"held_ms"`
		SilentMS  int64      `json:"silent_ms,omitempty"`
		After     string     `json:"took_over_from,omitempty"`
		Abandoned string     `json:"abandoned,omitempty"`
	}
	auditConflict struct {
		Record  string       `json:"record"` // "conflict"
		Why     audit.Why    `json:"why"`
		Log     string       `json:"client_log"`
		Line    int          `json:"line"`
		Path    string       `json:"path"`
		Session string       `json:"session,omitempty"`
		Client  string       `json:"client,omitempty"`
		Begin   time.Time    `json:"claimed_from"`
		End     time.Time    `json:"claimed_to"`
		From    time.Time    `json:"wrong_from"`
		To      time.Time    `json:"wrong_to"`
		Span    *auditSpan   `json:"span,omitempty"`
		Others  []auditOther `json:"others,omitempty"`
	}
	auditOther struct {
		From   time.Time `json:"from"`
		To     time.Time `json:"to"`
		Claims bool      `json:"own_log_says_so,omitempty"`
		Span   auditSpan `json:"span"`
	}
	auditLogs struct {
		Record     string            `json:"record"` // "logs"
		Servers    int               `json:"servers"`
		Txns       int               `json:"transactions"`
		From       time.Time         `json:"from,omitzero"`
		To         time.Time         `json:"to,omitzero"`
		Gaps       int               `json:"gaps"`
		Refuted    int               `json:"not_committed"`
		Expired    int               `json:"expired_sessions"`
		Takeovers  int               `json:"takeovers"`
		Abandoned  int               `json:"abandoned"`
		Conflicts  int               `json:"conflicts"`
		Difference []auditDifference `json:"differences,omitempty"`
	}
	auditDifference struct {
		Zxid string `json:"zxid"`
		A    string `json:"a"`
		B    string `json:"b"`
	}
)

func (w *auditing) shownSpan(s audit.Span) auditSpan {
	one := auditSpan{Record: "span", Kind: s.Kind, Place: s.Place, Path: s.Path, Name: s.Name, Token: s.Token, Session: hex(s.Session), Label: s.Label,
		Shared: s.Shared, Created: s.Created.UTC(), End: s.End, WaitedMS: s.Waited(w.last).Milliseconds(), HeldMS: s.Held(w.last).Milliseconds(),
		Abandoned: s.Abandoned}
	if !s.Served.IsZero() {
		one.Served = s.Served.UTC()
	}
	if s.End != audit.Stands {
		one.Ended, one.By, one.SilentMS = s.Ended.UTC(), hex(s.By), s.Silent.Milliseconds()
	}
	if s.After != nil {
		one.After = hex(s.After.Session)
	}
	return one
}

func (w *auditing) printJSON(servers int, m *txnlog.Merged, conflicts []audit.Conflict) error {
	for _, c := range conflicts {
		one := auditConflict{Record: "conflict", Why: c.Why, Log: c.Claim.Source, Line: c.Claim.Line, Path: c.Claim.Path,
			Client: c.Claim.Client, Begin: c.Claim.From.UTC(), End: c.Claim.To.UTC(), From: c.From.UTC(), To: c.To.UTC()}
		if c.Claim.Session != 0 {
			one.Session = hex(c.Claim.Session)
		}
		if c.Span != nil {
			s := w.shownSpan(*c.Span)
			one.Span = &s
		}
		for _, o := range c.Others {
			one.Others = append(one.Others, auditOther{o.From.UTC(), o.To.UTC(), o.Claims, w.shownSpan(o.Span)})
		}
		if err := w.app.printJSON(one); err != nil {
			return err
		}
	}
	logs := auditLogs{Record: "logs", Servers: servers, Txns: w.txns, From: w.first, To: w.last, Gaps: m.Gaps, Refuted: len(m.Refuted),
		Expired: w.summary.Expired, Takeovers: len(w.summary.Takeovers), Abandoned: len(w.summary.Abandoned), Conflicts: len(conflicts)}
	for _, d := range m.Differ {
		logs.Difference = append(logs.Difference, auditDifference{hex(d.Zxid), d.A, d.B})
	}
	return w.app.printJSON(logs)
}

func (w *auditing) line(format string, args ...any) { fmt.Fprintf(w.app.out, format+"\n", args...) }

// The method `found` returns the result of the audit, for the output and the report.
func (w *auditing) found(servers int, m *txnlog.Merged, claims []audit.Claim, conflicts []audit.Conflict) report.Audit {
	all := report.Audit{Path: w.path, Servers: servers, Txns: w.txns, From: w.first, To: w.last, Claims: claims, Conflicts: conflicts,
		Summary: &w.summary, Differences: len(m.Differ) > 0}
	add := func(format string, args ...any) { all.Notes = append(all.Notes, fmt.Sprintf(format, args...)) }
	for _, d := range m.Differ {
		add("SERVERS DIFFER: zxid %s is another transaction in %s than in %s", hex(d.Zxid), d.A, d.B)
	}
	if m.Gaps > 0 {
		add("the logs have %s: the missing transactions are not shown", count(m.Gaps, "gap"))
	}
	if n := len(m.Refuted); n > 0 {
		add("%s written and not committed: left out", count(n, "transaction"))
	}
	if m.Disorder > 0 {
		add("%s written after a later one: left out", count(m.Disorder, "transaction"))
	}
	return all
}

func (w *auditing) print(all report.Audit) {
	w.line("%s, %s from %s to %s UTC", count(all.Servers, "server"), count(all.Txns, "transaction"), audit.Day(all.From), audit.Day(all.To))
	for _, note := range all.Notes {
		w.line("%s", note)
	}
	for _, p := range w.summary.Places() {
		w.printPlace(p)
	}
	for _, s := range w.summary.Takeovers {
		w.line("takeover at %s: %s", s.Place, s.Takeover())
	}
	for _, s := range w.summary.Abandoned {
		w.line("abandoned: %s of %s, since %s: %s", s.Path, s.Owner(), audit.Day(s.Created), s.Abandoned)
	}
	if n := len(all.Claims); n > 0 {
		w.line("%s of clients' logs compared: %s", count(n, "hold"), cmp.Or(contradicted(len(all.Conflicts)), "the servers' logs contradict none"))
	}
	for _, c := range all.Conflicts {
		w.line("CONFLICT at %s", c.String())
		for _, o := range c.Others {
			w.line("  %s", c.Overlap(o))
		}
	}
}

func contradicted(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("the servers' logs contradict %d", n)
}

func (w *auditing) printPlace(p audit.Place) {
	about := []string{fmt.Sprintf("%s granted", times(p.Granted))}
	if p.Kind == audit.Node || p.Kind == waits.Group {
		about = nil
	}
	if p.Gave > 0 {
		about = append(about, fmt.Sprintf("%d gave up or still wait", p.Gave))
	}
	for _, end := range []audit.End{audit.Expired, audit.Revoked, audit.Rejected} {
		if p.Ends[end] > 0 {
			about = append(about, fmt.Sprintf("%d %s", p.Ends[end], end))
		}
	}
	if waited := p.Longest.Waited(w.last); waited > 0 {
		about = append(about, fmt.Sprintf("longest wait %v by %s", waited, p.Longest.Owner()))
	}
	w.line("%s", strings.Join(slices.Concat([]string{fmt.Sprintf("%s: %s", p.Path, p.Kind)}, about), ", "))
	if total := p.Granted + p.Gave; total > len(p.Last) {
		w.line("  (the last %d of %d; --limit 0 shows all)", len(p.Last), total)
	}
	for _, s := range p.Last {
		w.line("  %s", w.describe(s))
	}
}

// describe describes a span on one line.
func (w *auditing) describe(s audit.Span) string {
	var parts []string
	switch until := audit.Clock(s.Ended); {
	case s.Served.IsZero():
		parts = append(parts, fmt.Sprintf("%s  waited %v", audit.Day(s.Created), s.Waited(w.last)))
	case s.End == audit.Stands:
		parts = append(parts, fmt.Sprintf("%s to %12s  %8v", audit.Day(s.Served), "now", s.Held(w.last)))
	default:
		parts = append(parts, fmt.Sprintf("%s to %s  %8v", audit.Day(s.Served), until, s.Held(w.last)))
	}
	parts = append(parts, s.Owner())
	if subject := s.Subject(); subject != "" {
		parts = append(parts, subject)
	}
	if s.Shared {
		parts = append(parts, "shared")
	}
	parts = append(parts, fmt.Sprintf("token %d", s.Token))
	if waited := s.Waited(w.last); waited > 0 && !s.Served.IsZero() {
		parts = append(parts, fmt.Sprintf("waited %v", waited))
	}
	return strings.Join(append(parts, s.How()), ", ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
