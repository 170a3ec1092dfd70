package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// Document is the schema of result.json, and of what the command line prints with --json.
type Document struct {
	Version int `json:"version"`
	*harness.Result
	Results  []Row             `json:"results"`
	Faults   string            `json:"faults,omitempty"` // how often each fault was injected
	Versions map[string]string `json:"versions,omitempty"`
	Dir      string            `json:"dir,omitempty"` // directory of the stored run; empty in result.json
}

// Row is the verdict on one property. Proof has the events that prove the verdict, as lines of
// history.txt with their indexes.
type Row struct {
	checker.Result
	Proof []string `json:"proof,omitempty"`
}

// NewDocument returns the document of a run. dir is where the run is stored, or empty.
func NewDocument(r *harness.Result, dir string) Document {
	d := Document{Version: 1, Result: r, Results: []Row{}, Faults: r.Began(), Versions: Versions(), Dir: dir}
	for _, one := range r.Results {
		row := Row{Result: one}
		for _, e := range one.Events {
			row.Proof = append(row.Proof, fmt.Sprintf("#%d %v", e.Index, e))
		}
		d.Results = append(d.Results, row)
	}
	return d
}

// ReadDocument reads the result of a run from its directory. If the run ended before it was judged,
// the error matches fs.ErrNotExist.
func ReadDocument(dir string) (Document, error) {
	d := Document{Result: &harness.Result{}}
	data, err := os.ReadFile(filepath.Join(dir, ResultFile))
	if err != nil {
		return d, fmt.Errorf("report: %w", err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("report: %s: %w", filepath.Join(dir, ResultFile), err)
	}
	d.Dir = dir
	for _, row := range d.Results {
		d.Result.Results = append(d.Result.Results, row.Result)
	}
	return d, nil
}

// Versions returns the versions of the program, of Go and of the ZooKeeper client, if the build has
// them.
func Versions() map[string]string {
	v := map[string]string{"go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v["zkcoord"] = info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v["commit"] = s.Value[:min(12, len(s.Value))]
		}
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/go-zookeeper/zk" {
			v["go-zookeeper"] = m.Version
		}
	}
	return v
}
