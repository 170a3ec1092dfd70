package report

import (
	"fmt"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// The type `words` has the texts of the page of a run.
type words struct {
	*harness.Result
	Name, Mutant                         string // of the scenario
	VerdictWord, VerdictClass, IconColor string
	VerdictIcon                          template.HTML
	Figures                              []figure
	Story                                *story
	Violations                           []mark
	Rows                                 []propertyRow
	Faults                               []faultRow
	Latencies                            []latencyRow
	Quantiles                            []string
	Gone, Servers, Log                   bool // what the timeline shows: Gone of holds, servers' roles, servers' log
	Facts                                []fact
	Window                               string
	Left                                 int
	Plan                                 string
}

type figure struct {
	Name, Value string
	Alarm       bool
}

type fact struct{ Name, Value string }

// A story summarizes the run. It is about the first violation, or else about the first other result
// that keeps the run from being valid. If there is neither, the story says that no property was
// violated.
type story struct {
	ID, Verdict, Words, Link string
	Class                    string
	Broken                   []broken
	Events                   []told
}

type broken struct{ Name, Target, When string }

type told struct{ At, Who, What string }

// A mark is a place on the timeline.
type mark struct{ ID, At, Link string }

type propertyRow struct {
	ID, Verdict, Class, Claim, Seen, Link string
	Invalid, Optional                     bool
}

type faultRow struct{ Name, Target, At, For, Silence, Recovery, Did, Link string }

// quantiles are the headings of the columns of latencyRow.Times.
var quantiles = []string{"median", "95 %", "99 %", "99.9 %", "slowest"}

type latencyRow struct {
	Op             string
	OK, Fail, Info string
	Times          []fact // one for each element of the variable `quantiles`
}

func newWords(r *harness.Result, p *picture) words {
	ops, _ := r.History.Operations()
	faults := newFaults(r.History)
	w := words{
		Result: r, VerdictWord: verdictWord(r.Verdict), VerdictClass: classOf(r.Verdict), VerdictIcon: iconOf(r.Verdict),
		IconColor: map[checker.Verdict]string{checker.Valid: "%2317795a", checker.Invalid: "%23c2281f"}[r.Verdict],
		Figures:   newFigures(r, ops, faults), Left: p.Left, Quantiles: quantiles, Gone: p.Holds.Gone != nil, Servers: len(p.Servers) > 0, Log: len(p.Log) > 0,
		Window: latencyText(time.Duration(p.Series.Window)*time.Microsecond, 1), Plan: literal(r.Plan),
	}
	if w.IconColor == "" {
		w.IconColor = "%239a6700"
	}
	w.Name, w.Mutant, _ = strings.Cut(r.Scenario, "+")
	links := make(map[string]string)
	for i, v := range p.Violations {
		link := fmt.Sprintf("#violation-%d", i)
		links[v.ID] = link
		w.Violations = append(w.Violations, mark{v.ID, shortTime(time.Duration(v.From) * time.Microsecond), link})
	}
	switch failed := r.Failed(); {
	case len(failed) > 0:
		w.Story = newStory(failed[0], faults, links)
	case r.Verdict.Passed():
		w.Story = allWell(r, len(faults))
	}
	for _, one := range gravestFirst(r.Results) {
		w.Rows = append(w.Rows, propertyRow{
			ID: one.ID, Verdict: verdictWord(one.Verdict), Class: classOf(one.Verdict), Claim: capital(one.Claim), Seen: plainly(seen(one)),
			Link: links[one.ID], Invalid: one.Verdict == checker.Invalid, Optional: one.Optional && one.Verdict == checker.NotExercised,
		})
	}
	for i, f := range faults {
		w.Faults = append(w.Faults, newFaultRow(i, f))
	}
	for _, l := range newLatencies(ops) {
		row := latencyRow{Op: l.Op, OK: Thousands(l.OK), Fail: Thousands(l.Fail), Info: Thousands(l.Info)}
		for i, d := range []time.Duration{l.P50, l.P95, l.P99, l.P999, l.Max} {
			row.Times = append(row.Times, fact{quantiles[i], latencyText(d, l.OK)})
		}
		w.Latencies = append(w.Latencies, row)
	}
	w.Facts = newFacts(r)
	return w
}

func verdictWord(v checker.Verdict) string {
	word, _ := v.MarshalText() // never fails
	return capital(string(word))
}

// The function `capital` changes the first letter to upper case.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func classOf(v checker.Verdict) string {
	switch v {
	case checker.Valid:
		return "v-valid"
	case checker.Invalid:
		return "v-invalid"
	case checker.NotExercised:
		return "v-not"
	}
	return "v-unknown"
}

