package zookeeper

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

func TestScriptsKnowTheVersions(t *testing.T) {
	text, err := files.ReadFile("packages")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if version, ok := strings.CutPrefix(line, "zookeeper-"); ok {
			names = append(names, strings.Fields(version)[0])
		}
	}
	if !slices.Equal(names, zkversion.Known()) {
		t.Errorf("the file packages has ZooKeeper %q, want %q", names, zkversion.Known())
	}
	for name, want := range map[string]string{"image.sh": "standard=" + zkversion.Default + "\n", "Dockerfile": "BASE=zookeeper:" + zkversion.Default + "\n"} {
		if text, err := files.ReadFile(name); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not contain %q (%v)", name, want, err)
		}
	}
}

func TestAnUnknownNameListsThoseThereAre(t *testing.T) {
	for _, name := range []string{"zookeeper-3.7", "zookeeper-3.8 bookworm", "", "zookeeper-.*"} {
		_, err := Unpack(t.Context(), name, t.Output())
		if err == nil || !strings.Contains(err.Error(), "zookeeper-3.9.6") || strings.Contains(err.Error(), "#") {
			t.Errorf("%q: got error %v, want one that lists the known names", name, err)
		}
	}
}

// Without access to Debian's packages, Unpack fails. It unpacks no part of a package, and no
// package without Debian's signature.
func TestNothingUnpacksWithoutANetwork(t *testing.T) {
	_, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg") // only Debian has this file
	needs.Installed(t, err)
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("http_proxy", "http://127.0.0.1:1") // where nothing listens
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	_, err = Unpack(t.Context(), "zookeeper-3.9.3", t.Output())
	if err == nil || !strings.Contains(err.Error(), "network") || !strings.Contains(err.Error(), "trixie") {
		t.Errorf("got error %v, want one about the network and trixie", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "zkcoord", "*-*")); len(left) > 0 {
		t.Errorf("Unpack left %v, want nothing", left)
	}
}
