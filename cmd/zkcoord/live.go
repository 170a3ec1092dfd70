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

// plainEvery is how often progress is told where there is no terminal to tell it on one line, for short runs. Of long ones,
// which may be in virtual time, it is told twenty times.
const plainEvery = 5 * time.Second

// live shows how far a run has got: on a terminal in one line that is written again and again, else in a line now and
// then. The nil live shows nothing.
type live struct {
	w       io.Writer
	width   int // of the terminal; zero is none
	color   bool
	written bool // the line stands, without a newline
	before  harness.Status
	told    time.Duration
}

func newLive(w io.Writer) *live {
	l := &live{w: w, color: colored(w)}
	l.width, _ = terminal(w)
	return l
}

// show is harness.Options.Progress; the app's lock is held.
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

// clear takes the line away.
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
		parts[2] += fmt.Sprintf(" (%d standing)", s.Standing)
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

// paint puts the number of violations in red once there are any.
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
