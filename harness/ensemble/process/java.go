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

// debianJars are the jars of Debian's packages that a server needs. Not every version needs, or
// has, all of them.
//
// ZooKeeper's own jar is the last, because its manifest names other jars in /usr/share/java,
// possibly of wrong versions. Java searches the jars in the manifest after ZooKeeper's own jar, but
// before any jar that follows ZooKeeper's own jar in the class path.
var debianJars = []string{
	"zookeeper-jute.jar", "slf4j-api.jar", "slf4j-log4j12.jar", "log4j-1.2.jar", "netty-all.jar", "netty-common.jar",
	"netty-buffer.jar", "netty-codec.jar", "netty-handler.jar", "netty-resolver.jar", "netty-transport.jar",
	"netty-transport-native-unix-common.jar", "netty-transport-native-epoll.jar", "metrics-core.jar", "snappy-java.jar",
	"commons-cli.jar", "commons-io.jar", "jackson-core.jar", "jackson-annotations.jar", "jackson-databind.jar", "zookeeper.jar",
}

// The constant `installed` is the directory of the jars of Debian's packages.
const installed = "/usr/share/java"

// The type `install` is a ZooKeeper installation on this machine.
type install struct {
	version         string // such as "3.9.6"; empty if unknown
	java, classpath string
}

// Find returns the java command and the class path of a server of the given version. An empty
// version means the default version. Find needs no root and tries these in turn:
//
//   - the release in ZOOKEEPER_HOME, if it has that version, or if version is empty;
//   - Debian's installed packages, if they have that version;
//   - Debian's packages that docker/zookeeper unpacks into the user's cache directory.
//
// If anything is missing, the error says what to install. If the version does not exist, the error
// lists the versions that exist.
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
		if home := os.Getenv("JAVA_HOME"); home != "" {
			return install{}, fmt.Errorf("JAVA_HOME=%s: %w: correct or unset it", home, err)
		}
		return install{}, fmt.Errorf("%w: install Java (on Debian: apt-get install "+
			"openjdk-17-jre-headless), or set JAVA_HOME to a Java runtime", err)
	}
	if home := os.Getenv("ZOOKEEPER_HOME"); home != "" {
		jars, have := release(home)
		if len(jars) == 0 {
			return install{}, fmt.Errorf("found no lib/zookeeper-*.jar in ZOOKEEPER_HOME=%s: "+
				"set it to an unpacked release, or unset it to download one", home)
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
			return install{}, fmt.Errorf("%w "+
				"(or set ZOOKEEPER_HOME to an unpacked release of that version)", err)
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

// The function `release` returns the jars of an unpacked release, in the order of a class path, and
// the version of the release.
func release(home string) (jars []string, version string) {
	lib := filepath.Join(home, "lib")
	if len(glob(lib, "zookeeper-*.jar")) == 0 {
		return nil, ""
	}
	jars = glob(lib, "*.jar")
	// ZooKeeper's own jar is the last, see debianJars.
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

// versionIn returns the version of the server whose jar is in a directory. The result is empty if
// the directory has no such jar.
func versionIn(dir string) string {
	for _, jar := range glob(dir, "zookeeper-[0-9]*.jar") {
		return server.FindStringSubmatch(filepath.Base(jar))[1]
	}
	return ""
}
