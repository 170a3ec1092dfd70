package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// The type `series` has measurements over time, with a value for each window. On the page of a run,
// the fields OK, Fail and Info are numbers of operations per second. P50, P95, P99 and Max are
// latencies in milliseconds, of the successful operations that ended in the window. They are -1 if
// no operation succeeded in the window. On the page of an audit, OK has the numbers that the
// function `activity` counts, and the fields after OK are empty.
type series struct {
	Window int64     `json:"w"` // microseconds
	OK     []float64 `json:"ok"`
	Fail   []float64 `json:"fail"`
	Info   []float64 `json:"info"` // includes operations that were never answered
	P50    []float64 `json:"p50"`
	P95    []float64 `json:"p95"`
	P99    []float64 `json:"p99"`
	Max    []float64 `json:"max"`
}

// mostWindows is the approximate maximum number of windows. It is not exact, because the length of
// a window is rounded. A window is at least a quarter of a second.
const mostWindows = 240

func newSeries(h *history.History, ops []history.Operation) series {
	window := max(250*time.Millisecond, (h.End() / mostWindows).Round(50*time.Millisecond))
	n := int(h.End()/window) + 1
	s := series{Window: micro(window), OK: make([]float64, n), Fail: make([]float64, n), Info: make([]float64, n)}
	took := make([][]time.Duration, n)
	for _, o := range ops {
		end := h.End()
		if o.Complete != nil {
			end = o.Complete.Time
		}
		at := int(end / window)
		switch o.Outcome() {
		case session.OK:
			s.OK[at]++
			took[at] = append(took[at], end-o.Invoke.Time)
		case session.Failed:
			s.Fail[at]++
		default:
			s.Info[at]++
		}
	}
	for i := range n {
		for _, rate := range [][]float64{s.OK, s.Fail, s.Info} {
			rate[i] /= window.Seconds()
		}
		slices.Sort(took[i])
		s.P50 = append(s.P50, milliseconds(took[i], 0.50))
		s.P95 = append(s.P95, milliseconds(took[i], 0.95))
		s.P99 = append(s.P99, milliseconds(took[i], 0.99))
		s.Max = append(s.Max, milliseconds(took[i], 1))
	}
	return s
}

func milliseconds(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return -1
	}
	return float64(quantile(sorted, q).Microseconds()) / 1000
}

// The function `quantile` returns the smallest value such that at least the fraction q of all
// values are less than or equal to it. There must be at least one value.
func quantile(sorted []time.Duration, q float64) time.Duration {
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// The type `latency` is a row of the table of latencies. It describes one kind of operation.
type latency struct {
	Op                       string
	OK, Fail, Info           int
	P50, P95, P99, P999, Max time.Duration
}

// newLatencies returns a row for each kind of operation, the most frequent first.
func newLatencies(ops []history.Operation) []latency {
	rows := make(map[string]*latency)
	took := make(map[string][]time.Duration)
	for _, o := range ops {
		row := rows[o.Invoke.Op]
		if row == nil {
			row = &latency{Op: o.Invoke.Op}
			rows[o.Invoke.Op] = row
		}
		switch o.Outcome() {
		case session.OK:
			row.OK++
			took[o.Invoke.Op] = append(took[o.Invoke.Op], o.Complete.Time-o.Invoke.Time)
		case session.Failed:
			row.Fail++
		default:
			row.Info++
		}
	}
	var all []latency
	for op, row := range rows {
		if t := took[op]; len(t) > 0 {
			slices.Sort(t)
			row.P50, row.P95, row.P99 = quantile(t, 0.50), quantile(t, 0.95), quantile(t, 0.99)
			row.P999, row.Max = quantile(t, 0.999), t[len(t)-1]
		}
		all = append(all, *row)
	}
	slices.SortFunc(all, func(a, b latency) int {
		return cmp.Or(cmp.Compare(b.OK+b.Fail+b.Info, a.OK+a.Fail+a.Info), cmp.Compare(a.Op, b.Op))
	})
	return all
}
