package session

import (
	"context"
	"log/slog"
	"sync"
)

// A reporter calls the logger and the hooks of a session, except Metrics.Request, in order on one
// goroutine. So a hook that is slow or uses the session does not delay the lease.
type reporter struct {
	logger *slog.Logger
	more   chan struct{} // contains a token when `reports` may be non-empty

	mu      sync.Mutex
	reports []func()
}

func newReporter(logger *slog.Logger) *reporter {
	return &reporter{logger: logger, more: make(chan struct{}, 1)}
}

// add queues f. The method `run` or `flush` calls f later.
func (r *reporter) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, f)
	signal(r.more)
}

func (r *reporter) log(level slog.Level, message string, args ...any) {
	r.logIn(context.Background(), level, message, args...)
}

// logIn is like `log`, and passes a context to the handler. The context may be nil.
func (r *reporter) logIn(ctx context.Context, level slog.Level, message string, args ...any) {
	if ctx == nil {
		ctx = context.Background()
	}
	r.add(func() { r.logger.Log(ctx, level, message, args...) })
}

// run calls the queued reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-r.more:
		case <-ctx.Done():
		}
		r.flush()
	}
}

// flush calls the reports queued so far.
func (r *reporter) flush() {
	r.mu.Lock()
	reports := r.reports
	r.reports = nil
	r.mu.Unlock()
	for _, f := range reports {
		f()
	}
}

// The function `signal` puts a token into c unless c already contains one. c has room for one
// token.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
