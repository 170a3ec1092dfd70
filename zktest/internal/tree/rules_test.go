package tree

import (
	"reflect"
	"slices"
	"testing"
)

func TestRulesOfReleases(t *testing.T) {
	names := func(a, b string) (names []string) {
		ra, errA := RulesOf(a)
		rb, errB := RulesOf(b)
		if errA != nil || errB != nil {
			t.Fatalf("rules of %s and %s: got errors %v and %v, want none", a, b, errA, errB)
		}
		for _, c := range Between(ra, rb) {
			names = append(names, c.Name)
		}
		return names
	}
	for _, c := range []struct {
		a, b string
		want []string
	}{
		{"3.8.0", "3.8.3", nil},
		{"3.8.3", "3.8.4", []string{"open-exists"}},
		{"3.8.4", "3.8.5", []string{"check-alone"}},
		{"3.9.1", "3.9.2", []string{"open-exists"}},
		{"3.9.2", "3.9.3", []string{"check-alone"}},
		{"3.9.3", "3.9.4", []string{"no-ipv6"}},
		{"3.9.5", "3.9.6", []string{"clients-delete", "open-catch-up"}},
		{"3.8.6", "3.9.3", []string{"no-event-zxid", "one-watch-mode", "session-first"}},
		{"3.9.6", "3.9.6~no-ipv6~open-exists", []string{"no-ipv6", "open-exists"}},
	} {
		if got := names(c.a, c.b); !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: got %q, want %q", c.a, c.b, got, c.want)
		}
	}
	for _, release := range []string{"", "3.9", "3.7.2", "3.10.0", "3.9.7", "3.8.7", "4.0.0", "3.9.3-beta", "3.9.-1", "3.09.3"} {
		if _, err := RulesOf(release); err == nil {
			t.Errorf("release %q was accepted, want an error", release)
		}
	}
}

// The newest release follows none of the older rules, and the table Changes has one entry for each
// rule.
func TestEveryRuleHasItsChange(t *testing.T) {
	newest, err := RulesOf(Newest["3.9"])
	if err != nil || newest != (Rules{}) {
		t.Errorf("rules of the newest release: got %+v, error %v; want none", newest, err)
	}
	if got, want := len(Changes), reflect.TypeFor[Rules]().NumField(); got != want {
		t.Errorf("got %d changes for %d rules, want the same number", got, want)
	}
	all := map[*bool]bool{}
	var rules Rules
	for _, c := range Changes {
		all[c.rule(&rules)] = true
	}
	if len(all) != len(Changes) {
		t.Errorf("%d changes refer to %d rules, want the same number", len(Changes), len(all))
	}
}
