package report

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// The function `filled` returns a store with a valid run, an invalid run, and a run that was never
// judged. They start a minute apart.
func filled(t *testing.T) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "store"))
	for i, one := range []struct {
		scenario string
		verdict  checker.Verdict
		checked  bool
	}{{"election", checker.Valid, true}, {"lock", checker.Invalid, true}, {"lock", checker.Unknown, false}} {
		r := result()
		r.Scenario, r.Checked, r.Verdict = one.scenario, one.checked, one.verdict
		r.Start = r.Start.Add(time.Duration(i) * time.Minute)
		if one.verdict == checker.Valid {
			r.Results = r.Results[:1]
		}
		if err := s.Save(r); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func get(t *testing.T, h http.Handler, address string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, address, nil)
	r.Host = "127.0.0.1:8088"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text), w.Header()
}

const (
	validID   = "election/20260102T030405.006Z"
	invalidID = "lock/20260102T030505.006Z"
	openID    = "lock/20260102T030605.006Z"
)

func TestListIsNewestFirstAndFilters(t *testing.T) {
	h := filled(t).Handler(true)
	code, page, _ := get(t, h, "/")
	if code != http.StatusOK {
		t.Fatalf("got status %d, want %d\n%s", code, http.StatusOK, page)
	}
	at := []int{strings.Index(page, openID), strings.Index(page, invalidID), strings.Index(page, validID)}
	if at[0] < 0 || at[0] > at[1] || at[1] > at[2] {
		t.Errorf("got the runs at the positions %v, want the newest first", at)
	}
	for _, part := range []string{"lock/no-overlap: both held", "not judged", "3 of 3"} {
		if !strings.Contains(page, part) {
			t.Errorf("the list does not contain %q:\n%s", part, page)
		}
	}
	if _, page, _ := get(t, h, "/?scenario=lock&verdict=Invalid"); !strings.Contains(page, invalidID) || strings.Contains(page, openID) || strings.Contains(page, validID) {
		t.Errorf("the list with a filter: got\n%s\nwant only the run %s in it", page, invalidID)
	}
}

func TestTwoRunsSideBySide(t *testing.T) {
	h := filled(t).Handler(true)
	code, page, _ := get(t, h, "/compare?run="+validID+"&run="+invalidID)
	// Only one of the runs has lock/no-overlap, lock/no-release-after-loss and run/whole.
	if code != http.StatusOK || strings.Count(page, `class="differ"`) != 3 {
		t.Errorf("got status %d and %d rows that differ, want 200 and 3", code, strings.Count(page, `class="differ"`))
	}
	for query, want := range map[string]int{"": 400, "?run=" + validID: 400, "?run=" + validID + "&run=lock/never": 404} {
		if code, _, _ := get(t, h, "/compare"+query); code != want {
			t.Errorf("compare%s: got status %d, want %d", query, code, want)
		}
	}
}