func iconOf(v checker.Verdict) template.HTML {
	path := "M8 4.2v4.6M8 11.6v.1" // an exclamation mark
	switch v {
	case checker.Valid:
		path = "M4.6 8.3l2.3 2.3 4.6-5"
	case checker.Invalid:
		path = "M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4"
	}
	return template.HTML(`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="8" r="7"/><path d="` + path + `"/></svg>`)
}

func newFigures(r *harness.Result, ops []history.Operation, faults []fault) []figure {
	holds := r.History.Holds()
	lost := 0
	for _, h := range holds {
		if h.Lost() {
			lost++
		}
	}
	violations := 0
	for _, one := range r.Results {
		violations += one.Violations
	}
	figures := []figure{
		{"length", shortLength(r.History.End()), false},
		{"clients", Thousands(r.Clients), false},
		{"requests", Thousands(len(ops)), false},
	}
	if len(holds) > 0 {
		figures = append(figures, figure{"grants", Thousands(len(holds)), false}, figure{"lost while held", Thousands(lost), false})
	}
	figures = append(figures, figure{"faults", Thousands(len(faults)), false})
	if violations > 0 {
		figures = append(figures, figure{"violations", Thousands(violations), true})
	}
	return figures
}

// mostTold is the maximum number of events that the page shows of a proof.
const mostTold = 8

func newStory(one checker.Result, faults []fault, links map[string]string) *story {
	st := &story{ID: one.ID, Verdict: strings.ToLower(verdictWord(one.Verdict)), Words: plainly(one.Reason), Link: links[one.ID],
		Class: classOf(one.Verdict)}
	for _, e := range one.Events[:min(mostTold, len(one.Events))] {
		st.Events = append(st.Events, told{shortTime(e.Time), e.Who(), eventText(e)})
	}
	if len(one.Events) == 0 {
		return st
	}
	from, to := one.Events[0].Time, one.Events[0].Time
	for _, e := range one.Events {
		from, to = min(from, e.Time), max(to, e.Time)
	}
	for _, f := range faults {
		if f.From <= to && f.To >= from && len(st.Broken) < 4 {
			st.Broken = append(st.Broken, broken{f.Name, targetWords(f.Target), fmt.Sprintf("from %s to %s", shortTime(f.From), shortTime(f.To))})
		}
	}
	return st
}

// allWell is the story of a run without a violation.
func allWell(r *harness.Result, faults int) *story {
	held, idle := 0, []string(nil)
	for _, one := range r.Results {
		if one.Verdict == checker.Valid {
			held++
		} else {
			idle = append(idle, one.ID)
		}
	}
	words := fmt.Sprintf("All %d judged properties hold under %d faults.", held, faults)
	if len(idle) > 0 {
		words += " Not exercised: " + listed(idle) + "."
	}
	return &story{Verdict: "nothing was violated", Words: words, Class: classOf(r.Verdict)}
}

