package sessionotel

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkcoord/zkcoord/session"
)

// Traces returns a Tracer for session.Options that makes spans. The attributes, if any, are added
// to all spans. Use the same Tracer for all sessions of a process. A Tracer can link a hold to the
// hold's predecessor only if this Tracer has made the predecessor's span.
//
// The spans are:
//
//	acquire lock    a call that waits for a lock; also acquire semaphore, election and claim
//	hold lock       from the grant to its end
//	put             a call that puts items in a queue
//	children        a request that lists children; every request has the name of its operation
//
// A request has a span only if the context of its call has a span.
//
// The span of a hold is a child of the span in the caller's context, for example in the context
// that was passed to Lock. Its attributes are zookeeper.path, zookeeper.token and, at its end,
// zookeeper.hold.ended with the reason, for example "lock: released". A hold that was lost has the
// status Error: its lease lapsed, its znode was deleted or could not be read, or its session ended.
// A claim that ended because its own time limit had passed was not lost in this sense. The span of
// a hold ends when the context of the grant ends, even if the program continues to work.
//
// A hold has up to three links. One link is to its acquisition. A claim also has a link to the span
// in which the item was put, in this process or another one. If the hold waited for another hold,
// the attribute zookeeper.predecessor.token is the token of that predecessor. If the predecessor
// was in this process, there is also a link to its span. If the predecessor was in another process,
// its span can be found by the token.
//
// Requests of the session itself have no span. Examples are requests that the session continues
// after the caller has given up, and requests that several callers of a queue share.
func Traces(tracer trace.Tracer, attrs ...attribute.KeyValue) session.Tracer {
	return &traces{tracer: tracer, attrs: attrs, holds: make(map[int64]trace.SpanContext)}
}

type traces struct {
	tracer trace.Tracer
	attrs  []attribute.KeyValue

	mu    sync.Mutex
	holds map[int64]trace.SpanContext // the spans of the last maxHolds holds, by token
	order []int64                     // the tokens, the oldest first
}

// maxHolds is the number of holds that are remembered as predecessors. A successor is granted its
// hold soon after the end of its predecessor, so older holds are not needed.
const maxHolds = 4096

// An acquisition is the state of a call that acquires a hold. It is stored in the context of that
// call.
type acquisition struct {
	outer trace.SpanContext // the caller's span
	span  trace.Span

	mu          sync.Mutex
	predecessor int64 // token of the predecessor, 0 if there was none
}

type acquisitionKey struct{}

func (t *traces) Begin(ctx context.Context, step session.Step) (context.Context, session.StepEnd) {
	switch step.Kind {
	case session.StepRequest:
		return t.request(ctx, step)
	case session.StepHold:
		return t.hold(ctx, step)
	}
	name, kind := string(step.Kind)+" "+step.Name, trace.SpanKindInternal
	if step.Kind == session.StepPut {
		name, kind = step.Name, trace.SpanKindProducer
	}
	a := &acquisition{outer: trace.SpanContextFromContext(ctx)}
	ctx, a.span = t.tracer.Start(ctx, name, t.with(kind, step)...)
	return context.WithValue(ctx, acquisitionKey{}, a), ending(a.span)
}

// The method `request` begins a span for a request if the context of the call has a span.
func (t *traces) request(ctx context.Context, step session.Step) (context.Context, session.StepEnd) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(time.Time, error) {}
	}
	ctx, span := t.tracer.Start(ctx, step.Name, append(t.with(trace.SpanKindClient, step),
		trace.WithAttributes(attribute.String("db.system.name", "zookeeper"), attribute.String("db.operation.name", step.Name)))...)
	end := ending(span)
	return ctx, func(at time.Time, err error) {
		span.SetAttributes(attribute.Stringer("zookeeper.outcome", session.OutcomeOf(err)))
		end(at, err)
	}
}

