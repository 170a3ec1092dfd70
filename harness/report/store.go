package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// Names of the files of a run.
const (
	HistoryFile = "history.jsonl"
	TextFile    = "history.txt"
	SummaryFile = "summary.txt"
	ResultFile  = "result.json"
	FaultsFile  = "faults.json"
	JUnitFile   = "junit.xml"
	TestFile    = "test.go.txt" // no name of a Go file: a store may lie in a module
	PictureFile = "porcupine.html"
)

// Store is a directory of runs. It is a [harness.Store] for one run at a time and
// may be shared by several.
type Store struct {
	dir string

	mu   sync.Mutex
	dirs map[string]string // run -> its directory
}

// Open returns the store in dir, which need not exist yet.
func Open(dir string) *Store { return &Store{dir: dir, dirs: make(map[string]string)} }

// Dir is the directory of the run that r tells of; empty before its first Save.
func (s *Store) Dir(r *harness.Result) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirs[key(r)]
}

func key(r *harness.Result) string { return r.Scenario + "/" + r.Start.Format(time.RFC3339Nano) }

// Save writes what is known of the run. It writes the history at the first call and
// what depends on the verdict once there is one. As much as possible is written
// when something fails, and then the run is stored once more, in a directory for
// temporary files, which Dir is from then on; the errors are joined.
func (s *Store) Save(r *harness.Result) error {
	err := s.save(r)
	if err != nil {
		err = errors.Join(err, s.elsewhere(r))
	}
	return err
}

func (s *Store) save(r *harness.Result) error {
	dir, fresh, err := s.directory(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var errs []error
	put := func(name string, write func(io.Writer) error) {
		if err := writeWhole(filepath.Join(dir, name), write); err != nil {
			errs = append(errs, fmt.Errorf("report: %w", err))
		}
	}
	if fresh {
		put(HistoryFile, r.History.WriteJSON)
		put(FaultsFile, asJSON(r.Plan))
		put(TextFile, r.History.WriteText)
		if len(errs) == 0 {
			errs = append(errs, s.link(dir))
		}
	}
	if r.Checked {
		for node, log := range r.Logs {
			put(fmt.Sprintf("node%d.log", node), asText(string(log)))
		}
		put(SummaryFile, asText(r.Summary()))
		put(JUnitFile, junit(r))
		if test := violationTest(r); test != nil {
			put(TestFile, test)
		}
		if slice, ok := failingSlice(r); ok {
			put(PictureFile, slice.WritePicture)
		}
		put(HTMLFile, func(w io.Writer) error { return WriteHTML(w, r) })
		put(ResultFile, asJSON(NewDocument(r, "")))
	}
	return errors.Join(errs...)
}

// failingSlice returns what porcupine can draw of a violation, if it is small enough.
// A run made small is.
func failingSlice(r *harness.Result) (checker.Slice, bool) {
	const most, within = 50, 5 * time.Second
	for _, one := range r.Results {
		if slice, ok := checker.FailingSlice(r.History, one, most, within); ok {
			return slice, true
		}
	}
	return checker.Slice{}, false
}

// stampLayout is that of the times that name runs.
const stampLayout = "20060102T150405.000Z"

// directory returns the run's directory, made if it is fresh. Mkdir fails if the
// name is taken, so two runs that start in one millisecond get two.
func (s *Store) directory(r *harness.Result) (dir string, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dir, known := s.dirs[key(r)]; known {
		return dir, false, nil
	}
	parent := filepath.Join(s.dir, fileName(r.Scenario))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", false, err
	}
	stamp := r.Start.Format(stampLayout)
	for n := 1; ; n++ {
		dir = filepath.Join(parent, stamp)
		if n > 1 {
			dir += fmt.Sprintf("-%d", n)
		}
		if err = os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err == nil {
		s.dirs[key(r)] = dir
	}
	return dir, true, err
}

// fileName keeps a scenario's name from leaving the store.
func fileName(scenario string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == 0 {
			return '_'
		}
		return r
	}, strings.TrimLeft(scenario, "."))
}

// link points both links named latest to dir, unless they lead to a run that began
// later. A link is replaced by a rename, so that it never is missing. On Windows there are none.
func (s *Store) link(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // which lets administrators alone make links, and does not replace them by a rename
	}
	for _, at := range []string{filepath.Dir(dir), s.dir} {
		target, err := filepath.Rel(at, dir)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		link := filepath.Join(at, "latest")
		if newest, err := filepath.EvalSymlinks(link); err == nil && filepath.Base(newest) > filepath.Base(dir) {
			continue
		}
		fresh := filepath.Join(at, ".latest-"+filepath.Base(filepath.Dir(dir))+"-"+filepath.Base(dir)) // nobody else's
		if err := os.Symlink(target, fresh); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := os.Rename(fresh, link); err != nil {
			os.Remove(fresh)
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// writeWhole writes a file so that it is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func asText(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func asJSON(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		return out.Encode(v)
	}
}

// ReadHistory reads the history of a run: of the directory of one, or a file.
func ReadHistory(path string) (*history.History, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, HistoryFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer f.Close()
	h, err := history.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return h, nil
}

// ReadPlan reads a plan of faults from a file such as faults.json.
func ReadPlan(path string) (harness.Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	plan := harness.Plan{}
	if err := in.Decode(&plan); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return plan, nil
}
