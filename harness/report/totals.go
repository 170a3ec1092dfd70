package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
)

// Totals adds up the rounds of a campaign. Its size does not depend on the number of rounds.
type Totals struct {
	All                   Sum
	scenarios, versions   map[string]*Sum
	faults                map[string]*faultSum
	notable               []Round // the first rounds that are not valid
	firstHeap, mostHeap   uint64
	lastHeap              uint64
	mostThreads, nThreads int
}

// mostNotable is the maximum length of Totals.notable. Later rounds that are not valid are counted,
// but not listed.
const mostNotable = 100

// Sum adds up the rounds of one scenario, of one version of ZooKeeper, or of the whole campaign.
type Sum struct {
	Name               string
	Rounds             int
	Verdicts           map[checker.Verdict]int
	NotBegun           int // rounds that could not begin
	Took               time.Duration
	OK, Failed, Effect int // numbers of operations, and of faults that took effect
	Exposure           time.Duration
	Grants             int           // grants whose transaction is in the servers' logs
	Recovery           time.Duration // the longest recovery after a fault
}

type faultSum struct {
	Name                              string
	Injected, Effect, Rounds, Invalid int
	Recovery                          time.Duration
}

// The constant `warm` is the number of rounds after which the heap is expected to have reached its
// final size.
const warm = 5

// Add adds a round.
func (t *Totals) Add(r Round) {
	if t.scenarios == nil {
		t.scenarios, t.versions, t.faults = map[string]*Sum{}, map[string]*Sum{}, map[string]*faultSum{}
	}
	for _, s := range []*Sum{&t.All, named(t.scenarios, r.Scenario), named(t.versions, cmp.Or(r.Version, "model"))} {
		s.add(r)
	}
	t.addFaults(r)
	if (r.Verdict == nil || !r.Verdict.Passed()) && len(t.notable) < mostNotable {
		t.notable = append(t.notable, r)
	}
	if t.All.Rounds <= warm {
		t.firstHeap = r.Heap
	}
	t.lastHeap, t.nThreads = r.Heap, r.Goroutines
	t.mostHeap, t.mostThreads = max(t.mostHeap, r.Heap), max(t.mostThreads, r.Goroutines)
}

func (t *Totals) addFaults(r Round) {
	seen := make(map[string]bool)
	for _, one := range r.Faults {
		f := t.faults[one.Fault]
		if f == nil {
			f = &faultSum{Name: one.Fault}
			t.faults[one.Fault] = f
		}
		f.Injected++
		f.Recovery = max(f.Recovery, one.Recovery)
		if one.Effect {
			f.Effect++
		}
		if !seen[one.Fault] {
			seen[one.Fault] = true
			f.Rounds++
			if r.Verdict != nil && *r.Verdict == checker.Invalid {
				f.Invalid++
			}
		}
	}
}

func named(all map[string]*Sum, name string) *Sum {
	if all[name] == nil {
		all[name] = &Sum{Name: name}
	}
	return all[name]
}

func (s *Sum) add(r Round) {
	if s.Verdicts == nil {
		s.Verdicts = make(map[checker.Verdict]int)
	}
	s.Rounds++
	if r.Verdict == nil {
		s.NotBegun++
	} else {
		s.Verdicts[*r.Verdict]++
	}
	s.Took += r.Took
	s.OK += r.OK
	s.Failed += r.Failed
	s.Exposure += r.Exposure
	s.Grants += r.Grants
	for _, f := range r.Faults {
		if f.Effect {
			s.Effect++
		}
		s.Recovery = max(s.Recovery, f.Recovery)
	}
}

// Words returns the verdicts in words, the most serious first, such as "1 not exercised, 20 valid".
func (s *Sum) Words() string {
	var parts []string
	for _, v := range []checker.Verdict{checker.Invalid, checker.Unknown, checker.NotExercised, checker.Valid} {
		if n := s.Verdicts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, v))
		}
	}
	if s.NotBegun > 0 {
		parts = append(parts, fmt.Sprintf("%d could not begin", s.NotBegun))
	}
	return cmp.Or(strings.Join(parts, ", "), "none complete")
}

// The method `row` returns the cells of a row, for the table of scenarios or of versions.
func (s *Sum) row() []string {
	return []string{s.Name, fmt.Sprint(s.Rounds), fmt.Sprint(s.Verdicts[checker.Valid]), fmt.Sprint(s.Verdicts[checker.Invalid]),
		fmt.Sprint(s.Rounds - s.Verdicts[checker.Valid] - s.Verdicts[checker.Invalid]),
		rate(float64(s.OK), s.Took.Seconds(), 1), fmt.Sprint(s.Grants), rate(100*float64(s.Failed), float64(s.OK+s.Failed), 1) + " %",
		rate(float64(s.Effect), s.Took.Minutes(), 1), s.Exposure.Round(time.Millisecond).String(), s.Recovery.Round(10 * time.Millisecond).String()}
}

func rate(n, of float64, digits int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, n/of)
}

