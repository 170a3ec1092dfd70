package process

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// debianJars are what a server needs of Debian's packages. Not each version needs, or has, all of them.
//
// ZooKeeper's own is the last: its manifest names the others in /usr/share/java, which would come before all that follow it
// here, and those may be of another version.
var debianJars = []string{
	"zookeeper-jute.jar", "slf4j-api.jar", "slf4j-log4j12.jar", "log4j-1.2.jar", "netty-all.jar", "netty-common.jar",
	"netty-buffer.jar", "netty-codec.jar", "netty-handler.jar", "netty-resolver.jar", "netty-transport.jar",
	"netty-transport-native-unix-common.jar", "netty-transport-native-epoll.jar", "metrics-core.jar", "snappy-java.jar",
	"commons-cli.jar", "commons-io.jar", "jackson-core.jar", "jackson-annotations.jar", "jackson-databind.jar", "zookeeper.jar",
}

// installed is where Debian's packages put jars.
const installed = "/usr/share/java"

const hint = "on Debian: apt-get install openjdk-17-jre-headless, and ZooKeeper comes by itself; else set ZOOKEEPER_HOME to an" +
	" unpacked release and JAVA_HOME to a Java runtime"

// install is a ZooKeeper on this machine.
type install struct {
	version         string // such as "3.9.6", as far as it is known
	java, classpath string
}

// Find returns the java command and the class path of a server of that version. It is that of ZOOKEEPER_HOME, if that is set
// and of the version, or no version is named; else of Debian's packages, the installed ones if they are of the version, or
// those that docker/zookeeper unpacks into the cache directory of the user, without root. No version is the default one.
//
// If anything is missing the error says what to install, and of a version that there is not, which there are.
func Find(ctx context.Context, version string) (java, classpath string, err error) {
	found, err := find(ctx, version, nil)
	return found.java, found.classpath, err
}

func find(ctx context.Context, version string, progress io.Writer) (found install, err error) {
	found.java = "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		found.java = filepath.Join(home, "bin", "java")
	}
	if found.java, err = exec.LookPath(found.java); err != nil {
		return install{}, fmt.Errorf("there is no java: %s", hint)
	}
	if home := os.Getenv("ZOOKEEPER_HOME"); home != "" {
		jars, have := release(home)
		if len(jars) == 0 {
			return install{}, fmt.Errorf("ZOOKEEPER_HOME=%s has no lib/zookeeper-*.jar: %s", home, hint)
		}
		if version == "" || zkversion.Is(have, version) {
			found.version, found.classpath = cmp.Or(version, have), strings.Join(jars, ":")
			return found, nil
		}
	}
	found.version = cmp.Or(version, zkversion.Default)
	dir := installed
	if !zkversion.Is(versionIn(installed), found.version) {
		root, err := zookeeper.Unpack(ctx, "zookeeper-"+found.version, progress)
		if err != nil {
			return install{}, fmt.Errorf("ZooKeeper %s: %w (%s)", found.version, err, hint)
		}
		dir = filepath.Join(root, installed)
	}
	var paths []string
	for _, jar := range debianJars {
		if path := filepath.Join(dir, jar); exists(path) {
			paths = append(paths, path)
		}
	}
	found.classpath = strings.Join(paths, ":")
	return found, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// release returns the jars of an unpacked release in the order of a class path, and its version.
func release(home string) (jars []string, version string) {
	lib := filepath.Join(home, "lib")
	if found, _ := filepath.Glob(filepath.Join(lib, "zookeeper-*.jar")); len(found) == 0 {
		return nil, ""
	}
	jars, _ = filepath.Glob(filepath.Join(lib, "*.jar"))
	// ZooKeeper's own is the last, see debianJars.
	slices.SortStableFunc(jars, func(a, b string) int { return rank(a) - rank(b) })
	return jars, versionIn(lib)
}

func rank(path string) int {
	if server.MatchString(filepath.Base(path)) {
		return 1
	}
	return 0
}

var server = regexp.MustCompile(`^zookeeper-([0-9].*)\.jar$`)

// versionIn returns the version of the server whose jar is in a directory, empty for none.
func versionIn(dir string) string {
	jars, _ := filepath.Glob(filepath.Join(dir, "zookeeper-[0-9]*.jar"))
	for _, jar := range jars {
		return server.FindStringSubmatch(filepath.Base(jar))[1]
	}
	return ""
}
