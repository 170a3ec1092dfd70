package session

import (
	"context"
	"log/slog"
	"time"
)

// A Tracer observes the session's work for the calls of a program: see Options.Tracer. Package
// sessionotel implements one that makes spans. The methods of a Tracer must not block and must not
// use the session. Any number of goroutines may call them.
type Tracer interface {
	// Begin begins a step of the call whose context is ctx. It returns the context for
	// everything that belongs to the step, and a function that is called once when the step
	// ends.
	Begin(ctx context.Context, step Step) (context.Context, StepEnd)
	// Waits records that the acquisition whose context is ctx waits for the deletion of the
	// znode at path. token is the token of the hold that this znode represents or will represent.
	Waits(ctx context.Context, path string, token int64)
	// Origin returns the position of ctx in a trace, to be stored with the items of a queue. It
	// consists of the trace id (32 hexadecimal digits), the span id (16) and the flags (2), in
	// lower case. It is empty if ctx does not belong to a trace.
	Origin(ctx context.Context) string
}

// A Step is a unit of work that a Tracer observes.
type Step struct {
	Kind StepKind
	// Name is the operation of a request ("create"), or the kind of the thing that is acquired
	// or held ("lock", "election", "claim").
	Name string
	Path string // path of the znode, the lock, the election or the queue
	// Token is the fencing token of a hold, 0 for other steps.
	Token int64
	// Origin is the position in a trace at which the item of a claim was put, or "" if it is
	// unknown: see Tracer.Origin.
	Origin string
}

// A StepEnd ends a step at the given time. If the step is a hold, err is the cause with which the
// hold ended. Otherwise err is the error of the call, or nil.
type StepEnd func(at time.Time, err error)

// A StepKind is a kind of step.
type StepKind string

// The kinds of steps.
const (
	// StepRequest is a request of a program, with the wait for a connection.
	StepRequest StepKind = "request"
	// StepAcquire is a call that waits for a lock, a leadership or a claim.
	StepAcquire StepKind = "acquire"
	// StepHold is the time from a grant to its end.
	StepHold StepKind = "hold"
	// StepPut is a call that puts items in a queue.
	StepPut StepKind = "put"
)

// The method `step` begins a step if the session has a tracer. The caller calls the returned
// function with the step's error.
func (s *Session) step(ctx context.Context, kind StepKind, name, path string) (context.Context, func(error)) {
	if s.opts.Tracer == nil {
		return ctx, untraced
	}
	ctx, end := s.opts.Tracer.Begin(ctx, Step{Kind: kind, Name: name, Path: path})
	return ctx, func(err error) { end(time.Now(), err) }
}

func untraced(error) {}

// trace is the state of a hold for the tracer and the hold log. If neither is used, `ctx` and `end`
// remain nil.
type trace struct {
	step Step
	ctx  context.Context
	end  StepEnd
}

// Describe sets the description of the hold for a tracer and the hold log.
func (h *hold) Describe(name string, token int64, origin string) {
	h.trace.step = Step{Kind: StepHold, Name: name, Path: h.node.Path, Token: token, Origin: origin}
}

// traceGrant begins the step of a granted hold for the tracer, and logs the hold in the hold log.
// ctx is the context with which Grant was called.
func (h *hold) traceGrant(ctx context.Context) {
	k := h.keeper
	if k.opts.Tracer == nil && k.opts.HoldLog == nil {
		return
	}
	step := h.trace.step
	step.Kind, step.Path = StepHold, h.node.Path
	if step.Token == 0 {
		step.Token = h.node.Czxid
	}
	var traced context.Context
	var end StepEnd
	if k.opts.Tracer != nil {
		traced, end = k.opts.Tracer.Begin(context.WithoutCancel(ctx), step)
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opts.HoldLog != nil {
		end = k.logHoldLocked(step, now, end)
	}
	h.trace.ctx, h.trace.end = traced, end
	if h.ctx.Err() != nil { // the hold has ended meanwhile
		h.traceEndLocked(context.Cause(h.ctx))
	}
}

// logHoldLocked logs the start of a hold. It returns a function that logs the end of the hold and
// then calls the function `end`.
func (k *leaseKeeper) logHoldLocked(step Step, now time.Time, end StepEnd) StepEnd {
	about := []slog.Attr{
		slog.String("hold", step.Name), slog.String("path", k.opts.Chroot+step.Path),
		slog.Int64("token", step.Token), slog.String("session", hexID(k.id)),
	}
	write := func(at time.Time, message string, more ...slog.Attr) {
		r := slog.NewRecord(at, slog.LevelInfo, message, 0)
		r.AddAttrs(about...)
		r.AddAttrs(more...)
		if log := k.opts.HoldLog.Handler(); log.Enabled(context.Background(), r.Level) {
			_ = log.Handle(context.Background(), r) // a Logger ignores this error too
		}
	}
	k.reports.add(func() { write(now, "hold begins") })
	return func(at time.Time, cause error) {
		write(at, "hold ends", slog.String("cause", cause.Error()))
		if end != nil {
			end(at, cause)
		}
	}
}

// traceEndLocked ends the step of a hold. After the first call it does nothing.
func (h *hold) traceEndLocked(cause error) {
	if end, now := h.trace.end, time.Now(); end != nil {
		h.trace.end = nil
		h.keeper.reports.add(func() { end(now, cause) })
	}
}
