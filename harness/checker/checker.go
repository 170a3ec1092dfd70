package checker

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Checker judges the properties that it names. Check returns one result for each property and must
// not change h. Check should end soon after ctx ends.
type Checker interface {
	Properties() []Property
	Check(ctx context.Context, h *history.History) []Result
}

// New makes a Checker of one property from a function that reports to a [Judge]. If the function
// reports nothing, the verdict is NotExercised.
func New(id, claim string, check func(h *history.History, j *Judge)) Checker {
	return single{Property{id, claim}, func(_ context.Context, h *history.History, j *Judge) { check(h, j) }}
}

type single struct {
	property Property
	check    func(ctx context.Context, h *history.History, j *Judge)
}

func (s single) Properties() []Property { return []Property{s.property} }

func (s single) Check(ctx context.Context, h *history.History) []Result {
	j := &Judge{r: Result{Property: s.property}}
	s.check(ctx, h, j)
	return []Result{j.result()}
}

// Judge collects what a checking function reports about one property.
type Judge struct {
	r            Result
	notExercised string
	unknown      string
}

// Checked counts n things that could have violated the property.
func (j *Judge) Checked(n int) { j.r.Checked += n }

// Violation reports a violation. The Judge keeps the reason and the events of the first violation
// only.
func (j *Judge) Violation(events []history.Event, format string, args ...any) {
	j.r.Violations++
	if j.r.Violations == 1 {
		j.r.Reason = fmt.Sprintf(format, args...)
		j.r.Events = events
	}
}

// Exposed adds d to the exposure: the time outside the envelope during which the property did not
// hold.
func (j *Judge) Exposed(d time.Duration) { j.r.Exposure += d }

// NotExercised sets the reason that is shown if the verdict is NotExercised.
func (j *Judge) NotExercised(format string, args ...any) {
	j.notExercised = fmt.Sprintf(format, args...)
}

// Unknown sets the reason why nothing can be concluded. If there is also a violation, the verdict
// is Invalid.
func (j *Judge) Unknown(format string, args ...any) { j.unknown = fmt.Sprintf(format, args...) }

// Note sets the reason that is shown with a Valid verdict, for example what was measured.
func (j *Judge) Note(format string, args ...any) {
	if j.r.Violations == 0 {
		j.r.Reason = fmt.Sprintf(format, args...)
	}
}

func (j *Judge) result() Result {
	r := j.r
	switch {
	case r.Violations > 0:
		r.Verdict = Invalid
	case j.unknown != "":
		r.Verdict, r.Reason = Unknown, j.unknown
	case r.Checked == 0:
		r.Verdict, r.Reason = NotExercised, j.notExercised
		if r.Reason == "" {
			r.Reason = "nothing happened that could have violated it"
		}
	default:
		r.Verdict = Valid
	}
	return r
}

// IfExercised marks the properties of c as optional. If a run does not exercise them, they are
// reported as not exercised and the run can still pass.
func IfExercised(c Checker) Checker { return optional{c} }

type optional struct{ Checker }

func (o optional) Check(ctx context.Context, h *history.History) []Result {
	results := o.Checker.Check(ctx, h)
	for i := range results {
		results[i].Optional = true
	}
	return results
}

// IfTokens wraps c for clients that may have no fencing tokens. If a run has holds, but no hold has
// a token, the properties of c are optional and reported as not exercised.
func IfTokens(c Checker) Checker { return ifTokens{c} }

type ifTokens struct{ Checker }

func (t ifTokens) Check(ctx context.Context, h *history.History) []Result {
	holds := h.Holds()
	if len(holds) == 0 || slices.ContainsFunc(holds, func(i history.HoldInterval) bool { return i.Begin.Token != 0 }) {
		return t.Checker.Check(ctx, h)
	}
	var results []Result
	for _, p := range t.Properties() {
		results = append(results, Result{Property: p, Verdict: NotExercised, Optional: true, Reason: "the clients gave no tokens"})
	}
	return results
}

// Run applies the checkers and returns one result for each property of each checker, in order. A
// property is Unknown in each of these cases:
//   - The history is malformed.
//   - The checker of the property panics, or has not ended when ctx ends.
//   - The checker returns no result for the property.
//   - The history was cut short, and the verdict is not Invalid. Such a history can prove only
//     violations.
func Run(ctx context.Context, h *history.History, checkers ...Checker) []Result {
	var all []Result
	for _, c := range checkers {
		all = append(all, complete(c.Properties(), guarded(ctx, h, c))...)
	}
	for i := range all {
		if r := &all[i]; r.Verdict != Invalid && !h.Complete() {
			r.Verdict, r.Reason = Unknown, "the history was cut short"
		}
	}
	return all
}

// The function `guarded` runs one checker. If ctx ends first, the checker's goroutine continues
// until the checker returns. Nothing can stop the goroutine before that.
func guarded(ctx context.Context, h *history.History, c Checker) []Result {
	done := make(chan []Result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- allUnknown(c, fmt.Sprintf("the checker panicked: %v%s", p, site(debug.Stack())))
			}
		}()
		if _, err := h.Operations(); err != nil {
			done <- allUnknown(c, err.Error())
			return
		}
		done <- c.Check(ctx, h)
	}()
	select {
	case results := <-done:
		return results
	case <-ctx.Done():
		return allUnknown(c, fmt.Sprintf("the checker did not end in time: %v", context.Cause(ctx)))
	}
}

// The function `site` returns the place of a panic, such as " at mutex.go:12". If the stack does
// not show the place, it returns an empty string.
func site(stack []byte) string {
	_, below, found := strings.Cut(string(stack), "panic(")
	if !found {
		return ""
	}
	lines := strings.SplitN(below, "\n", 5)
	if len(lines) < 4 {
		return ""
	}
	place, _, _ := strings.Cut(strings.TrimSpace(lines[3]), " +0x")
	return " at " + place[strings.LastIndexByte(place, '/')+1:]
}

func allUnknown(c Checker, reason string) []Result {
	var all []Result
	for _, p := range c.Properties() {
		all = append(all, Result{Property: p, Reason: reason})
	}
	return all
}

// The function `complete` returns one result for each property. A property that is missing in
// results is Unknown.
func complete(properties []Property, results []Result) []Result {
	all := make([]Result, 0, len(properties))
	for _, p := range properties {
		r := Result{Property: p, Reason: "the checker said nothing about it"}
		for _, given := range results {
			if given.ID == p.ID {
				r = given
			}
		}
		all = append(all, r)
	}
	return all
}
