package report

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/harness/checker"
)

var (
	runsTemplate    = template.Must(template.New("runs.tmpl.html").Funcs(forRuns).ParseFS(assets, "assets/runs.tmpl.html"))
	compareTemplate = template.Must(template.New("compare.tmpl.html").Funcs(forRuns).ParseFS(assets, "assets/compare.tmpl.html"))
)

var forRuns = template.FuncMap{
	"verdict": func(v checker.Verdict) string { return verdictWord(v) },
	"class":   classOf,
	"css":     func() template.CSS { return template.CSS(asset("report.css")) },
	"size":    sizeText,
	"count":   Thousands,
	"short":   shortLength,
}

// Handler serves the runs of a store: the list, the files of each run, and two runs side by side.
// It only reads.
//
// If `local` is set, Handler refuses requests whose Host is neither localhost nor a loopback
// address. A page of another site can cause such a request, if the site's host name resolves to a
// loopback address. The page could then read the store through the user's browser.
func (s *Store) Handler(local bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveRuns)
	mux.HandleFunc("GET /compare", s.serveComparison)
	mux.HandleFunc("GET /run/{scenario}/{time}/{file}", s.serveFile)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !loopback(r.Host) {
			http.Error(w, "this store is served to the local machine only", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// shownFiles are the files that serveFile serves in addition to the logs of nodes and clients.
var shownFiles = []string{HTMLFile, HistoryFile, TextFile, SummaryFile, ResultFile, FaultsFile, JUnitFile, TestFile, PictureFile, LeasesFile}

func (s *Store) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	log, _ := regexp.MatchString(`^(node|client)\d+\.log$`, name)
	run, err := s.Run(r.PathValue("scenario") + "/" + r.PathValue("time"))
	if err != nil || !log && !slices.Contains(shownFiles, name) {
		http.NotFound(w, r)
		return
	}
	switch {
	case name == HistoryFile:
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.ReplaceAll(run.ID, "/", "-")+"-"+name))
	case name != HTMLFile && name != PictureFile && name != ResultFile && name != FaultsFile:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	http.ServeFile(w, r, filepath.Join(run.Dir, name))
}

// listedRun is a row of the list of runs.
type listedRun struct {
	Run
	Word, Class, When, First string
	Page                     bool // report.html exists
}

// runsPage is the data for the template of the list of runs.
type runsPage struct {
	Dir                 string
	Runs                []listedRun
	Scenarios, Verdicts []string
	Scenario, Verdict   string
	All                 int
}

func (s *Store) serveRuns(w http.ResponseWriter, r *http.Request) {
	runs, err := s.Runs()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	q := r.URL.Query()
	page := runsPage{Dir: s.dir, Scenario: q.Get("scenario"), Verdict: q.Get("verdict"), All: len(runs),
		Verdicts: []string{"Valid", "Invalid", "Not exercised", "Unknown"}}
	for _, run := range runs {
		row := newListedRun(run)
		scenario, _, _ := strings.Cut(run.ID, "/")
		if !slices.Contains(page.Scenarios, scenario) {
			page.Scenarios = append(page.Scenarios, scenario)
		}
		if (page.Scenario == "" || page.Scenario == scenario) && (page.Verdict == "" || page.Verdict == row.Word) {
			page.Runs = append(page.Runs, row)
		}
	}
	slices.Sort(page.Scenarios)
	render(w, runsTemplate, page)
}

func newListedRun(run Run) listedRun {
	row := listedRun{Run: run, Word: "Unknown", Class: classOf(checker.Unknown), When: run.Begun().Format("2 Jan 2006, 15:04:05")}
	if _, err := os.Stat(filepath.Join(run.Dir, HTMLFile)); err == nil {
		row.Page = true
	}
	switch {
	case run.Judged():
		row.Word, row.Class = verdictWord(run.Document.Verdict), classOf(run.Document.Verdict)
		if failed := run.Document.Failed(); len(failed) > 0 {
			row.First = failed[0].ID + ": " + plainly(failed[0].Reason)
		}
	case run.Problem != "":
		row.First = run.Problem
	default:
		row.First = "not judged: in progress, or ended before the verdict"
	}
	return row
}

// A comparison is two runs side by side.
type comparison struct {
	A, B listedRun
	Rows []comparedRow
}

// comparedRow is a property that at least one of the two runs has. Differ is set if the verdicts
// differ, or if one run does not have the property.
type comparedRow struct {
	ID, Claim  string
	A, B       string
	ClassA     string
	ClassB     string
	SawA, SawB string
	Differ     bool
}

func (s *Store) serveComparison(w http.ResponseWriter, r *http.Request) {
	ids := r.URL.Query()["run"]
	if len(ids) != 2 {
		http.Error(w, "choose two runs to compare", http.StatusBadRequest)
		return
	}
	a, errA := s.Run(ids[0])
	b, errB := s.Run(ids[1])
	if err := errors.Join(errA, errB); err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, fs.ErrNotExist) {
			code = http.StatusNotFound
		}
		http.Error(w, err.Error(), code)
		return
	}
	render(w, compareTemplate, comparison{newListedRun(a), newListedRun(b), compare(a.Document, b.Document)})
}

// The function `compare` returns one row for each property of two runs. The properties of run a
// come first, in its order. After them come the properties that only run b has.
func compare(a, b Document) []comparedRow {
	var rows []comparedRow
	at := make(map[string]int)
	for _, one := range a.Results {
		at[one.ID] = len(rows)
		rows = append(rows, comparedRow{ID: one.ID, Claim: capital(one.Claim), A: verdictWord(one.Verdict), ClassA: classOf(one.Verdict),
			SawA: plainly(seen(one.Result)), B: "–", Differ: true})
	}
	for _, one := range b.Results {
		i, known := at[one.ID]
		if !known {
			i = len(rows)
			rows = append(rows, comparedRow{ID: one.ID, Claim: capital(one.Claim), A: "–"})
		}
		row := &rows[i]
		row.B, row.ClassB, row.SawB = verdictWord(one.Verdict), classOf(one.Verdict), plainly(seen(one.Result))
		row.Differ = row.A != row.B
	}
	return rows
}

func render(w http.ResponseWriter, t *template.Template, page any) {
	var text strings.Builder
	if err := t.Execute(&text, page); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	_, _ = w.Write([]byte(text.String())) // the client may have closed the connection
}

// Link returns the path of a file of the run in the server's URLs.
func (r Run) Link(file string) string {
	scenario, at, _ := strings.Cut(r.ID, "/")
	return "/run/" + url.PathEscape(scenario) + "/" + url.PathEscape(at) + "/" + file
}

func sizeText(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d kB", (n+1023)>>10)
}
