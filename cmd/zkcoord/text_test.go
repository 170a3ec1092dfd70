package main

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Regression: a line of zkcoord znode watch was cut in the middle of a character.
func TestExcerptEndsWithAWholeCharacter(t *testing.T) {
	for _, letter := range []string{"x", "ä", "本", "\U0001F600"} {
		for before := range 4 {
			text := strings.Repeat("-", before) + strings.Repeat(letter, mostShown)
			got := excerpt(text)
			shown, err := strconv.Unquote(strings.TrimSuffix(got, "..."))
			cut := len(shown) < len(text)
			if err != nil || !utf8.ValidString(shown) || !strings.HasPrefix(text, shown) || strings.ContainsRune(shown, utf8.RuneError) ||
				len(shown) > mostShown || len(shown) <= mostShown-utf8.UTFMax || cut != strings.HasSuffix(got, "...") {
				t.Errorf("%d bytes before each %q: got %s (%v), want the first %d to %d bytes, "+
					"whole characters, and ... only if text was cut",
					before, letter, got, err, mostShown-utf8.UTFMax+1, mostShown)
			}
		}
	}
	if got := excerpt("short"); got != `"short"` {
		t.Errorf("got %s, want %q", got, "short")
	}
}
