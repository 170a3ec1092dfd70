package session

import (
	"context"
	"log/slog"
	"sync"
)

// A reporter calls the logger and the hooks of a session, in order, on one goroutine.
// One that is slow, or uses the session, then does not hold up the lease.
type reporter struct {
	logger *slog.Logger
	more   chan struct{} // holds one token when reports may be non-empty

	mu      sync.Mutex
	reports []func()
}

func newReporter(logger *slog.Logger) *reporter {
	return &reporter{logger: logger, more: make(chan struct{}, 1)}
}

// add has f called by run or flush.
func (r *reporter) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, f)
	signal(r.more)
}

func (r *reporter) log(level slog.Level, message string, args ...any) {
	r.logIn(context.Background(), level, message, args...)
}

// logIn is log with a context for the handler, which may be nil.
func (r *reporter) logIn(ctx context.Context, level slog.Level, message string, args ...any) {
	if ctx == nil {
		ctx = context.Background()
	}
	r.add(func() { r.logger.Log(ctx, level, message, args...) })
}

// run calls what is added until ctx ends.
func (r *reporter) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-r.more:
		case <-ctx.Done():
		}
		r.flush()
	}
}

// flush calls what was added so far.
func (r *reporter) flush() {
	r.mu.Lock()
	reports := r.reports
	r.reports = nil
	r.mu.Unlock()
	for _, f := range reports {
		f()
	}
}

// signal puts a token into a channel that has room for one, unless it has one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
