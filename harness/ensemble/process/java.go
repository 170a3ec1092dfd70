package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debianJars are what a server needs of Debian's packages, beside each other in /usr/share/java.
var debianJars = []string{
	"zookeeper.jar", "zookeeper-jute.jar", "slf4j-api.jar", "slf4j-log4j12.jar", "log4j-1.2.jar", "netty-all.jar",
	"metrics-core.jar", "snappy-java.jar", "commons-cli.jar",
}

const hint = "install ZooKeeper (on Debian: apt-get install zookeeper openjdk-17-jre-headless), or set ZOOKEEPER_HOME to an" +
	" unpacked release and JAVA_HOME to a Java runtime"

// Find returns the java command and the class path of a server: of ZOOKEEPER_HOME if that is set, else of Debian's
// packages. If either is missing the error says what to install.
func Find() (java, classpath string, err error) {
	java = "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	if java, err = exec.LookPath(java); err != nil {
		return "", "", fmt.Errorf("there is no java: %s", hint)
	}
	if home := os.Getenv("ZOOKEEPER_HOME"); home != "" {
		jars, _ := filepath.Glob(filepath.Join(home, "lib", "zookeeper-*.jar"))
		if len(jars) == 0 {
			return "", "", fmt.Errorf("ZOOKEEPER_HOME=%s has no lib/zookeeper-*.jar: %s", home, hint)
		}
		return java, filepath.Join(home, "lib", "*"), nil
	}
	var paths []string
	for _, jar := range debianJars {
		path := filepath.Join("/usr/share/java", jar)
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path)
		} else if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(jar, "zookeeper") {
			return "", "", fmt.Errorf("there is no %s: %s", path, hint)
		}
	}
	return java, strings.Join(paths, ":"), nil
}
