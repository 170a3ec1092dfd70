// Package kinds names the kinds of ensembles for flags. It links all of them in.
package kinds

import (
	"errors"
	"fmt"
	"io"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
)

// Names returns the kinds that Starter knows.
func Names() []string { return []string{"embedded", "container", "process"} }

// Starter returns what starts ensembles of that kind, of that version of
// ZooKeeper unless the run needs another one; empty is the default. Progress
// gets a line for each step that takes long; nil is no progress. The nodes' logs
// are kept in logDir, unless that is empty.
func Starter(kind, version, logDir string, progress io.Writer) (ensemble.Starter, error) {
	config := ensemble.Config{LogDir: logDir, Version: version}
	if kind == "embedded" && version != "" {
		return nil, errors.New("--zookeeper is for real servers: the embedded ensemble is a model of them")
	}
	if _, err := config.Complete(); err != nil {
		return nil, err
	}
	switch kind {
	case "embedded":
		return embedded.Starter(embedded.Options{}), nil
	case "container":
		return container.Starter(container.Options{Config: config, Progress: progress}), nil
	case "process":
		return process.Starter(process.Options{Config: config, Progress: progress}), nil
	}
	return nil, fmt.Errorf("no ensemble of kind %q; there are %v", kind, Names())
}
