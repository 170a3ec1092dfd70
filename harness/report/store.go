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
	TestFile    = "test.go.txt" // not the name of a Go file, because a store may be inside a module
	PictureFile = "porcupine.html"
	LeasesFile  = "lease.jsonl"
)

// Store is a directory of runs. It is a [harness.Store]. Several runs may share it.
type Store struct {
	dir string

	mu   sync.Mutex
	dirs map[string]string // result of the function `key` for a run -> the run's directory
}

// Open returns the store in dir, which need not exist yet.
func Open(dir string) *Store { return &Store{dir: dir, dirs: make(map[string]string)} }

// Dir returns the directory of the run of r, or an empty string before its first Save.
func (s *Store) Dir(r *harness.Result) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirs[key(r)]
}

func key(r *harness.Result) string { return r.Scenario + "/" + r.Start.Format(time.RFC3339Nano) }

// Save writes what is known about the run: the history at the first call, and the rest at the call
// with the verdict. If a write fails, Save writes as much as possible, stores the run again in a
// directory for temporary files, and returns the joined errors. Dir returns that directory from
// then on.
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
		if r.Leases != nil && len(r.Leases.Events) > 0 {
			put(LeasesFile, r.Leases.Write)
		}
		if len(errs) == 0 {
			errs = append(errs, s.link(dir))
		}
	}
	if r.Checked {
		for node, log := range r.Logs {
			put(fmt.Sprintf("node%d.log", node), asText(string(log)))
		}
		for number, log := range r.ClientLogs {
			put(fmt.Sprintf("client%d.log", number), asText(string(log)))
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

// failingSlice returns the operations of a violation, for a picture by porcupine. It returns false
// if there is no violation, if the violation has more than 50 operations, or if porcupine does not
// confirm it within 5 s. A minimized run usually has few enough operations.
func failingSlice(r *harness.Result) (checker.Slice, bool) {
	const most, within = 50, 5 * time.Second
	for _, one := range r.Results {
		if slice, ok := checker.FailingSlice(r.History, one, most, within); ok {
			return slice, true
		}
	}
	return checker.Slice{}, false
}

// stampLayout is the format of the time in the name of a run's directory.
const stampLayout = "20060102T150405.000Z"

// The method `directory` returns the run's directory and creates it if needed. Mkdir fails if a
// directory with the name exists, so two runs that start in the same millisecond get two
// directories.
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

// fileName returns the name of a scenario's directory. Such a name cannot lead out of the store.
func fileName(scenario string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == 0 {
			return '_'
		}
		return r
	}, strings.TrimLeft(scenario, "."))
}

// The method `link` makes both links named latest point to dir, unless they point to a run that
// began later. It replaces a link by a rename, so that the link is never missing. On Windows there
// are no links.
func (s *Store) link(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // only administrators can create links there, and a rename does not replace one
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
		fresh := filepath.Join(at, ".latest-"+filepath.Base(filepath.Dir(dir))+"-"+filepath.Base(dir)) // no other run has this name
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

// writeWhole writes a file completely or not at all.
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

// ReadHistory reads a history from a file, or from the directory of a run.
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
