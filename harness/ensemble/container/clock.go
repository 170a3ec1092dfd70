package container

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// clockFile is where libfaketime reads, once a second, what the time is to be.
const clockFile = "/tmp/faketime"

// clockEnvironment makes libfaketime tell the wall clock to a container's server; the clock that sessions run by it leaves
// alone. The linker knows what $LIB is. Until there is a file the time is right.
var clockEnvironment = map[string]string{
	"ZOO_PRELOAD":                  "/usr/$LIB/faketime/libfaketimeMT.so.1",
	"FAKETIME_TIMESTAMP_FILE":      clockFile,
	"FAKETIME_CACHE_DURATION":      "1",
	"FAKETIME_DONT_FAKE_MONOTONIC": "1",
	"FAKETIME_DONT_RESET":          "1",
	"FAKETIME_FORCE_MONOTONIC_FIX": "0", // it makes up for a fault that today's libc does not have, and waits go on for too long by it
}

// SetClock sets the wall clock of a node's server, within a second. A node that is down gets it when it starts.
func (e *Ensemble) SetClock(ctx context.Context, node int, offset time.Duration, rate float64) error {
	return e.change(ctx, "set the clock of", node, func() error {
		if !e.clocks {
			return fmt.Errorf("a clock of its own: %w", ensemble.ErrUnable)
		}
		e.wall[node] = fmt.Sprintf("%+.3fs x%.3f", offset.Seconds(), rate)
		return e.applyClock(ctx, node)
	})
}

// applyClock makes the clock of a node that runs what it is to be.
func (e *cluster) applyClock(ctx context.Context, node int) error {
	if e.wall[node] == "" || !e.running(node) {
		return nil
	}
	_, err := e.exec(ctx, node, fmt.Sprintf("echo '%s' > %[2]s.new && chmod 644 %[2]s.new && mv %[2]s.new %[2]s", e.wall[node], clockFile))
	return err
}

// Time is that of the last line in the node's log, which a question makes it write.
func (e *Ensemble) Time(ctx context.Context, node int) (time.Time, error) {
	if err := e.open(); err != nil {
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
		return last, fmt.Errorf("node %d has no time in its log", node)
	}
	return last, nil
}
