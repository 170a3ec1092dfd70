package harness

import (
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

const (
	summaryRows   = 12 // maximum number of properties with a row
	summaryEvents = 5  // maximum number of events shown as the proof of a violation
)

// Summary returns the text that is printed at the end of a run, in at most 25 lines. The text has
// the verdict of each property, the first violation in words with the few events that prove it, the
// faults, and the command that repeats the run.
func (r *Result) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v after %v  (%s ensemble", r.Scenario, r.Verdict, r.Took.Round(time.Second/10), r.Ensemble)
	if r.Nodes > 0 { // a history alone has no number of nodes
		fmt.Fprintf(&b, " of %d, %d clients", r.Nodes, r.Clients)
	}
	if r.ZooKeeper != "" {
		fmt.Fprintf(&b, ", ZooKeeper %s", r.ZooKeeper)
	}
	b.WriteString(")\n")
	if r.Client != "" {
		fmt.Fprintf(&b, "clients: %s\n", r.Client)
	}
	r.summarizeResults(&b)
	if failed := r.Failed(); len(failed) > 0 {
		first := failed[0]
		fmt.Fprintf(&b, "%s: %s\n", first.ID, first.Reason)
		for _, e := range first.Events[:min(summaryEvents, len(first.Events))] {
			fmt.Fprintf(&b, "    #%d %v\n", e.Index, e)
		}
	}
	if r.Verdict == checker.NotExercised {
		fmt.Fprintf(&b, "try a longer run (--time %v) or another seed\n", max(standardTime, 2*r.Time))
	}
	r.summarizeFaults(&b)
	fmt.Fprintf(&b, "seed %d", r.Seed)
	if r.Command != "" {
		fmt.Fprintf(&b, "; again: %s", r.Command)
	}
	return b.String() + "\n"
}

// summarizeResults writes a row for each property. If there are more than summaryRows properties,
// the valid ones share one row. Of the properties that are not valid, at most summaryRows get a
// row, and summarizeResults only counts the rest.
func (r *Result) summarizeResults(b *strings.Builder) {
	var valid []string
	rows, width := 0, 0
	for _, one := range r.Results {
		width = max(width, len(one.ID))
	}
	for _, one := range r.Results {
		if one.Verdict == checker.Valid && len(r.Results) > summaryRows {
			valid = append(valid, one.ID)
			continue
		}
		if rows++; rows <= summaryRows {
			fmt.Fprintf(b, "  %-*s %-14v %s%s\n", width, one.ID, one.Verdict, one.Claim, measured(one))
		}
	}
	if rows > summaryRows {
		fmt.Fprintf(b, "  and %d more that are not valid\n", rows-summaryRows)
	}
	if len(valid) > 0 {
		fmt.Fprintf(b, "  valid: %s\n", strings.Join(valid, " "))
	}
}

func measured(one checker.Result) string {
	var parts []string
	switch {
	case one.Verdict == checker.Invalid && one.Violations > 1:
		parts = append(parts, fmt.Sprintf("%d violations", one.Violations))
	case one.Verdict == checker.NotExercised && one.Optional:
		parts = append(parts, "optional")
	case one.Verdict == checker.Valid && one.Reason != "":
		parts = append(parts, one.Reason)
	case one.Verdict == checker.Valid:
		parts = append(parts, fmt.Sprintf("%d checked", one.Checked))
	}
	if one.Exposure > 0 {
		parts = append(parts, fmt.Sprintf("exposure %v", one.Exposure.Round(time.Millisecond)))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// summarizeFaults writes one line: how often each fault began, how many faults failed, and which
// faults did not happen or had no effect, with the reason.
func (r *Result) summarizeFaults(b *strings.Builder) {
	if began := r.Began(); began == "" {
		fmt.Fprintf(b, "no faults")
	} else {
		fmt.Fprintf(b, "faults: %s", began)
	}
	if n := countFaultErrors(r.History); n > 0 {
		fmt.Fprintf(b, "; %d went wrong", n)
	}
	if len(r.CouldNot) > 0 {
		fmt.Fprintf(b, "; not done: %s", strings.Join(r.CouldNot, "; "))
	}
	b.WriteByte('\n')
}

// Began returns a string that says how often each fault began, in the form of Plan.String. The plan
// may have more steps: a fault that is slow to inject delays the later faults, and the run may be
// over before they begin.
func (r *Result) Began() string { return r.began().String() }

// The method `began` returns a step for each fault whose injection began.
func (r *Result) began() (began Plan) {
	for i := range r.History.Events {
		if e := &r.History.Events[i]; e.Kind == history.Fault && e.Op == history.FaultStart {
			began = append(began, Step{Fault: e.Object})
		}
	}
	return began
}

func countFaultErrors(h *history.History) int {
	n := 0
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Fault && e.Error != "" {
			n++
		}
	}
	return n
}

// String returns the number of steps of p for each fault, for example "session-close x7, link-stall
// x4".
func (p Plan) String() string {
	var names []string
	times := make(map[string]int)
	for _, s := range p {
		if times[s.Fault]++; times[s.Fault] == 1 {
			names = append(names, s.Fault)
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s x%d", name, times[name])
	}
	return strings.Join(names, ", ")
}
