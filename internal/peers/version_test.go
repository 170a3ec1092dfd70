package peers

import (
	"strings"
	"testing"
)

func TestAnUnknownVersionOfALibraryListsThoseThereAre(t *testing.T) {
	for _, l := range []Library{Curator, Kazoo} {
		t.Setenv(l.VersionVariable(), "0.1")
		err := l.Installed()
		if err == nil || !strings.Contains(err.Error(), l.VersionVariable()+"=0.1") || !strings.Contains(err.Error(), "curator-5.7.1") {
			t.Errorf("%v: %v", l, err)
		}
	}
	if path := ClassPath(); path != "" {
		t.Errorf("a class path of a version that there is not: %s", path)
	}
}
