package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Report is the result of a run.
type Report struct {
	Ensemble string            `json:"ensemble"`
	Nodes    int               `json:"nodes"`
	CPUs     int               `json:"cpus"`
	Rounds   int               `json:"rounds"`
	Round    time.Duration     `json:"round_ns"`
	Missing  map[string]string `json:"missing,omitempty"` // for each library that is not installed, what to install
	Rows     []RowResult       `json:"rows"`
}

// A RowResult has the results of all libraries in a row. The first result is the result of zkcoord.
type RowResult struct {
	Row
	Libraries []LibraryResult `json:"libraries"`
}

// A LibraryResult is the result of one library in a row.
type LibraryResult struct {
	Name     string             `json:"name"`
	Samples  []Sample           `json:"samples,omitempty"` // one per round; none after an error
	Value    Spread             `json:"value"`
	Ratio    Spread             `json:"ratio"`              // zkcoord's value divided by this library's, round by round
	Requests map[string]float64 `json:"requests,omitempty"` // per operation of the job, by the name of the request
	Error    string             `json:"error,omitempty"`
}

// Total returns the number of requests per operation of the job.
func (l LibraryResult) Total() (n float64) {
	for _, each := range l.Requests {
		n += each
	}
	return n
}

// A Spread is the median, the minimum and the maximum of some values.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	median := (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	return Spread{median, values[0], values[len(values)-1]}
}

// The method `conclude` computes the values and ratios from the samples. If a library failed, the
// method removes the samples of that library.
func (r *RowResult) conclude() {
	ours := r.Libraries[0]
	for i := range r.Libraries {
		one := &r.Libraries[i]
		if one.Error != "" {
			one.Samples = nil
			continue
		}
		var values, ratios []float64
		for k, s := range one.Samples {
			values = append(values, r.value(s))
			if ours.Error == "" && ours.Samples[k].Ops > 0 && s.Ops > 0 {
				ratios = append(ratios, r.value(ours.Samples[k])/r.value(s))
			}
		}
		one.Value, one.Ratio = spreadOf(values), spreadOf(ratios)
	}
}

// Library returns the result of the library with that name.
func (r RowResult) Library(name string) (LibraryResult, bool) {
	i := slices.IndexFunc(r.Libraries, func(l LibraryResult) bool { return l.Name == name })
	if i < 0 {
		return LibraryResult{}, false
	}
	return r.Libraries[i], true
}

// WriteTable writes the report for people, as plain text. A row has the value of zkcoord, the ratio
// of this value to that of each other library, and the number of requests of each library.
func (r *Report) WriteTable(out io.Writer) error {
	others := r.others()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\t\tzkcoord")
	for _, name := range others {
		fmt.Fprintf(w, "\tto %s", name)
	}
	fmt.Fprintln(w)
	for _, row := range r.Rows {
		values, requests := []string{row.Name, row.Unit}, []string{"", "requests"}
		for _, name := range append([]string{"zkcoord"}, others...) {
			l, _ := row.Library(name)
			values = append(values, l.text())
			requests = append(requests, l.requests())
		}
		fmt.Fprintf(w, "%s\n%s\n", strings.Join(values, "\t"), strings.Join(requests, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Missing)) {
		if _, err := fmt.Fprintf(out, "left out: %s\n", r.Missing[name]); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, r.conditions())
	return err
}

// WriteMarkdown writes the report for documents: a table of the requests and a table of the ratios.
func (r *Report) WriteMarkdown(out io.Writer) error {
	var b strings.Builder
	others := r.others()
	table := func(heading string, cell func(LibraryResult) string) {
		b.WriteString("| row | zkcoord |")
		for _, name := range others {
			fmt.Fprintf(&b, " %s%s |", heading, name)
		}
		b.WriteString("\n" + strings.Repeat("| --- ", len(others)+2) + "|\n")
		for _, row := range r.Rows {
			fmt.Fprintf(&b, "| %s |", row.Name)
			for _, name := range append([]string{"zkcoord"}, others...) {
				l, _ := row.Library(name)
				text := strings.Trim(strings.TrimPrefix(cell(l), "x "), "-")
				if name == "zkcoord" && heading != "" {
					text += " " + row.Unit
				}
				b.WriteString(strings.TrimRight(" "+text, " ") + " |")
			}
			b.WriteString("\n")
		}
	}
	table("", LibraryResult.requests)
	b.WriteString("\n")
	table("to ", LibraryResult.text)
	fmt.Fprintf(&b, "\n%s\n", r.conditions())
	_, err := io.WriteString(out, b.String())
	return err
}

// The method `others` returns the names of all libraries in the report, except zkcoord.
func (r *Report) others() (names []string) {
	for _, row := range r.Rows {
		for _, l := range row.Libraries[1:] {
			if !slices.Contains(names, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	return names
}

func (r *Report) conditions() string {
	return fmt.Sprintf("%s ensemble of %d on %d CPUs; medians of %d rounds of %v, in turns, with minimum and maximum",
		r.Ensemble, r.Nodes, r.CPUs, r.Rounds, r.Round)
}

func (l LibraryResult) text() string {
	switch {
	case l.Name == "":
		return "-"
	case l.Error != "":
		return "failed"
	case l.Name == "zkcoord":
		return l.Value.text()
	}
	return "x " + l.Ratio.text()
}

func (l LibraryResult) requests() string {
	if len(l.Requests) == 0 {
		return "-"
	}
	return short(l.Total())
}

func (s Spread) text() string {
	return fmt.Sprintf("%s (%s-%s)", short(s.Median), short(s.Min), short(s.Max))
}

// The function `short` formats x without decimals from 100 on, with one decimal from 10 on, and
// otherwise with two.
func short(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