// gravestFirst sorts violated properties to the top, and optional properties that were not
// exercised to the end.
func gravestFirst(results []checker.Result) []checker.Result {
	grave := func(r checker.Result) int {
		switch {
		case r.Verdict == checker.Invalid:
			return 0
		case r.Verdict == checker.Unknown:
			return 1
		case r.Verdict == checker.Valid:
			return 3
		case r.Optional:
			return 4
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(results), func(a, b checker.Result) int { return grave(a) - grave(b) })
}

// runRoot matches the root of a run's znodes. All paths of the run are below that root.
var runRoot = regexp.MustCompile(`/zkcoord-[a-z0-9-]*-\d+-[0-9a-f]+/`)

var longDuration = regexp.MustCompile(`\b(?:\d+h)?(?:\d+m)?\d+\.\d+(?:s|ms|µs)`)

// The function `plainly` shortens a text for readers: it removes the run's root from paths and
// excess digits from durations.
func plainly(text string) string {
	text = runRoot.ReplaceAllString(text, "/")
	return longDuration.ReplaceAllStringFunc(text, func(d string) string {
		if v, err := time.ParseDuration(d); err == nil {
			return latencyText(v, 1)
		}
		return d
	})
}

// eventText describes an event in words, if there are words for its kind.
func eventText(e history.Event) string {
	object := plainly(e.Object)
	token := ""
	if e.Token != 0 {
		token = fmt.Sprintf(", token 0x%x", uint64(e.Token))
	}
	text := ""
	switch {
	case e.Kind == history.Hold && e.Op == history.HoldBegin:
		text = "holds " + object + token
	case e.Kind == history.Hold && e.Op == history.HoldEnd:
		text = "releases " + object + token
	case e.Kind == history.Hold:
		text = "loses " + object + token
	case e.Kind == history.Write:
		text = fmt.Sprintf("%s of the resource is %s%s, value %s", e.Arg, e.Op, token, e.Result)
	case e.Kind == history.Session:
		text = fmt.Sprintf("session %s: %s", hexID(e.Session), e.Op)
	case e.Kind == history.Phase:
		text = "the run enters: " + e.Op
	default:
		_, text, _ = strings.Cut(e.String(), " ")
		_, text, _ = strings.Cut(text, " ")
		return plainly(text)
	}
	if e.Error != "" {
		text += ": " + plainly(e.Error)
	}
	return text
}

// The function `seen` describes the basis of a verdict: violations, a reason, or the number of
// checks.
func seen(one checker.Result) string {
	var parts []string
	switch {
	case one.Violations > 1:
		parts = append(parts, fmt.Sprintf("%s violations; the first: %s", Thousands(one.Violations), one.Reason))
	case one.Reason != "":
		parts = append(parts, one.Reason)
	case one.Checked > 0:
		parts = append(parts, Thousands(one.Checked)+" checked")
	}
	if one.Exposure > 0 {
		parts = append(parts, "exposed for "+latencyText(one.Exposure, 1)+" outside the promise")
	}
	return strings.Join(parts, "; ")
}

func newFaultRow(i int, f fault) faultRow {
	row := faultRow{
		Name: f.Name, Target: targetWords(f.Target), At: shortTime(f.From), For: latencyText(f.To-f.From, 1), Silence: latencyText(f.Silence, 1),
		Recovery: "none", Did: f.Evidence, Link: fmt.Sprintf("#fault-%d", i),
	}
	if f.Recovery >= 0 {
		row.Recovery = latencyText(f.Recovery, 1)
	}
	switch {
	case f.Error != "":
		row.Did = f.Error
	case !f.Healed:
		row.Did = "never healed"
	case f.Evidence == "":
		row.Did = "none"
	}
	return row
}

func newFacts(r *harness.Result) []fact {
	facts := []fact{
		{"seed", fmt.Sprint(r.Seed)},
		{"ensemble", fmt.Sprintf("%s, %d nodes%s", r.Ensemble, r.Nodes, version(r))},
		{"clients", r.Client},
		{"work under faults", shortLength(r.Time)},
		{"faults", r.Began()},
		{"guarantees", strings.Join(r.Guarantees, " ")},
	}
	versions := Versions()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		facts = append(facts, fact{name, versions[name]})
	}
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

// The function `literal` formats a plan as Go source.
func literal(p harness.Plan) string {
	if len(p) == 0 {
		return "harness.Plan{}"
	}
	var b strings.Builder
	b.WriteString("harness.Plan{\n")
	for _, s := range p {
		fmt.Fprintf(&b, "\t{Fault: %q, At: %d * time.Millisecond", s.Fault, s.At.Milliseconds())
		if s.For != 0 {
			fmt.Fprintf(&b, ", For: %d * time.Millisecond", s.For.Milliseconds())
		}
		if s.Target != "" {
			fmt.Fprintf(&b, ", Target: %q", s.Target)
		}
		if s.Arg != "" {
			fmt.Fprintf(&b, ", Arg: %q", s.Arg)
		}
		b.WriteString("},\n")
	}
	b.WriteString("}")
	return b.String()
}

// shortTime formats a time since the start.
func shortTime(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// shortLength formats a duration of a second or more.
func shortLength(d time.Duration) string {
	if d >= 2*time.Minute {
		text := d.Round(time.Second).String()
		if whole, ok := strings.CutSuffix(text, "m0s"); ok {
			text = whole + "m"
		}
		return text
	}
	return strconv.FormatFloat(d.Round(time.Second/10).Seconds(), 'f', -1, 64) + " s"
}

// latencyText formats a duration with about three significant digits, or returns a dash if nothing
// was measured.
func latencyText(d time.Duration, measured int) string {
	switch {
	case measured == 0:
		return "–"
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// Thousands returns n as text, with a comma between groups of three digits.
func Thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// The function `version` returns the nodes' version of ZooKeeper for a text about the ensemble. If
// the version is unknown, it returns "".
func version(r *harness.Result) string {
	if r.ZooKeeper == "" {
		return ""
	}
	return ", ZooKeeper " + r.ZooKeeper
}
