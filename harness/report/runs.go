package report

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Run is a run in a store.
type Run struct {
	ID   string // scenario/time, its place in the store
	Dir  string
	Size int64 // of its files, in bytes
	// Document is the result of the run. Document.Version is zero if the run ended before it was
	// judged, or if the run is still in progress.
	Document Document
	// Problem says why the result could not be read, although a result exists.
	Problem string
}

// Judged reports whether the run has a result that could be read.
func (r Run) Judged() bool { return r.Document.Version > 0 }

// Begun returns the start of the run according to the name of its directory, or the zero time.
func (r Run) Begun() time.Time { return begun(filepath.Base(r.Dir)) }

func begun(name string) time.Time {
	stamp, _, _ := strings.Cut(name, "-")
	t, _ := time.Parse(stampLayout, stamp)
	return t
}

// Runs returns the runs of the store, the newest first. A store that does not exist has none. If a
// run cannot be read, its Problem says why, and Runs still returns all runs. A directory whose
// name is not a time is not a run, so that Prune does not delete it.
func (s *Store) Runs() ([]Run, error) {
	scenarios, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var runs []Run
	for _, scenario := range scenarios {
		entries, err := os.ReadDir(filepath.Join(s.dir, scenario.Name()))
		if !scenario.IsDir() || err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() && !begun(e.Name()).IsZero() {
				runs = append(runs, readRun(s.dir, scenario.Name()+"/"+e.Name()))
			}
		}
	}
	slices.SortFunc(runs, func(a, b Run) int {
		return cmp.Or(cmp.Compare(filepath.Base(b.Dir), filepath.Base(a.Dir)), cmp.Compare(a.ID, b.ID))
	})
	return runs, nil
}

func readRun(store, id string) Run {
	r := Run{ID: id, Dir: filepath.Join(store, filepath.FromSlash(id))}
	document, err := ReadDocument(r.Dir)
	switch {
	case err == nil:
		r.Document = document
	case !errors.Is(err, fs.ErrNotExist):
		r.Problem = err.Error()
	}
	entries, _ := os.ReadDir(r.Dir) // a run that was deleted meanwhile has the size 0
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			r.Size += info.Size()
		}
	}
	return r
}

// Run returns the run with the given id. If there is no such run, the error matches fs.ErrNotExist.
func (s *Store) Run(id string) (Run, error) {
	if !fs.ValidPath(id) || strings.ContainsRune(id, '\\') || strings.Count(id, "/") != 1 {
		return Run{}, fmt.Errorf("report: no run %q: %w", id, fs.ErrNotExist)
	}
	dir := filepath.Join(s.dir, filepath.FromSlash(id))
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrPermission):
		return Run{}, fmt.Errorf("report: run %q: %w", id, fs.ErrPermission)
	case err != nil || !info.IsDir():
		return Run{}, fmt.Errorf("report: no run %q: %w", id, fs.ErrNotExist)
	}
	return readRun(s.dir, id), nil
}

// Keep says what Prune keeps. The zero value keeps everything.
type Keep struct {
	Age  time.Duration // keep runs that are younger than this; zero means any age
	Size int64         // of these, keep the newest ones up to this total number of bytes; zero means any size
}

// underWay is the age from which a run without a result counts as killed.
const underWay = time.Hour

// Prune removes all runs that the argument `keep` does not keep, and returns the removed runs. It
// never removes the newest run of a scenario, the target of a link named latest, or a run that may
// still be in progress. It removes a run from the store in one step, and then deletes the run's
// files. If an earlier Prune was killed while it deleted such files, Prune deletes the remaining
// ones.
func (s *Store) Prune(keep Keep, now time.Time) (removed []Run, err error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, err
	}
	newest, latest := make(map[string]bool), make(map[string]bool)
	var errs []error
	total := int64(0)
	for _, link := range append(s.glob("*/latest"), filepath.Join(s.dir, "latest")) {
		if target, err := os.Readlink(link); err == nil {
			latest[filepath.Join(filepath.Dir(link), target)] = true
		}
	}
	for _, dir := range s.glob("*/" + goneMark + "*") {
		errs = append(errs, os.RemoveAll(dir))
	}
	for _, r := range runs {
		scenario, _, _ := strings.Cut(r.ID, "/")
		age := now.Sub(r.Begun())
		total += r.Size
		stays := !newest[scenario] || latest[r.Dir] || !r.Judged() && age < underWay ||
			(keep.Age == 0 || age < keep.Age) && (keep.Size == 0 || total <= keep.Size)
		newest[scenario] = true
		if stays {
			continue
		}
		if err := s.remove(r); err != nil {
			errs = append(errs, fmt.Errorf("report: %w", err))
			continue
		}
		total -= r.Size
		removed = append(removed, r)
	}
	return removed, errors.Join(errs...)
}

// The method `glob` returns the paths in the store that match a pattern. The path of the store
// itself is no part of the pattern, so it may contain any characters.
func (s *Store) glob(pattern string) (paths []string) {
	names, _ := fs.Glob(os.DirFS(s.dir), pattern) // all patterns are valid
	for _, name := range names {
		paths = append(paths, filepath.Join(s.dir, filepath.FromSlash(name)))
	}
	return paths
}

// The name of a run that is being deleted begins with goneMark.
const goneMark = ".gone-"

// The method `remove` first renames a run, so that it is no longer in the store, and then deletes
// its files.
func (s *Store) remove(r Run) error {
	gone := filepath.Join(filepath.Dir(r.Dir), goneMark+filepath.Base(r.Dir))
	if err := os.Rename(r.Dir, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}
