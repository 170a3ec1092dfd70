package checker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

func end() history.Event {
	return history.Event{Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody}
}

func valid(id string) Checker {
	return New(id, "", func(_ *history.History, j *Judge) { j.Checked(1) })
}

func TestZeroVerdictIsUnknownAndOnlyValidPasses(t *testing.T) {
	var v Verdict
	if v != Unknown || Unknown.Passed() || NotExercised.Passed() || Invalid.Passed() || !Valid.Passed() {
		t.Errorf("got the zero verdict %v, want %v; got passed %t for it, %t for %v, %t for %v, "+
			"%t for %v, want only the last one",
			v, Unknown, Unknown.Passed(), NotExercised.Passed(), NotExercised,
			Invalid.Passed(), Invalid, Valid.Passed(), Valid)
	}
}

func TestWorst(t *testing.T) {
	order := []Verdict{Valid, NotExercised, Unknown, Invalid}
	for i, a := range order {
		for j, b := range order {
			if got, want := Worst(a, b), order[max(i, j)]; got != want {
				t.Errorf("Worst(%v, %v): got %v, want %v", a, b, got, want)
			}
		}
	}
	if Worst() != Unknown || Overall(nil) != Unknown {
		t.Errorf("no results: got %v from Worst and %v from Overall, want %v",
			Worst(), Overall(nil), Unknown)
	}
}

func TestOverallNeedsEveryPropertyThatIsNotOptional(t *testing.T) {
	idle := New("X", "", func(*history.History, *Judge) {})
	for name, c := range map[string]struct {
		checkers []Checker
		want     Verdict
	}{
		"two valid":                    {[]Checker{valid("A"), valid("B")}, Valid},
		"valid and idle":               {[]Checker{valid("A"), idle}, NotExercised},
		"valid and idle, but optional": {[]Checker{valid("A"), IfExercised(idle)}, Valid},
		"idle and optional":            {[]Checker{IfExercised(idle)}, Unknown},
	} {
		if got := Overall(Run(t.Context(), history.New(end()), c.checkers...)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// A client in another language may have no fencing tokens. So IfTokens judges tokens only if at
// least one hold has a token.
func TestTokensAreJudgedIfThereAreAny(t *testing.T) {
	grant := func(token int64) []history.Event {
		return []history.Event{{Kind: history.Invoke, Op: OpAcquire, Object: "/l"}, {Kind: history.OK, Op: OpAcquire, Object: "/l", Token: token},
			{Kind: history.Hold, Op: history.HoldBegin, Object: "/l", Token: token}, {Kind: history.Hold, Op: history.HoldEnd, Object: "/l", Token: token}}
	}
	for _, c := range []struct {
		tokens []int64
		want   Verdict
	}{{[]int64{0, 0}, Valid}, {[]int64{1, 2}, Valid}, {[]int64{2, 1}, Invalid}, {[]int64{1, 0}, Invalid}, {nil, NotExercised}} {
		var events []history.Event
		for _, token := range c.tokens {
			events = append(events, grant(token)...)
		}
		results := Run(t.Context(), history.New(append(events, end())...), valid("A"), IfTokens(LockTokensRise()))
		if got := Overall(results); got != c.want {
			t.Errorf("tokens %v: got %v, want %v: %+v", c.tokens, got, c.want, results[1])
		}
		if none := len(c.tokens) > 0 && c.tokens[0] == 0; (results[1].Verdict == NotExercised) != (none || c.tokens == nil) {
			t.Errorf("tokens %v: got %v, want NotExercised only if no hold has a token", c.tokens, results[1].Verdict)
		}
	}
}

func TestPanickingCheckerIsUnknownWithThePlace(t *testing.T) {
	bad := New("X", "", func(*history.History, *Judge) { panic("boom") })
	results := Run(t.Context(), history.New(end()), valid("A"), bad)
	if len(results) != 2 || results[0].Verdict != Valid {
		t.Fatalf("results: got %+v, want two, the first valid", results)
	}
	r := results[1]
	if r.Verdict != Unknown || !strings.Contains(r.Reason, "boom") || !strings.Contains(r.Reason, "checker_test.go:") {
		t.Errorf("got %v (%s), want Unknown with the panic and its place", r.Verdict, r.Reason)
	}
}

func TestCheckerThatDoesNotEndIsUnknown(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := New("X", "", func(*history.History, *Judge) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if r := Run(ctx, history.New(end()), stuck)[0]; r.Verdict != Unknown || !strings.Contains(r.Reason, "in time") {
		t.Errorf("got %v (%s), want Unknown because the checker did not end in time", r.Verdict, r.Reason)
	}
}

type silent struct{}

func (silent) Properties() []Property { return []Property{{ID: "A"}, {ID: "B"}} }
func (silent) Check(context.Context, *history.History) []Result {
	return []Result{{Property: Property{ID: "B"}, Verdict: Valid}}
}

func TestPropertyLeftOutIsUnknown(t *testing.T) {
	results := Run(t.Context(), history.New(end()), silent{})
	if len(results) != 2 || results[0].ID != "A" || results[0].Verdict != Unknown || results[1].Verdict != Valid {
		t.Errorf("results: got %+v, want A unknown and the other one valid", results)
	}
}

func TestHistoryCutShortProvesOnlyViolations(t *testing.T) {
	bad := New("X", "", func(_ *history.History, j *Judge) { j.Violation(nil, "seen") })
	results := Run(t.Context(), history.New(), valid("A"), bad)
	if results[0].Verdict != Unknown || results[1].Verdict != Invalid {
		t.Errorf("results: got %+v, want unknown and invalid", results)
	}
}

func TestMalformedHistoryIsUnknown(t *testing.T) {
	h := history.New(history.Event{Kind: history.OK, Op: "acquire"}, end())
	if r := Run(t.Context(), h, valid("A"))[0]; r.Verdict != Unknown || !strings.Contains(r.Reason, "malformed") {
		t.Errorf("got %v (%s), want Unknown because the history is malformed", r.Verdict, r.Reason)
	}
}

func TestVerdictTextRoundTrip(t *testing.T) {
	for _, v := range []Verdict{Unknown, NotExercised, Valid, Invalid} {
		text, _ := v.MarshalText()
		var got Verdict
		if err := got.UnmarshalText(text); err != nil || got != v {
			t.Errorf("%v: marshalled as %q, unmarshalled as %v (%v); want the same verdict", v, text, got, err)
		}
	}
}
