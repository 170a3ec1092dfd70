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

// saveMark names the store that a process of the tests fills until it is killed.
const saveMark = "ZKCOORD_TEST_SAVE"

// saveForEver saves run after run, and says before each that it begins.
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

// Wherever a process is killed while it writes, each file is there whole or not at all, the links lead to a run, and the
// next process goes on in the same store.
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
		begins := fmt.Sprint("saving ", i/(kills-1)) // by the last one a run has been saved whole
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != begins; {
		}
		<-time.After(time.Duration(i) * 5 * time.Millisecond) // anywhere in the writing
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runs, err := Open(dir).Runs()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if r.Problem != "" {
				t.Errorf("%s: %s", r.ID, r.Problem)
			}
			if h, err := ReadHistory(r.Dir); err == nil {
				whole++
				if len(h.Events) != events {
					t.Errorf("%s has %d events of %d", r.ID, len(h.Events), events)
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", r.ID, err)
			}
			if !r.Judged() {
				unjudged++
			}
			if _, err := ReadPlan(filepath.Join(r.Dir, FaultsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", r.ID, err)
			}
		}
	}
	if whole == 0 || unjudged == 0 {
		t.Errorf("%d histories were whole and %d runs unjudged: nobody was killed at work", whole, unjudged)
	}
	r := result()
	s := Open(dir)
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if h, err := ReadHistory(filepath.Join(dir, "latest")); err != nil || h.Scenario != r.History.Scenario {
		t.Errorf("latest: %v", err)
	}
}

// Runs of one instant, in stores opened by themselves as two processes would, of one scenario and of several.
func TestRunsAtOnceShareNothing(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	dirs := make([]string, 24)
	for i := range dirs {
		all.Go(func() {
			r, s := result(), Open(dir)
			r.Scenario, r.Checked, r.Verdict = fmt.Sprint("lock", i%3), true, checker.Valid
			if err := s.Save(r); err != nil {
				t.Error(err)
			}
			dirs[i] = s.Dir(r)
		})
	}
	all.Wait()
	runs, err := Open(dir).Runs()
	if err != nil || len(runs) != len(dirs) {
		t.Errorf("%d runs, %v", len(runs), err)
	}
	for _, r := range runs {
		if _, err := ReadHistory(r.Dir); err != nil || !r.Judged() {
			t.Errorf("%s: %v, judged %t", r.ID, err, r.Judged())
		}
	}
	for _, link := range []string{"latest", "lock0/latest", "lock1/latest", "lock2/latest"} {
		if _, err := ReadDocument(filepath.Join(dir, link)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".latest*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// A run that began first may be stored last: latest goes on to lead to the newer one. Where it does not, since two processes
// set it at once, the run it leads to stays all the same.
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
				t.Errorf("%s leads to %s, %v", link, dir, err)
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
		t.Errorf("removed %v, %v", removed, err)
	}
	lead(older)
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("what was being deleted is still there: %v", err)
	}
}
