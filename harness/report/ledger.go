package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// Names of the files of a ledger.
const (
	LedgerFile = "rounds.jsonl"
	TotalsFile = "rounds.html"
)

// Round is one run of a campaign. It has neither the history nor the verdicts on the properties.
type Round struct {
	Number   int              `json:"round"` // from 0
	Scenario string           `json:"scenario"`
	Version  string           `json:"zookeeper,omitempty"` // as the servers report it, or else as it was requested
	Seed     uint64           `json:"seed"`
	Verdict  *checker.Verdict `json:"verdict,omitempty"` // nil if the run could not begin
	Reason   string           `json:"reason,omitempty"`  // why the run is not valid
	Command  string           `json:"command,omitempty"` // the command that repeats the run
	Earlier  int              `json:"earlier,omitempty"` // number of earlier rounds on the same ensemble
	Dir      string           `json:"dir,omitempty"`     // where the run is stored
	Start    time.Time        `json:"start"`
	Took     time.Duration    `json:"took_ns"`
	OK       int              `json:"ok"`     // operations that succeeded
	Failed   int              `json:"failed"` // operations that failed, or whose outcome is unknown
	Exposure time.Duration    `json:"exposure_ns,omitempty"`
	Grants   int              `json:"grants,omitempty"` // grants whose transaction the witness found in the servers' logs
	Faults   []FaultRound     `json:"faults,omitempty"`

	// Heap is the size of this process's heap in bytes after the round. Goroutines is the number of
	// its goroutines at that time. If one of them keeps growing from round to round, something
	// leaks.
	Heap       uint64 `json:"heap"`
	Goroutines int    `json:"goroutines"`
}

// FaultRound is one injection of a fault in a round.
type FaultRound struct {
	Fault    string        `json:"fault"`
	Effect   bool          `json:"effect"`
	Recovery time.Duration `json:"recovery_ns"` // as in checker.FaultStats
}

// NewRound returns the round of a judged run. dir is where the run is stored, or empty.
func NewRound(number int, r *harness.Result, dir string) Round {
	verdict := r.Verdict // a pointer into r would keep all of r in memory
	round := Round{Number: number, Scenario: r.Scenario, Version: r.ZooKeeper, Seed: r.Seed, Verdict: &verdict,
		Command: r.Command, Dir: dir, Start: r.Start, Took: r.Took}
	for _, one := range r.Failed() {
		round.Reason = one.ID + ": " + one.Reason // Failed returns the most serious result first
		break
	}
	for _, one := range r.Results {
		round.Exposure += one.Exposure
		if one.ID == "witness/grants-in-log" && one.Verdict == checker.Valid {
			round.Grants = one.Checked
		}
	}
	for _, op := range r.Stats.Operations {
		round.OK += op.OK
		round.Failed += op.Fail + op.Info
	}
	for _, f := range r.Stats.Faults {
		round.Faults = append(round.Faults, FaultRound{Fault: f.Fault, Effect: f.Evidence != "", Recovery: f.Recovery})
	}
	return round
}

// Ledger is a file with a line for each round of a long campaign, and a page with the sums of the
// rounds. A campaign that is started again continues after the last complete line, even if the
// earlier process was killed.
type Ledger struct {
	dir string
	settings
	totals Totals
}

// The type `settings` is the first line of a ledger.
type settings struct {
	Settings string `json:"settings"`
	Seed     uint64 `json:"seed"`
}

// OpenLedger opens the ledger in dir. If there is no ledger, it begins one with the settings `with`
// and the given seed. If the existing ledger was begun with other settings, the error says so. An
// existing ledger keeps its own seed.
func OpenLedger(dir, with string, seed uint64) (*Ledger, error) {
	l := &Ledger{dir: dir, settings: settings{with, seed}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	text, err := os.ReadFile(l.file())
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && cutShort(text):
		return l, l.begin()
	case err != nil:
		return nil, fmt.Errorf("report: %w", err)
	}
	if err := l.read(text); err != nil {
		return nil, fmt.Errorf("report: %s: %w", l.file(), err)
	}
	return l, nil
}

// firstLine is the start of the first line of every ledger.
const firstLine = `{"settings":`

// cutShort reports whether text is the incomplete first line of a ledger. It returns false for
// every other file, so that OpenLedger does not replace it.
func cutShort(text []byte) bool {
	n := min(len(text), len(firstLine))
	return !bytes.Contains(text, []byte("\n")) && string(text[:n]) == firstLine[:n]
}

// The method `begin` writes the first line. If the file has an incomplete first line, it replaces
// the file.
func (l *Ledger) begin() error {
	if err := os.Remove(l.file()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("report: %w", err)
	}
	if err := l.write(l.settings); err != nil {
		return err
	}
	// A new file survives a crash of the machine only if its directory was synced too.
	dir, err := os.Open(l.dir)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil && runtime.GOOS != "windows" {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (l *Ledger) file() string { return filepath.Join(l.dir, LedgerFile) }

// The method `read` reads the lines and removes the last one if it was not written completely. If
// it returns an error, for example because the file is not a ledger, it leaves the file as it is.
func (l *Ledger) read(text []byte) error {
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	for i, line := range bytes.Split(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n")) {
		var err error
		if i == 0 {
			err = l.readFirst(line)
		} else {
			var r Round
			if err = json.Unmarshal(line, &r); err == nil {
				l.totals.Add(r)
			}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return os.Truncate(l.file(), int64(len(whole)))
}

// readFirst reads the first line, which must have the settings of l, and sets l.Seed to its seed.
func (l *Ledger) readFirst(line []byte) error {
	var first settings
	if !bytes.HasPrefix(line, []byte(firstLine)) {
		return errors.New("the file is not a ledger: choose another directory")
	}
	if err := json.Unmarshal(line, &first); err != nil {
		return err
	}
	if first.Settings != l.Settings {
		return fmt.Errorf("the ledger belongs to `%s`: repeat that command, or choose another directory", first.Settings)
	}
	l.Seed = first.Seed
	return nil
}

// The method `write` appends a line. Once it has returned, the line survives a crash of the
// machine.
func (l *Ledger) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.OpenFile(l.file(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Add adds a round and rewrites the page.
func (l *Ledger) Add(r Round) error {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.Heap, r.Goroutines = memory.HeapAlloc, runtime.NumGoroutine()
	if err := l.write(r); err != nil {
		return err
	}
	l.totals.Add(r)
	page := func(w io.Writer) error { return writeTotals(w, l) }
	if err := writeWhole(l.Page(), page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Begun returns the seed of the first round.
func (l *Ledger) Begun() uint64 { return l.Seed }

// Page returns the path of the page.
func (l *Ledger) Page() string { return filepath.Join(l.dir, TotalsFile) }

// Totals returns the sums of all rounds.
func (l *Ledger) Totals() *Totals { return &l.totals }
