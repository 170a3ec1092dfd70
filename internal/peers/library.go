package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// A Library is a lock library for which this package has clients.
type Library int

// The libraries.
const (
	Curator Library = iota // Java, Apache Curator
	Kazoo                  // Python, kazoo
	Zkcoord                // the packages of this module, in a separate process
	// ZKLock is go-zookeeper's zk.Lock, in this process. zk.Lock does not report a loss, but
	// go-zookeeper reports a lost connection and an expired session. The client of this package
	// treats both as losses. A program that uses zk.Lock cannot do better with these reports.
	ZKLock
	// ZKLockUntilExpired treats only an expired session as a loss.
	ZKLockUntilExpired
)

// String returns the library's name.
func (l Library) String() string {
	return [...]string{"curator", "kazoo", "zkcoord", "zk-lock", "zk-lock-until-expired"}[l]
}

// Python is Debian's own Python, which finds Debian's packages.
const Python = "/usr/bin/python3"

const (
	jars    = "/usr/share/java"
	modules = "/usr/lib/python3/dist-packages"
)

// VersionVariable returns the name of the environment variable that selects the version of the
// library, such as "5.7.1". That version is unpacked from Debian's packages into the user's cache
// directory. Without the variable, the installed library runs.
func (l Library) VersionVariable() string { return "ZKCOORD_" + strings.ToUpper(l.String()) }

// The method `root` returns the directory that contains Debian's packages of the library: "/" or a
// directory in the cache.
func (l Library) root() (string, error) {
	version := os.Getenv(l.VersionVariable())
	if version == "" {
		return "/", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), unpackTimeout)
	defer cancel()
	dir, err := zookeeper.Unpack(ctx, l.String()+"-"+version, nil)
	if err != nil {
		return "", fmt.Errorf("%s=%s: %w", l.VersionVariable(), version, err)
	}
	return dir, nil
}

const unpackTimeout = 2 * time.Minute

// Installed returns nil if clients of the library can run here. Otherwise the returned error says
// what to install.
func (l Library) Installed() error {
	if l == ZKLock || l == ZKLockUntilExpired {
		return nil
	}
	if err := procs.Able(); err != nil || l == Zkcoord {
		return err
	}
	root, err := l.root()
	if err != nil {
		return err
	}
	if l == Kazoo {
		if _, err := os.Stat(filepath.Join(root, modules, "kazoo")); err != nil {
			return fmt.Errorf("no kazoo: %w (on Debian: apt-get install python3-kazoo)", err)
		}
		return nil
	}
	if _, err := exec.LookPath("javac"); err != nil {
		return fmt.Errorf("no Java compiler: %w (on Debian: apt-get install openjdk-17-jdk-headless)", err)
	}
	if _, err := os.Stat(filepath.Join(root, jars, "curator-recipes.jar")); err != nil {
		return fmt.Errorf("no Curator: %w (on Debian: apt-get install libcurator-recipes-java zookeeper)", err)
	}
	return nil
}

// ClassPath returns the class path of Curator and its dependencies, including ZooKeeper's own
// client. Jars that are not installed are left out. The class path is empty if the version in
// VersionVariable cannot be unpacked.
//
// If you add other jars of Debian, put them after this class path. Their manifests name jars in
// /usr/share/java, which may have other versions than the jars of this class path. If the added
// jars came first, Java would prefer those other versions.
func ClassPath() string {
	root, err := Curator.root()
	if err != nil {
		return ""
	}
	var list []string
	for _, pattern := range []string{"slf4j-api.jar", "slf4j-nop.jar", "failureaccess.jar", "guava.jar", "snappy-java.jar", "metrics-core.jar",
		"jackson-core.jar", "jackson-annotations.jar", "jackson-databind.jar", "netty-*.jar", "zookeeper-jute.jar", "zookeeper.jar",
		"curator-client.jar", "curator-framework.jar", "curator-recipes.jar"} {
		found, _ := filepath.Glob(filepath.Join(root, jars, pattern))
		list = append(list, found...)
	}
	return strings.Join(list, ":")
}
