package postgres

import "testing"

// Regression: 9.6 was taken for newer than 17, because the names were compared as text.
func TestNewestVersion(t *testing.T) {
	paths := []string{"/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/17/bin/initdb", "/usr/lib/postgresql/9.6/bin/initdb"}
	if got := newest(paths); got != paths[1] {
		t.Errorf("got %s, want %s", got, paths[1])
	}
}
