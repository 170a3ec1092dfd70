package container

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// clockFile is the file from which libfaketime reads the time once a second.
const clockFile = "/tmp/faketime"

// clockEnvironment makes libfaketime set the wall clock of a container's server. It does not affect
// the monotonic clock, which sessions use. The dynamic linker resolves $LIB. Until clockFile
// exists, the time is correct.
var clockEnvironment = map[string]string{
	"ZOO_PRELOAD":                  "/usr/$LIB/faketime/libfaketimeMT.so.1",
	"FAKETIME_TIMESTAMP_FILE":      clockFile,
	"FAKETIME_CACHE_DURATION":      "1",
	"FAKETIME_DONT_FAKE_MONOTONIC": "1",
	"FAKETIME_DONT_RESET":          "1",
	// Turns off a workaround for a bug that current libc versions do not have. The workaround would
	// make waits too long.
	"FAKETIME_FORCE_MONOTONIC_FIX": "0",
}

// SetClock sets the wall clock of a node's server, within a second. If the node is down, the
// setting applies when the node starts.
func (e *Ensemble) SetClock(ctx context.Context, node int, offset time.Duration, rate float64) error {
	return e.change(ctx, "set the clock of", node, func() error {
		if !e.clocks {
			return fmt.Errorf("needs Config.Clocks: %w", ensemble.ErrUnable)
		}
		e.wall[node] = fmt.Sprintf("%+.3fs x%.3f", offset.Seconds(), rate)
		return e.applyClock(ctx, node)
	})
}

// applyClock sets the clock of a running node to its setting.
func (e *cluster) applyClock(ctx context.Context, node int) error {
	if e.wall[node] == "" || !e.running(node) {
		return nil
	}
	_, err := e.exec(ctx, node, fmt.Sprintf("echo '%s' > %[2]s.new && chmod 644 %[2]s.new && mv %[2]s.new %[2]s", e.wall[node], clockFile))
	return err
}

// Time returns the time of the last line in the node's log. It first queries the node, so that the
// node writes a line.
func (e *Ensemble) Time(ctx context.Context, node int) (time.Time, error) {
	if err := e.open(); err != nil {
		return time.Time{}, err
	}
	if err := ensemble.CheckNode("read the clock of", node, len(e.nodes)); err != nil {
		return time.Time{}, err
	}
	if _, err := ensemble.Ask(ctx, e.DialContext, e.servers[node]); err != nil {
		return time.Time{}, err
	}
	var log strings.Builder
	if err := e.copyLog(ctx, node, &log, "20"); err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for line := range strings.Lines(log.String()) {
		const format = "2006-01-02 15:04:05,000"
		if t, err := time.Parse(format, line[:min(len(format), len(line))]); err == nil {
			last = t
		}
	}
	if last.IsZero() {
		return last, fmt.Errorf("the last 20 lines of the log of node %d contain no time", node)
	}
	return last, nil
}