func (f *faultSum) row() []string {
	return []string{f.Name, fmt.Sprint(f.Injected), fmt.Sprint(f.Effect), rate(100*float64(f.Effect), float64(f.Injected), 0) + " %",
		fmt.Sprint(f.Rounds), fmt.Sprint(f.Invalid), f.Recovery.Round(10 * time.Millisecond).String()}
}

// Confidence returns a sentence with an upper limit of the rate of invalid rounds, at 95 %
// confidence. It returns "" if a round is invalid, or if no round is valid. Only valid rounds
// count, because all other rounds could not have shown a violation, or were not judged.
func (t *Totals) Confidence() string {
	valid := t.All.Verdicts[checker.Valid]
	if valid == 0 || t.All.Verdicts[checker.Invalid] > 0 {
		return ""
	}
	most := 1 - math.Pow(0.05, 1/float64(valid)) // (1-p)^n = 5 %
	return fmt.Sprintf("with 95 %% confidence, less than %.2g %% of such rounds are invalid", 100*most)
}

// The type `table` is a table that is on the page and in the text.
type table struct {
	Title string
	Heads []string
	Rows  [][]string
}

var sumHeads = []string{"rounds", "valid", "invalid", "inconclusive", "operations/s", "grants in logs", "not successful", "faults/min", "exposure", "longest recovery"}

// The method `tables` returns the tables of all rounds: by scenario, by version, by fault, and the
// seeds of the rounds that are not valid.
func (t *Totals) tables() []table {
	sums := func(title, head string, of map[string]*Sum) table {
		one := table{Title: title, Heads: append([]string{head}, sumHeads...)}
		for _, s := range sortedValues(of) {
			one.Rows = append(one.Rows, s.row())
		}
		return one
	}
	faults := table{Title: "Faults", Heads: []string{"fault", "injected", "took effect", "share", "rounds", "of these invalid", "longest recovery"}}
	for _, f := range sortedValues(t.faults) {
		faults.Rows = append(faults.Rows, f.row())
	}
	seeds := table{Title: "Seeds of rounds that are not valid", Heads: []string{"seed", "scenario", "ZooKeeper", "verdict", "reason", "again"}}
	for _, r := range t.notable {
		verdict := "could not begin"
		if r.Verdict != nil {
			verdict = r.Verdict.String()
		}
		again := r.Command
		if r.Earlier > 0 {
			again += fmt.Sprintf(" (but on an ensemble that had served %d rounds before)", r.Earlier)
		}
		seeds.Rows = append(seeds.Rows, []string{fmt.Sprint(r.Seed), r.Scenario, cmp.Or(r.Version, "model"), verdict, r.Reason, again})
	}
	all := []table{sums("Scenarios", "scenario", t.scenarios), sums("Versions of ZooKeeper", "version", t.versions), faults, seeds}
	return slices.DeleteFunc(all, func(one table) bool { return len(one.Rows) == 0 })
}

func sortedValues[T any](of map[string]T) (all []T) {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, of[name])
	}
	return all
}

// Numbers returns the operations and faults in words.
func (s *Sum) Numbers() string {
	return fmt.Sprintf("%s operations succeeded, %s did not; %d faults took effect, longest recovery %v",
		Thousands(s.OK), Thousands(s.Failed), s.Effect, s.Recovery.Round(10*time.Millisecond))
}

// Headline returns the sums in three lines.
func (t *Totals) Headline() string {
	a := &t.All
	text := fmt.Sprintf("%d rounds in %v: %s", a.Rounds, a.Took.Round(time.Second), a.Words())
	if c := t.Confidence(); c != "" {
		text += "; " + c
	}
	return text + fmt.Sprintf("\n%s\nheap %s after %d rounds, %s now, at most %s; %d goroutines, at most %d\n", a.Numbers(),
		sizeText(int64(t.firstHeap)), min(warm, a.Rounds), sizeText(int64(t.lastHeap)), sizeText(int64(t.mostHeap)), t.nThreads, t.mostThreads)
}

// WriteText writes the sums and the tables.
func (t *Totals) WriteText(w io.Writer) error {
	if _, err := io.WriteString(w, t.Headline()); err != nil {
		return err
	}
	for _, one := range t.tables() {
		fmt.Fprintf(w, "\n%s\n", one.Title)
		out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{one.Heads}, one.Rows...) {
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

var totalsTemplate = template.Must(template.New("totals.tmpl.html").Funcs(forRuns).ParseFS(assets, "assets/totals.tmpl.html"))

func writeTotals(w io.Writer, l *Ledger) error {
	t := &l.totals
	class := classOf(checker.Valid)
	switch {
	case t.All.Verdicts[checker.Invalid] > 0:
		class = classOf(checker.Invalid)
	case t.All.Verdicts[checker.Valid] < t.All.Rounds:
		class = classOf(checker.NotExercised)
	}
	first, rest, _ := strings.Cut(t.Headline(), "\n")
	return totalsTemplate.Execute(w, struct {
		Settings, Class, First, Rest string
		Tables                       []table
	}{l.Settings, class, first, rest, t.tables()})
}
