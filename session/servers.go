package session

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// The type `servers` has the servers that a session may connect to. It decides in which order they
// are tried and how long the pauses are, and records the results of attempts. It implements
// zk.HostProvider.
type servers struct {
	given   []string // Options.Servers
	rand    rand.Source
	reports *reporter

	mu       sync.Mutex
	list     []string // the servers to try
	next     int      // index into list
	attempts int      // attempts to connect since the last connection that lasted a while
	failures int      // failed attempts since the last connection
	warned   bool     // since the last connection, a round has failed, and this was logged
	trying   string   // the server of the latest attempt
	failed   error    // error of the last failed attempt; nil while there is a connection
}

func newServers(list []string, source rand.Source, reports *reporter) *servers {
	list = slices.Clone(list)
	shuffle(list, source)
	return &servers{given: slices.Clone(list), list: list, rand: source, reports: reports}
}

func (h *servers) Init([]string) error { return nil } // the client's own order is not used
func (h *servers) Connected()          {}

func (h *servers) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.list)
}

// Next returns the server to try. A round is one attempt at each server. Next never reports the end
// of a round, because the client would then fail queued requests and wait a whole second. The
// method `pause` waits instead.
func (h *servers) Next() (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server := h.list[h.next%len(h.list)]
	h.next++
	return server, false
}

// Limits of the pauses between attempts to connect.
const firstPause, longestPause = 50 * time.Millisecond, time.Second

// The method `pause` waits before the next attempt. It does not wait in the first round of
// attempts, and waits longer in each later round, up to longestPause.
func (h *servers) pause(ctx context.Context) error {
	h.mu.Lock()
	rounds := h.attempts / len(h.list)
	h.attempts++
	h.mu.Unlock()
	if rounds == 0 || ctx.Err() != nil {
		return causeOf(ctx)
	}
	return sleep(ctx, jitter(backoff(rounds, firstPause, longestPause), h.rand))
}

// The method `dialling` records the server that is tried.
func (h *servers) dialling(server string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trying = server
}

// The method `reached` records that there is a connection.
func (h *servers) reached() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed, h.failures, h.warned = nil, 0, false
}

// The method `lost` records the loss of a connection that had lasted for the given time. Only a
// connection that lasted a while resets the number of attempts. So the session also pauses between
// attempts at a server that closes each connection at once.
func (h *servers) lost(lasted time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lasted >= longestPause {
		h.attempts = 0
	}
}

// notReached records that a server did not begin a session, or did not resume the session with the
// given id. It logs each attempt of the first round of an outage. After that round, it logs once
// that no server takes the session. It logs later attempts at the level debug.
func (h *servers) notReached(server string, id int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = fmt.Errorf("%s: %w", server, err)
	h.failures++
	level := slog.LevelInfo
	if h.warned {
		level = slog.LevelDebug
	}
	h.reports.log(level, "zookeeper server not reached", "server", server, "error", err)
	// This warning is logged once in an outage, even if the list becomes shorter or longer
	// meanwhile.
	if !h.warned && h.failures >= len(h.list) {
		h.warned = true
		args := []any{"last", h.failed}
		if id != 0 { // an id of 0 means that the session has not begun
			args = append(args, "session", hexID(id))
		}
		h.reports.log(slog.LevelWarn, "no zookeeper server takes the session: trying again", args...)
		h.returnLocked()
	}
}

// whyNot adds to err the reason why no server was reached. err is the error that ended the wait for
// a server.
func (h *servers) whyNot(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		return fmt.Errorf("no server answered: %w (tried %s)", err, h.trying)
	}
	return fmt.Errorf("no server took the session: %w (last: %w)", err, h.failed)
}

// backoff returns the pause of a round: `first` in round 0, doubled in each later round, up to the
// limit.
func backoff(round int, first, limit time.Duration) time.Duration {
	return min(first<<min(round, 20), limit)
}

func sleep(ctx context.Context, d time.Duration) error {
	if !times.Sleep(ctx, d) {
		return causeOf(ctx)
	}
	return nil
}
