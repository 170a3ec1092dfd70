package tree

import (
	"fmt"
	"slices"
	"strings"
)

// Rules are the differences between releases of ZooKeeper. A field that is true
// selects the behavior of older releases. The zero value is the newest release
// of 3.9.
type Rules struct {
	OpenExists    bool
	CheckAlone    bool
	NoIPv6        bool
	NoEventZxid   bool
	OneWatchMode  bool
	OpenCatchUp   bool
	ClientsDelete bool
	SessionFirst  bool
}

// A Change is one difference between releases: a rule of older releases, and the first releases of
// 3.8 and 3.9 that no longer follow this rule.
type Change struct {
	Name       string
	In38, In39 int // patch numbers of these releases; 1000 (the constant `never`) if there is none
	What       string
	rule       func(*Rules) *bool
}

const never = 1000

// Changes has one Change for each rule, sorted by name.
var Changes = []Change{
	{"check-alone", 5, 3, "check is served outside of a multi (ZOOKEEPER-2623)", func(r *Rules) *bool { return &r.CheckAlone }},
	{"clients-delete", never, 6, "a client may send deleteContainer", func(r *Rules) *bool { return &r.ClientsDelete }},
	{"no-event-zxid", never, 0, "events do not carry their zxid (ZOOKEEPER-4655)", func(r *Rules) *bool { return &r.NoEventZxid }},
	{"no-ipv6", never, 4, "an ACL has only IPv4 addresses (ZOOKEEPER-4240)", func(r *Rules) *bool { return &r.NoIPv6 }},
	{"one-watch-mode", never, 0, "a watch has one mode, and is removed as a whole (ZOOKEEPER-4466, -4471, -4472)", func(r *Rules) *bool { return &r.OneWatchMode }},
	{"open-catch-up", never, 6, "setWatches also notifies a client that may not read the node", func(r *Rules) *bool { return &r.OpenCatchUp }},
	{"open-exists", 4, 2, "exists needs no permission (ZOOKEEPER-2590)", func(r *Rules) *bool { return &r.OpenExists }},
	{"session-first", never, 0, "the session of a set, a delete or a check is judged before the request is decoded", func(r *Rules) *bool { return &r.SessionFirst }},
}

// Newest has the newest supported release of each line.
var Newest = map[string]string{"3.8": "3.8.6", "3.9": "3.9.6"}

// RulesOf returns the rules of a release such as 3.8.0, which belongs to the line 3.8. The map
// [Newest] has the newest supported release of each line. RulesOf returns an error if the line is
// not in the map, or if the given release is newer than the one in the map.
//
// Tests can append names of elements of [Changes] to the release, for example "3.8.0~no-ipv6". For
// the rule of each named element, RulesOf then returns the opposite of the release's own value.
func RulesOf(release string) (rules Rules, err error) {
	release, others, _ := strings.Cut(release, "~")
	var minor, patch, newest int
	if _, err := fmt.Sscanf(release, "3.%d.%d", &minor, &patch); err != nil || fmt.Sprintf("3.%d.%d", minor, patch) != release {
		return Rules{}, fmt.Errorf("%q is not a release such as 3.9.3", release)
	}
	if _, err := fmt.Sscanf(Newest[fmt.Sprintf("3.%d", minor)], "3.%d.%d", new(int), &newest); err != nil || patch < 0 || patch > newest {
		return Rules{}, fmt.Errorf("release %s is not supported: must be 3.8.0 to %s or 3.9.0 to %s", release, Newest["3.8"], Newest["3.9"])
	}
	for _, c := range Changes {
		since := c.In39
		if minor == 8 {
			since = c.In38
		}
		*c.rule(&rules) = (patch < since) != slices.Contains(strings.Split(others, "~"), c.Name)
	}
	return rules, nil
}

// Between returns the changes between two sets of rules.
func Between(a, b Rules) (changes []Change) {
	for _, c := range Changes {
		if *c.rule(&a) != *c.rule(&b) {
			changes = append(changes, c)
		}
	}
	return changes
}
