package zkversion

import (
	"slices"
	"testing"
)

func TestVersionsAreSplit(t *testing.T) {
	for list, want := range map[string][]string{
		"": {""}, "3.8": {"3.8"}, "3.8+3.9.6": {"3.8", "3.9.6"}, "3.9.5-java17": {"3.9.5-java17"},
		"3.8,3.9": nil, "3.8+": nil, "+": nil, "$(id)": nil,
	} {
		got, err := Split(list)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("Split(%q): got %q, error %v; want %q, an error: %v",
				list, got, err, want, want == nil)
		}
	}
}

func TestAServerIsOfAVersion(t *testing.T) {
	for _, c := range []struct {
		have, want string
		is         bool
	}{
		{"3.8.0", "3.8", true}, {"3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f", "3.8", true}, {"3.9.6", "3.9.6", true},
		{"3.80.1", "3.8", false}, {"3.9.6", "3.9.3", false}, {"3.9.6", "", false}, {"", "3.8", false},
	} {
		if got := Is(c.have, c.want); got != c.is {
			t.Errorf("Is(%q, %q): got %v, want %v", c.have, c.want, got, c.is)
		}
	}
}
