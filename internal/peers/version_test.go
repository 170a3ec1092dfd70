package peers

import (
	"strings"
	"testing"
)

func TestUnknownLibraryVersionListsTheKnownOnes(t *testing.T) {
	for _, l := range []Library{Curator, Kazoo} {
		t.Setenv(l.VersionVariable(), "0.1")
		err := l.Installed()
		if err == nil || !strings.Contains(err.Error(), l.VersionVariable()+"=0.1") || !strings.Contains(err.Error(), "curator-5.7.1") {
			t.Errorf("%v: got %v, want an error that lists the known versions", l, err)
		}
	}
	if path := ClassPath(); path != "" {
		t.Errorf("class path of an unknown version: got %s, want none", path)
	}
}