func (t *traces) hold(ctx context.Context, step session.Step) (context.Context, session.StepEnd) {
	options := append(t.with(trace.SpanKindInternal, step), trace.WithAttributes(attribute.Int64("zookeeper.token", step.Token)))
	if origin, ok := parseOrigin(step.Origin); ok {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: origin, Attributes: []attribute.KeyValue{attribute.String("zookeeper.link", "put")}}))
	}
	if a, ok := ctx.Value(acquisitionKey{}).(*acquisition); ok {
		ctx = trace.ContextWithSpanContext(ctx, a.outer)
		options = append(options, trace.WithLinks(trace.Link{SpanContext: a.span.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("zookeeper.link", "acquire")}}))
		options = append(options, t.predecessor(a)...)
	}
	ctx, span := t.tracer.Start(ctx, "hold "+step.Name, options...)
	t.remember(step.Token, span.SpanContext())
	return ctx, func(at time.Time, cause error) {
		span.SetAttributes(attribute.String("zookeeper.hold.ended", cause.Error()))
		for _, loss := range losses {
			if errors.Is(cause, loss) {
				span.SetStatus(codes.Error, cause.Error())
			}
		}
		span.End(trace.WithTimestamp(at))
	}
}

// losses has the causes with which a hold ends if it was lost: see Traces.
var losses = []error{session.ErrLeaseLapsed, session.ErrRevoked, session.ErrUnreadable, session.ErrLost}

func (t *traces) predecessor(a *acquisition) []trace.SpanStartOption {
	a.mu.Lock()
	token := a.predecessor
	a.mu.Unlock()
	if token == 0 {
		return nil
	}
	t.mu.Lock()
	of, known := t.holds[token]
	t.mu.Unlock()
	options := []trace.SpanStartOption{trace.WithAttributes(attribute.Int64("zookeeper.predecessor.token", token))}
	if known {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: of, Attributes: []attribute.KeyValue{attribute.String("zookeeper.link", "predecessor")}}))
	}
	return options
}

func (t *traces) remember(token int64, span trace.SpanContext) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.holds[token]; !ok {
		t.order = append(t.order, token)
	}
	t.holds[token] = span
	if len(t.order) > maxHolds {
		delete(t.holds, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *traces) Waits(ctx context.Context, path string, token int64) {
	if a, ok := ctx.Value(acquisitionKey{}).(*acquisition); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.predecessor = token
		a.span.AddEvent("waits", trace.WithAttributes(attribute.String("zookeeper.path", path), attribute.Int64("zookeeper.token", token)))
	}
}

func (t *traces) Origin(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return ""
	}
	return span.TraceID().String() + span.SpanID().String() + span.TraceFlags().String()
}

// parseOrigin is the inverse of Origin.
func parseOrigin(s string) (trace.SpanContext, bool) {
	const traceDigits, spanDigits = 32, 16
	if len(s) != traceDigits+spanDigits+2 {
		return trace.SpanContext{}, false
	}
	id, err1 := trace.TraceIDFromHex(s[:traceDigits])
	span, err2 := trace.SpanIDFromHex(s[traceDigits : traceDigits+spanDigits])
	flags, err3 := strconv.ParseUint(s[traceDigits+spanDigits:], 16, 8)
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags), Remote: true,
	}), errors.Join(err1, err2, err3) == nil
}

func (t *traces) with(kind trace.SpanKind, step session.Step) []trace.SpanStartOption {
	return []trace.SpanStartOption{
		trace.WithSpanKind(kind), trace.WithAttributes(t.attrs...), trace.WithAttributes(attribute.String("zookeeper.path", step.Path)),
	}
}

// The function `ending` returns a function that ends a span with the error of the span's call.
func ending(span trace.Span) session.StepEnd {
	return func(at time.Time, err error) {
		if err != nil {
			span.SetAttributes(attribute.String("error.type", errorType(err)))
			span.SetStatus(codes.Error, err.Error())
		}
		span.End(trace.WithTimestamp(at))
	}
}
