package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startEmbedded(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
	return embedded.Start(embedded.Options{Config: config, Model: zktest.Options{TCP: true}})
}

// The function `run` runs the rows briefly, and checks that each row works with each library. The
// run is too short for meaningful figures.
func run(t *testing.T, o Options) *Report {
	t.Helper()
	o.Start, o.Rounds, o.Time, o.Progress = startEmbedded, 1, 20*time.Millisecond, t.Logf
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		for _, l := range row.Libraries {
			if l.Error != "" || len(l.Samples) != 1 || l.Total() <= 0 {
				t.Errorf("%s, %s: got %+v, want no error, 1 sample and more than 0 requests", row.Name, l.Name, l)
			}
		}
	}
	return report
}

func TestEveryRowRuns(t *testing.T) {
	report := run(t, Options{MaxClients: 9, Libraries: []string{"floor", "zk.Lock"}})
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, row := range Rows() {
		if strings.Contains(table.String(), row.Name+" ") != (row.Job.Clients <= 9) {
			t.Errorf("%s with %d clients: want it in the table only with at most 9 clients, got\n%s", row.Name, row.Job.Clients, table.String())
		}
	}
}

// With one client, each cycle of a lock needs three requests.
func TestRequestsAreCountedOnTheWire(t *testing.T) {
	report := run(t, Options{Rows: []string{"lock 1"}, Libraries: []string{"floor", "zk.Lock"}})
	for _, l := range report.Rows[0].Libraries {
		// The floor also creates its directory, once for all cycles.
		if total := l.Total(); total < 3 || total > 3.02 {
			t.Errorf("%s: got %v requests for each cycle, want 3 to 3.02: %v", l.Name, total, l.Requests)
		}
	}
}

func TestPeersRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a JVM")
	}
	for _, l := range []peers.Library{peers.Curator, peers.Kazoo} {
		needs.Installed(t, l.Installed())
	}
	report := run(t, Options{
		Rows:      []string{"lock 1", "semaphore", "counter 1", "election", "queue 1+1 puts", "queue 1+1 takes", "watch 1 by 8"},
		Libraries: []string{"curator", "kazoo"},
	})
	for _, row := range report.Rows {
		if len(row.Libraries) != 3 {
			t.Errorf("%s: got %d libraries, want 3", row.Name, len(row.Libraries))
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	for _, o := range []Options{{Rows: []string{"no such row"}}, {Libraries: []string{"no such library"}}} {
		o.Start = startEmbedded
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no such") {
			t.Errorf("%+v: got error %v, want one that contains %q", o, err, "no such")
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2, 10}), (Spread{2.5, 1, 10}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// If a library fails in a later round, the report has no samples and no values of that library, not
// even of the earlier rounds.
func TestFailedLibraryHasNoValues(t *testing.T) {
	second := Sample{Ops: 1, Took: time.Second}
	r := RowResult{Row: Rows()[0], Libraries: []LibraryResult{
		{Name: "zkcoord", Samples: []Sample{second, second}}, {Name: "kazoo", Samples: []Sample{second}, Error: "it ended"},
	}}
	r.conclude()
	if ours := r.Libraries[0]; ours.Value.Median <= 0 || ours.Ratio.Median != 1 || len(ours.Samples) != 2 {
		t.Errorf("zkcoord: got %+v, want 2 samples, a value and the ratio 1", ours)
	}
	if l := r.Libraries[1]; l.Value != (Spread{}) || l.Ratio != (Spread{}) || l.Samples != nil {
		t.Errorf("kazoo: got %+v, want an error instead of samples and values", l)
	}
}
