package report

import (
	"io"
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

// filled returns a store with a valid run, an invalid one, and one that was never judged, a minute apart.
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
		t.Fatal(code, page)
	}
	at := []int{strings.Index(page, openID), strings.Index(page, invalidID), strings.Index(page, validID)}
	if at[0] < 0 || at[0] > at[1] || at[1] > at[2] {
		t.Errorf("runs at %v", at)
	}
	for _, part := range []string{"lock/no-overlap: both held", "not judged", "3 of 3"} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q", part)
		}
	}
	if _, page, _ := get(t, h, "/?scenario=lock&verdict=Invalid"); !strings.Contains(page, invalidID) || strings.Contains(page, openID) || strings.Contains(page, validID) {
		t.Error("the filter lets others through")
	}
}

func TestTwoRunsSideBySide(t *testing.T) {
	h := filled(t).Handler(true)
	code, page, _ := get(t, h, "/compare?run="+validID+"&run="+invalidID)
	if code != http.StatusOK || strings.Count(page, `class="differ"`) != 3 { // lock/no-overlap, lock/no-release-after-loss and run/whole, which only one of them has
		t.Errorf("%d, %d rows differ", code, strings.Count(page, `class="differ"`))
	}
	for query, want := range map[string]int{"": 400, "?run=" + validID: 400, "?run=" + validID + "&run=lock/never": 404} {
		if code, _, _ := get(t, h, "/compare"+query); code != want {
			t.Errorf("compare%s: %d, want %d", query, code, want)
		}
	}
}

func TestOnlyFilesOfRunsAreServed(t *testing.T) {
	s := filled(t)
	if err := os.WriteFile(filepath.Join(s.dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := s.Handler(true)
	for path, want := range map[string]int{
		"/run/" + invalidID + "/report.html": 200, "/run/" + invalidID + "/history.jsonl": 200, "/run/" + invalidID + "/node1.log": 200,
		"/run/" + openID + "/report.html": 404, "/run/" + invalidID + "/secret": 404, "/run/lock/never/report.html": 404,
		"/run/lock/..%2F..%2Fsecret/report.html": 404, "/run/../secret/report.html": 404, "/run/lock/%2e%2e/history.jsonl": 404,
		"/run/lock/x/..%2f..%2fsecret": 404, "/run/" + invalidID + "/node..%2f..%2fsecret.log": 404, "/secret": 404,
	} {
		code, text, _ := get(t, h, path)
		if code == http.StatusTemporaryRedirect || code == http.StatusMovedPermanently {
			code = http.StatusNotFound // the mux cleans the path, which then leads nowhere
		}
		if code != want || strings.Contains(text, "secret") && want != 404 {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if _, _, header := get(t, h, "/run/"+invalidID+"/history.jsonl"); !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") {
		t.Error("a history is not downloaded")
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
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}

// A store named by mistake, as a checkout's root, loses nothing.
func TestPruneLeavesWhatIsNoRun(t *testing.T) {
	s := Open(t.TempDir())
	for _, name := range []string{"docs/decisions", "docs/pictures", "docs/2026", ".git/hooks", ".git/objects"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := s.Prune(Keep{Age: time.Hour, Size: 1}, time.Now()); err != nil || len(removed) != 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
}

func TestPruneKeepsTheNewestAndWhatMayBeUnderWay(t *testing.T) {
	s := filled(t)
	for range 3 { // more of the same scenario, older than the last
		r := result()
		r.Checked = true
		if err := s.Save(&harness.Result{Scenario: r.Scenario, Start: r.Start.Add(-time.Hour), History: r.History, Checked: true, Verdict: checker.Valid}); err != nil {
			t.Fatal(err)
		}
		s.dirs = map[string]string{} // as another program would
	}
	soon := result().Start.Add(3 * time.Minute)
	if removed, err := s.Prune(Keep{}, soon); err != nil || len(removed) != 0 {
		t.Errorf("without a limit it removed %d, %v", len(removed), err)
	}
	removed, err := s.Prune(Keep{Age: 30 * time.Minute}, soon)
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %d older than half an hour, %v", len(removed), err)
	}
	// The newest lock run is not judged and under way; of a size of one byte only what is protected stays.
	removed, err = s.Prune(Keep{Size: 1}, soon)
	if err != nil || len(removed) != 1 || removed[0].ID != invalidID {
		t.Errorf("removed %v, %v", removed, err)
	}
	left, err := s.Runs()
	if err != nil || len(left) != 2 {
		t.Errorf("left %d, %v", len(left), err)
	}
	if removed, err := s.Prune(Keep{Size: 1}, soon.Add(100*24*time.Hour)); err != nil || len(removed) != 0 {
		t.Errorf("removed the newest: %v, %v", removed, err)
	}
}

func TestDamagedResultHidesNoOtherRun(t *testing.T) {
	s := filled(t)
	if err := os.WriteFile(filepath.Join(s.dir, filepath.FromSlash(invalidID), ResultFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs()
	if err != nil || len(runs) != 3 || runs[1].Problem == "" || runs[1].Judged() {
		t.Errorf("%d runs, %v, problem %q", len(runs), err, runs[1].Problem)
	}
}

func TestStoreThatIsNotThereIsEmpty(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "none"))
	if runs, err := s.Runs(); err != nil || len(runs) != 0 {
		t.Errorf("%v, %v", runs, err)
	}
	if code, page, _ := get(t, s.Handler(true), "/"); code != http.StatusOK || !strings.Contains(page, "No run here yet") {
		t.Errorf("%d", code)
	}
}
