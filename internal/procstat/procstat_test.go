package procstat

import (
	"slices"
	"testing"
)

func TestFieldsFollowAnyName(t *testing.T) {
	for text, want := range map[string][]string{
		"7 (sh) S 1 7\n":         {"S", "1", "7"},
		"7 (a) R (b) T) S 1 7\n": {"S", "1", "7"},
		"7 () Z 1 7\n":           {"Z", "1", "7"},
		"7 (a\nb) D 1 7\n":       {"D", "1", "7"},
		"":                       nil,
	} {
		if got := Fields([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
