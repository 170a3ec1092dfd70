package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

// The first round of attempts has no pause. The pauses grow from round to round, up to a limit.
// After a connection that lasted a while, the count of rounds starts again.
func TestRoundsOfAttemptsArePaced(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := newServers([]string{"a:1", "b:1"}, cryptoRand{}, newReporter(nil))
		round := func() time.Duration {
			start := time.Now()
			for range h.Len() {
				must(t, h.pause(t.Context()))
			}
			return time.Since(start)
		}
		if d := round(); d != 0 {
			t.Errorf("the first round takes %v, want no pause", d)
		}
		for i, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			most *= 2 * time.Millisecond // two servers
			if d := round(); d < most/2 || d > most {
				t.Errorf("round %d takes %v, want %v to %v", i+2, d, most/2, most)
			}
		}
		if h.lost(longestPause - 1); round() == 0 {
			t.Error("no pause after a connection that ended soon, want one")
		}
		if h.lost(longestPause); round() != 0 {
			t.Error("a pause after a connection that lasted, want none")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(ErrClosed)
		if err := h.pause(ctx); err != ErrClosed {
			t.Errorf("pause after the end: got %v, want %v", err, ErrClosed)
		}
	})
}

// The servers are tried in turn, in a random order that is the same in each round.
func TestServersTakeTurns(t *testing.T) {
	h := newServers([]string{"a:1", "b:1", "c:1"}, cryptoRand{}, newReporter(nil))
	var seen []string
	for range 6 {
		server, finished := h.Next()
		if finished {
			t.Error("Next reports the end of a round, want it never to")
		}
		seen = append(seen, server)
	}
	if !slices.Equal(seen[:3], seen[3:]) || len(slices.Compact(slices.Sorted(slices.Values(seen)))) != 3 {
		t.Errorf("order of the servers: got %v, want the same three twice", seen)
	}
}

// In an outage, each attempt of the first round is logged. Then the log has one line about the
// outage as a whole. Callers that wait for a server get the last reason.
func TestFailedAttemptsAreLogged(t *testing.T) {
	var opts Options
	lines := []string{}
	opts.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) { lines = append(lines, string(b)); return len(b), nil }), nil))
	h := newServers([]string{"a:1", "b:1"}, cryptoRand{}, newReporter(opts.Logger))
	h.dialling("a:1")
	if err := h.whyNot(context.DeadlineExceeded); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "tried a:1") {
		t.Errorf("before any answer: got %v, want a deadline exceeded with the server tried", err)
	}
	for range 5 {
		h.notReached("a:1", 7, errNoAnswer)
	}
	h.reports.flush()
	if count(lines, "level=INFO", "not reached") != 2 || count(lines, "level=WARN", "no zookeeper server", "session=0x7") != 1 || len(lines) != 3 {
		t.Errorf("log: got %q, want two servers not reached and one warning", lines)
	}
	if err := h.whyNot(context.DeadlineExceeded); !errors.Is(err, errNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after failures: got %v, want %v with a deadline exceeded", err, errNoAnswer)
	}
	h.reached()
	h.notReached("a:1", 7, errNoAnswer)
	if h.reports.flush(); count(lines, "level=INFO", "not reached") != 3 {
		t.Errorf("log of the next outage: got %q, want one more server not reached", lines)
	}
}

// In one outage, the log says once that no server takes the session. This must be so even if the
// list of servers changes its length during the outage.
func TestOutageIsLoggedOnce(t *testing.T) {
	for name, follow := range map[string][]string{
		"longer":  {"new:1", "new:2"}, // the given servers come back after the first round
		"shorter": {"new:1"},
	} {
		lines := []string{}
		logger := slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) { lines = append(lines, string(b)); return len(b), nil }), nil))
		h := newServers([]string{"a:1", "b:1", "c:1"}, cryptoRand{}, newReporter(logger))
		for outage := 1; outage <= 2; outage++ {
			lines = lines[:0]
			h.reached()
			if name == "longer" {
				h.follow(follow)
			}
			for failures := range 20 {
				if failures == 2 && name == "shorter" {
					h.follow(follow)
				}
				h.notReached("a:1", 7, errNoAnswer)
			}
			h.reports.flush()
			if n := count(lines, "level=WARN", "no zookeeper server"); n != 1 || len(lines) > 4 {
				t.Errorf("%s list, outage %d: got %d warnings in the log %q, want 1 after one round", name, outage, n, lines)
			}
		}
	}
}
