package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
)

// Regression: the manifest of ZooKeeper's jar in Debian names other jars in /usr/share/java. If
// ZooKeeper's jar came first in the class path, Java used those other jars instead of the jars of
// the release. The versions did not fit together, and the server did not start.
func TestAReleaseIsTakenWithItsOwnJarsFirst(t *testing.T) {
	_, err := exec.LookPath("java")
	needs.Installed(t, err)
	home := t.TempDir()
	for _, jar := range []string{"netty-all.jar", "zookeeper-3.9.6.jar", "zookeeper-jute-3.9.6.jar", "zzz.jar"} {
		path := filepath.Join(home, "lib", jar)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ZOOKEEPER_HOME", home)
	for _, version := range []string{"", "3.9.6", "3.9"} {
		_, classpath, err := Find(t.Context(), version)
		if err != nil {
			t.Fatalf("version %q: %v", version, err)
		}
		var names []string
		for _, path := range strings.Split(classpath, ":") {
			names = append(names, filepath.Base(path))
		}
		want := []string{"netty-all.jar", "zookeeper-jute-3.9.6.jar", "zzz.jar", "zookeeper-3.9.6.jar"}
		if !slices.Equal(names, want) {
			t.Errorf("version %q: got class path %q, want %q", version, names, want)
		}
	}
	t.Setenv("ZOOKEEPER_HOME", t.TempDir())
	if _, _, err := Find(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "ZOOKEEPER_HOME=") {
		t.Errorf("ZOOKEEPER_HOME without ZooKeeper: got error %v, want one that contains %q", err, "ZOOKEEPER_HOME=")
	}
}
