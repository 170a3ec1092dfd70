package report

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// saveMark is an environment variable that names the directory of a store. A test process that has
// this variable saves runs in the store until the process is killed.
const saveMark = "ZKCOORD_TEST_SAVE"

// saveForEver saves one run after another. It prints a line before it saves a run.
func saveForEver(dir string) {
	for n := 0; ; n++ {
		r := sampleResult(2000, false)
		r.Start = r.Start.Add(time.Duration(n) * time.Second)
		fmt.Println("saving", n)
		if err := Open(dir).Save(r); err != nil {
			panic(err)
		}
	}
}

// If a process is killed while it writes, each file is complete or absent, and the links point to a
// run. The next process can use the same store.
func TestKilledWhileItWritesLeavesNothingHalf(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	events := len(sampleResult(2000, false).History.Events)
	whole, unjudged := 0, 0
	const kills = 10
	for i := range kills {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), saveMark+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		begins := fmt.Sprint("saving ", i/(kills-1)) // the last process has saved one run by then
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != begins; {
		}
		<-time.After(time.Duration(i) * 5 * time.Millisecond) // each process is killed at a different moment of the write
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runs, err := Open(dir).Runs()
		if err != nil {
			t.Fatalf("list the runs after kill %d: %v", i, err)
		}
		for _, r := range runs {
			if r.Problem != "" {
				t.Errorf("run %s after kill %d: got problem %q, want none", r.ID, i, r.Problem)
			}
			if h, err := ReadHistory(r.Dir); err == nil {
				whole++
				if len(h.Events) != events {
					t.Errorf("run %s after kill %d: got %d events, want %d",
						r.ID, i, len(h.Events), events)
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("history of run %s after kill %d: got error %v, want none or %v",
					r.ID, i, err, fs.ErrNotExist)
			}
			if !r.Judged() {
				unjudged++
			}
			if _, err := ReadPlan(filepath.Join(r.Dir, FaultsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("plan of run %s after kill %d: got error %v, want none or %v",
					r.ID, i, err, fs.ErrNotExist)
			}
		}
	}
	if whole == 0 || unjudged == 0 {
		t.Errorf("got %d complete histories and %d runs without a verdict, want some of both: no process was killed while it wrote", whole, unjudged)
	}
	r := result()
	r.History.Scenario = "after the crashes"
	s := Open(dir)
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if h, err := ReadHistory(filepath.Join(dir, "latest")); err != nil {
		t.Errorf("history at the link latest: got error %v, want none", err)
	} else if h.Scenario != r.History.Scenario {
		t.Errorf("history at the link latest: got scenario %q, want %q",
			h.Scenario, r.History.Scenario)
	}
}

// In this test, several runs of three scenarios start at the same instant. Each opens the store
// separately, like a separate process.
func TestRunsAtOnceShareNothing(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	dirs := make([]string, 24)
	for i := range dirs {
		all.Go(func() {
			r, s := result(), Open(dir)
			r.Scenario, r.Checked, r.Verdict = fmt.Sprint("lock", i%3), true, checker.Valid
			if err := s.Save(r); err != nil {
				t.Errorf("save run %d: got error %v, want none", i, err)
			}
			dirs[i] = s.Dir(r)
		})
	}
	all.Wait()
	runs, err := Open(dir).Runs()
	if err != nil || len(runs) != len(dirs) {
		t.Errorf("got %d runs, error %v, want %d, one for each save", len(runs), err, len(dirs))
	}
	for _, r := range runs {
		if _, err := ReadHistory(r.Dir); err != nil || !r.Judged() {
			t.Errorf("run %s: got error %v, judged %t; want a history and judged",
				r.ID, err, r.Judged())
		}
	}
	for _, link := range []string{"latest", "lock0/latest", "lock1/latest", "lock2/latest"} {
		if _, err := ReadDocument(filepath.Join(dir, link)); err != nil {
			t.Errorf("the run at the link %s: got error %v, want none", link, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".latest*")); len(left) > 0 {
		t.Errorf("got temporary links %q, want none", left)
	}
}

// In this test an older run is stored after a newer one. The links named latest must still point to
// the newer run. Then the test makes the links point to the older run. This may also happen if two
// processes store runs at the same time. Prune must keep both runs.
func TestPruneKeepsWhereLatestLeads(t *testing.T) {
	dir := t.TempDir()
	s, older, newer := Open(dir), result(), result()
	older.Checked, newer.Checked = true, true
	newer.Start = older.Start.Add(time.Hour)
	for _, r := range []*harness.Result{newer, older} {
		if err := s.Save(r); err != nil {
			t.Fatal(err)
		}
	}
	links := []string{filepath.Join(dir, "latest"), filepath.Join(filepath.Dir(s.Dir(older)), "latest")}
	lead := func(to *harness.Result) {
		t.Helper()
		for _, link := range links {
			if dir, err := filepath.EvalSymlinks(link); err != nil || filepath.Base(dir) != filepath.Base(s.Dir(to)) {
				t.Errorf("%s: got %s, error %v; want that it points to %s",
					link, dir, err, s.Dir(to))
			}
		}
	}
	lead(newer)
	for _, link := range links {
		target, err := filepath.Rel(filepath.Dir(link), s.Dir(older))
		if err := errors.Join(err, os.Remove(link), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
	}
	half := filepath.Join(filepath.Dir(s.Dir(older)), goneMark+"20250101T000000.000Z")
	if err := os.MkdirAll(filepath.Join(half, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	removed, err := s.Prune(Keep{Age: time.Minute}, newer.Start.Add(1000*time.Hour))
	if err != nil || len(removed) != 0 {
		t.Errorf("Prune removed %v, error %v; want nothing removed", removed, err)
	}
	lead(older)
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("stat of the rest of a deleted run, %s: got error %v, want that it does not exist",
			half, err)
	}
}
