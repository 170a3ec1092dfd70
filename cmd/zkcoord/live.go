package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/report"
)

// plainEvery is the minimum interval between progress lines if the output is not a terminal. In a
// run of more than 100 s, the interval is longer: a twentieth of the run.
const plainEvery = 5 * time.Second

// The type `live` shows the progress of a run: on a terminal, it overwrites one line again and
// again; elsewhere, it prints a line from time to time. A nil live shows nothing.
type live struct {
	w       io.Writer
	width   int // of the terminal; zero means no terminal
	color   bool
	written bool           // the line is on the screen, without a newline
	before  harness.Status // the previous status
	told    time.Duration  // when the last line was printed, in the time of the run
}

func newLive(w io.Writer) *live {
	l := &live{w: w, color: colored(w)}
	l.width, _ = terminal(w)
	return l
}

// show is the function for harness.Options.Progress. The caller holds the app's lock.
func (l *live) show(s harness.Status) {
	line := l.line(s)
	l.before = s
	if l.width > 0 {
		fmt.Fprintf(l.w, "\r\x1b[K%s", l.paint(cut(line, l.width-1), s))
		l.written = true
		return
	}
	if s.Elapsed-l.told >= max(plainEvery, (s.Elapsed+s.Left)/20) {
		fmt.Fprintln(l.w, line)
		l.told = s.Elapsed
	}
}

// clear erases the line.
func (l *live) clear() {
	if l != nil && l.written {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.written = false
	}
}

func (l *live) line(s harness.Status) string {
	rate := 0.0
	if took := s.Elapsed - l.before.Elapsed; took > 0 {
		rate = float64(s.Operations-l.before.Operations) / took.Seconds()
	}
	parts := []string{phaseText(s), fmt.Sprintf("%.0f operations/s", rate), fmt.Sprintf("faults %d", s.Faults)}
	if s.Standing > 0 {
		parts[2] += fmt.Sprintf(" (%d active)", s.Standing)
	}
	parts = append(parts, "grants "+report.Thousands(s.Holds), fmt.Sprintf("lost %d", s.Lost), violationsText(s))
	return strings.Join(parts, "  ")
}

func violationsText(s harness.Status) string { return fmt.Sprintf("violations %d", s.Violations) }

func phaseText(s harness.Status) string {
	switch s.Phase {
	case history.PhaseWork:
		return fmt.Sprintf("%-6s left", s.Left.Round(time.Second))
	case history.PhaseHeal:
		return "healing"
	case history.PhaseHealed:
		return "calm"
	case history.PhaseQuiesce:
		return "finishing"
	}
	return s.Phase
}

// paint colors the number of violations red if it is positive.
func (l *live) paint(line string, s harness.Status) string {
	if !l.color || s.Violations == 0 {
		return line
	}
	return strings.Replace(line, violationsText(s), red+violationsText(s)+plain, 1)
}

func cut(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(0, width)])
}
