// Package kinds has the kinds of ensembles that command-line flags name. It imports the packages of
// all kinds. With the build tag nocontainer, it leaves out containers and Docker's client. The
// build of Docker's client takes a third of the time of a first build.
package kinds

import (
	"fmt"
	"io"
	"strings"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// Names returns the kinds that Starter accepts.
func Names() []string { return []string{"embedded", "container", "process"} }

// Starter returns the function that starts ensembles of the given kind. If `progress` is not nil,
// each slow step writes a line to it. If logDir is not empty, the nodes' logs are stored there.
//
// The ensembles run the given version of ZooKeeper unless the Config of a run names another
// version. An empty version means the default version. The embedded ensemble does not run
// ZooKeeper, but models the version: a release such as 3.8.0, or a line of releases such as 3.8.
func Starter(kind, version, logDir string, progress io.Writer) (ensemble.Starter, error) {
	config := ensemble.Config{LogDir: logDir, Version: version}
	if _, err := config.Complete(); err != nil {
		return nil, err
	}
	switch kind {
	case "embedded":
		if strings.Contains(version, zkversion.Mixed) {
			return nil, fmt.Errorf("--zookeeper %s: the embedded ensemble is a model of one version, so name only one", version)
		}
		return embedded.Starter(embedded.Options{Config: ensemble.Config{Version: version}}), nil
	case "container":
		return containers(config, progress)
	case "process":
		return process.Starter(process.Options{Config: config, Progress: progress}), nil
	}
	return nil, fmt.Errorf("no ensemble of kind %q; the kinds are %v", kind, Names())
}