func TestOnlyFilesOfRunsAreServed(t *testing.T) {
	s := filled(t)
	if err := os.WriteFile(filepath.Join(s.dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{PictureFile, LeasesFile, "client0.log"} {
		if err := os.WriteFile(filepath.Join(s.dir, invalidID, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := s.Handler(true)
	for path, want := range map[string]int{
		"/run/" + invalidID + "/porcupine.html": 200, "/run/" + invalidID + "/lease.jsonl": 200, "/run/" + invalidID + "/client0.log": 200,
		"/run/" + invalidID + "/report.html": 200, "/run/" + invalidID + "/history.jsonl": 200, "/run/" + invalidID + "/node1.log": 200,
		"/run/" + openID + "/report.html": 404, "/run/" + invalidID + "/secret": 404, "/run/lock/never/report.html": 404,
		"/run/lock/..%2F..%2Fsecret/report.html": 404, "/run/../secret/report.html": 404, "/run/lock/%2e%2e/history.jsonl": 404,
		"/run/lock/x/..%2f..%2fsecret": 404, "/run/" + invalidID + "/node..%2f..%2fsecret.log": 404, "/secret": 404,
	} {
		code, text, _ := get(t, h, path)
		if code == http.StatusTemporaryRedirect || code == http.StatusMovedPermanently {
			code = http.StatusNotFound // the mux cleans the path, which then matches no pattern
		}
		if code != want || strings.Contains(text, "secret") && want != 404 {
			t.Errorf("%s: got status %d, %q in the text: %t; want %d, and no secret in a file "+
				"that is served", path, code, "secret", strings.Contains(text, "secret"), want)
		}
	}
	_, _, header := get(t, h, "/run/"+invalidID+"/history.jsonl")
	if got := header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("a history: got Content-Disposition %q, want attachment", got)
	}
}

func TestForeignHostNamesAreRefusedOnLoopback(t *testing.T) {
	s := filled(t)
	for host, want := range map[string]int{"localhost:1": 200, "127.0.0.1": 200, "[::1]:80": 200, "evil.example:8088": 403, "127.0.0.1.evil.example": 403} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler(true).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: got status %d, want %d", host, w.Code, want)
		}
	}
}

// Prune removes nothing from a directory that is not a store, such as the root of a checkout that
// was named by mistake.
func TestPruneLeavesWhatIsNoRun(t *testing.T) {
	s := Open(t.TempDir())
	for _, name := range []string{"docs/decisions", "docs/pictures", "docs/2026", ".git/hooks", ".git/objects"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := s.Prune(Keep{Age: time.Hour, Size: 1}, time.Now()); err != nil || len(removed) != 0 {
		t.Errorf("Prune removed %v, error %v; want nothing removed", removed, err)
	}
}

func TestPruneKeepsTheNewestAndWhatMayBeUnderWay(t *testing.T) {
	s := filled(t)
	for range 3 { // older runs of the same scenario
		r := result()
		r.Checked = true
		if err := s.Save(&harness.Result{Scenario: r.Scenario, Start: r.Start.Add(-time.Hour), History: r.History, Checked: true, Verdict: checker.Valid}); err != nil {
			t.Fatal(err)
		}
		s.dirs = map[string]string{} // like a new process
	}
	soon := result().Start.Add(3 * time.Minute)
	if removed, err := s.Prune(Keep{}, soon); err != nil || len(removed) != 0 {
		t.Errorf("without a limit: removed %d runs, error %v, want none", len(removed), err)
	}
	removed, err := s.Prune(Keep{Age: 30 * time.Minute}, soon)
	if err != nil || len(removed) != 3 {
		t.Errorf("with a limit of half an hour: removed %d runs, error %v, want 3",
			len(removed), err)
	}
	// With a limit of one byte, only protected runs remain. So Prune removes the invalid run of the
	// scenario lock, because a newer run of this scenario exists. The newer run has no verdict and
	// may still be in progress.
	removed, err = s.Prune(Keep{Size: 1}, soon)
	if err != nil || len(removed) != 1 || removed[0].ID != invalidID {
		t.Errorf("Prune removed %v, error %v; want only %s removed", removed, err, invalidID)
	}
	left, err := s.Runs()
	if err != nil || len(left) != 2 {
		t.Errorf("got %d remaining runs, error %v, want 2", len(left), err)
	}
	if removed, err := s.Prune(Keep{Size: 1}, soon.Add(100*24*time.Hour)); err != nil || len(removed) != 0 {
		t.Errorf("Prune removed %v, error %v; want nothing removed, because each run is the newest of its scenario", removed, err)
	}
}

// Regression: if the path of a store had a character that is special in patterns, Prune did not
// find the links named latest. So it could remove the runs to which the links point. It also did
// not find the remaining files of runs that an interrupted Prune had deleted in part.
func TestPruneInADirectoryWithAnyName(t *testing.T) {
	for _, name := range []string{"plain", "[a", "[a]", "a*", `a\b`} {
		s := Open(filepath.Join(t.TempDir(), name))
		start := result().Start
		var dirs []string
		for age := range 3 {
			r := &harness.Result{Scenario: "lock", Start: start.Add(time.Duration(-age) * time.Hour), History: result().History, Checked: true, Verdict: checker.Valid}
			if err := s.Save(r); err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, s.Dir(r))
		}
		link := filepath.Join(s.dir, "lock", "latest")
		os.Remove(link) // on Windows there is no link
		if err := os.Symlink(filepath.Base(dirs[1]), link); err != nil {
			t.Skip(err)
		}
		gone := filepath.Join(s.dir, "lock", goneMark+"20250102T030405.000Z")
		if err := os.Mkdir(gone, 0o755); err != nil {
			t.Fatal(err)
		}
		removed, err := s.Prune(Keep{Size: 1}, start.Add(time.Hour))
		if err != nil || len(removed) != 1 || removed[0].Dir != dirs[2] {
			t.Errorf("%s: Prune removed %v, error %v; want only %s removed",
				name, removed, err, dirs[2])
		}
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: stat of the rest of a deleted run: got error %v, want %v", name, err, fs.ErrNotExist)
		}
	}
}

func TestDamagedResultHidesNoOtherRun(t *testing.T) {
	s := filled(t)
	if err := os.WriteFile(filepath.Join(s.dir, filepath.FromSlash(invalidID), ResultFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs()
	if err != nil || len(runs) != 3 {
		t.Fatalf("got %d runs, error %v, want 3", len(runs), err)
	}
	if r := runs[1]; r.Problem == "" || r.Judged() {
		t.Errorf("the damaged run: got problem %q, judged %t; want a problem, and not judged",
			r.Problem, r.Judged())
	}
}

func TestStoreThatIsNotThereIsEmpty(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "none"))
	if runs, err := s.Runs(); err != nil || len(runs) != 0 {
		t.Errorf("got runs %v, error %v, want none", runs, err)
	}
	if code, page, _ := get(t, s.Handler(true), "/"); code != http.StatusOK || !strings.Contains(page, "No run here yet") {
		t.Errorf("page of an empty store: got code %d, want %d and \"No run here yet\":\n%s", code, http.StatusOK, page)
	}
}
