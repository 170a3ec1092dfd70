package sessionotel_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/session/sessionotel"
	"github.com/zkcoord/zkcoord/zktest"
)

// A process stands for one process of the operating system. It makes spans and stores them.
type process struct {
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	hooks  session.Tracer
}

func newProcess() *process {
	p := &process{spans: tracetest.NewSpanRecorder()}
	p.tracer = sdk.NewTracerProvider(sdk.WithSpanProcessor(p.spans)).Tracer("test")
	p.hooks = sessionotel.Traces(p.tracer, attribute.String("app", "a"))
	return p
}

// The method `session` opens a session whose steps the process traces.
func (p *process) session(t *testing.T, w *recipetest.World, change ...func(*session.Options)) *session.Session {
	return w.Client(append(change, func(o *session.Options) { o.Tracer = p.hooks })...).Session
}

// The method `named` returns the ended spans with the name, in the order of their ends.
func (p *process) named(name string) (list []sdk.ReadOnlySpan) {
	for _, s := range p.spans.Ended() {
		if s.Name() == name {
			list = append(list, s)
		}
	}
	return list
}

func value(s sdk.ReadOnlySpan, key attribute.Key) attribute.Value {
	for _, a := range s.Attributes() {
		if a.Key == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

// The function `linked` returns the id of the span to which s has a link of the given kind.
func linked(s sdk.ReadOnlySpan, kind string) trace.SpanID {
	for _, l := range s.Links() {
		if slices.Contains(l.Attributes, attribute.String("zookeeper.link", kind)) {
			return l.SpanContext.SpanID()
		}
	}
	return trace.SpanID{}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestHandOverOfALockIsATrace(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p := newProcess()
		a, b := p.session(t, w), p.session(t, w)
		first, span := p.tracer.Start(t.Context(), "first")
		defer span.End()
		second, span2 := p.tracer.Start(t.Context(), "second")
		defer span2.End()
		grant, err := lock.NewMutex(a, "/lock", lock.Options{}).Lock(first)
		must(t, err)
		var wait sync.WaitGroup
		wait.Go(func() {
			err := lock.NewMutex(b, "/lock", lock.Options{}).Do(second, func(ctx context.Context, g *lock.Grant) error {
				time.Sleep(time.Second)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		time.Sleep(3 * time.Second)
		must(t, grant.Unlock(first))
		wait.Wait()
		synctest.Wait()

		acquired, held := p.named("acquire lock"), p.named("hold lock")
		if len(acquired) != 2 || len(held) != 2 {
			t.Fatalf("got %d spans of acquisitions and %d of holds, want 2 of each", len(acquired), len(held))
		}
		for i, of := range []trace.Span{span, span2} {
			if got := held[i].Parent().SpanID(); got != of.SpanContext().SpanID() {
				t.Errorf("the parent of hold %d: got %v, want the caller's span %v", i, got, of.SpanContext().SpanID())
			}
			if got, want := linked(held[i], "acquire"), acquired[i].SpanContext().SpanID(); got != want {
				t.Errorf("the acquisition that hold %d links to: got %v, want %v", i, got, want)
			}
			if got := value(held[i], "zookeeper.hold.ended").AsString(); got != "lock: released" {
				t.Errorf("the reason of the end of hold %d: got %q, want \"lock: released\"", i, got)
			}
		}
		if got := value(held[0], "zookeeper.token").AsInt64(); got != int64(grant.Token()) {
			t.Errorf("token of the hold: got %#x, want %#x", got, grant.Token())
		}
		if took := held[0].EndTime().Sub(held[0].StartTime()); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the first hold took %v, want 3 s to 4 s", took)
		}
		if took := acquired[1].EndTime().Sub(acquired[1].StartTime()); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the second acquisition took %v, want 3 s to 4 s", took)
		}
		if got, want := linked(held[1], "predecessor"), held[0].SpanContext().SpanID(); got != want {
			t.Errorf("the predecessor of the second hold: got %v, want %v", got, want)
		}
		if linked(held[0], "predecessor").IsValid() {
			t.Error("the first hold has a predecessor, want none")
		}
		for i, a := range acquired {
			if !slices.ContainsFunc(p.named("children"), func(s sdk.ReadOnlySpan) bool {
				return s.Parent().SpanID() == a.SpanContext().SpanID() && s.SpanKind() == trace.SpanKindClient && value(s, "zookeeper.outcome").AsString() == "ok"
			}) {
				t.Errorf("acquisition %d has no child span for its list of children, want one", i)
			}
		}
	})
}

// If the predecessor was in another process, its span is unknown, but its token is known.
func TestPredecessorInAnotherProcess(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p, other := newProcess(), newProcess()
		grant, err := lock.NewMutex(other.session(t, w), "/lock", lock.Options{}).Lock(t.Context())
		must(t, err)
		s := p.session(t, w)
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := lock.NewMutex(s, "/lock", lock.Options{}).Do(t.Context(), func(context.Context, *lock.Grant) error { return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		must(t, grant.Unlock(t.Context()))
		wait.Wait()
		synctest.Wait()
		held := p.named("hold lock")
		if len(held) != 1 {
			t.Fatalf("got %d holds, want 1", len(held))
		}
		if got := value(held[0], "zookeeper.predecessor.token").AsInt64(); got != int64(grant.Token()) || linked(held[0], "predecessor").IsValid() {
			t.Errorf("predecessor: got token %#x, a link %v; want token %#x, false",
				got, linked(held[0], "predecessor").IsValid(), grant.Token())
		}
	})
}

// A logger stores the trace ids of the records that it gets.
type logger struct {
	slog.Handler
	mu     *sync.Mutex
	traces map[string]trace.TraceID
}

func (l logger) Enabled(context.Context, slog.Level) bool { return true }

func (l logger) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.traces[r.Message] = trace.SpanContextFromContext(ctx).TraceID()
	return nil
}

func TestLossIsInTheTraceAndInTheLog(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p := newProcess()
		log := logger{mu: new(sync.Mutex), traces: make(map[string]trace.TraceID)}
		s := p.session(t, w, func(o *session.Options) { o.Logger = slog.New(log) })
		ctx, span := p.tracer.Start(t.Context(), "job")
		grant, err := lock.NewMutex(s, "/lock", lock.Options{}).Lock(ctx)
		must(t, err)
		w.Kill(0)
		w.Kill(1)
		w.Kill(2)
		<-grant.Context().Done()
		if err := grant.Unlock(ctx); !errors.Is(err, session.ErrLeaseLapsed) {
			t.Errorf("Unlock: got %v, want %v", err, session.ErrLeaseLapsed)
		}
		synctest.Wait()
		held := p.named("hold lock")
		if len(held) != 1 {
			t.Fatalf("got %d holds, want 1", len(held))
		}
		if got := value(held[0], "zookeeper.hold.ended").AsString(); got != session.ErrLeaseLapsed.Error() || held[0].Status().Code != codes.Error {
			t.Errorf("end of the hold: got %q with status %v, want %q with an error", got, held[0].Status(), session.ErrLeaseLapsed)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		if got, want := log.traces["zookeeper lease lapsed"], span.SpanContext().TraceID(); got != want {
			t.Errorf("trace of the log record of the lapse: got %v, want %v", got, want)
		}
	})
}

// A claim has a link to the span in which its item was put, even if the item was released or moved
// in between.
func TestItemsCarryTheirOrigin(t *testing.T) {
	claim := func(ctx context.Context, q *queue.Queue[string]) error {
		return q.Do(ctx, func(context.Context, *queue.Claim[string]) error { return nil })
	}
	ways := map[string]struct {
		put   func(ctx context.Context, q *queue.Queue[string]) error
		claim func(ctx context.Context, q *queue.Queue[string]) error
	}{
		"put":  {func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a") }, claim},
		"many": {func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a", "b", "c") }, claim},
		"later": {func(ctx context.Context, q *queue.Queue[string]) error {
			return q.PutAt(ctx, time.Now().Add(5*time.Second), "a")
		}, claim},
		"released": {func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a", "b") },
			func(ctx context.Context, q *queue.Queue[string]) error {
				c, err := q.Claim(ctx)
				if err == nil {
					err = c.Release(ctx)
				}
				return errors.Join(err, claim(ctx, q))
			}},
		"given back": {func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a", "b") },
			func(ctx context.Context, q *queue.Queue[string]) error {
				for _, err := range q.Items(ctx) { // the consumer takes both items and puts one back
					return errors.Join(err, claim(ctx, q))
				}
				return errors.New("no item")
			}},
		"dead letter": {func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a", "b") },
			func(ctx context.Context, q *queue.Queue[string]) error {
				c, err := q.Claim(ctx)
				if err == nil {
					err = c.Reject(ctx)
				}
				return errors.Join(err, claim(ctx, q.DeadLetters()))
			}},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				producer, consumer := newProcess(), newProcess()
				ctx, span := producer.tracer.Start(t.Context(), "order")
				must(t, way.put(ctx, queue.New(producer.session(t, w), "/jobs", queue.Options[string]{Prefetch: 2})))
				span.End()
				must(t, way.claim(t.Context(), queue.New(consumer.session(t, w), "/jobs", queue.Options[string]{Prefetch: 2})))
				synctest.Wait()
				puts, holds := producer.named("put"), consumer.named("hold claim")
				if len(puts) == 0 || len(holds) == 0 {
					t.Fatalf("got %d puts and %d claims, want at least one of each", len(puts), len(holds))
				}
				if got, want := puts[0].Parent().SpanID(), span.SpanContext().SpanID(); got != want {
					t.Errorf("parent of the put's span: got %v, want the producer's span %v", got, want)
				}
				for _, h := range holds {
					if got, want := linked(h, "put"), puts[0].SpanContext().SpanID(); got != want {
						t.Errorf("the put that a claim links to: got %v, want %v", got, want)
					}
				}
			})
		})
	}
}

// If a queue applies the puts of several traces in one transaction, each item keeps the trace
// position of its put.
func TestPutsOfOneBatchKeepTheirTraces(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		producer, consumer := newProcess(), newProcess()
		client := w.Client(func(o *session.Options) { o.Tracer = producer.hooks })
		q := queue.New(client.Session, "/jobs", queue.Options[string]{})
		must(t, q.Put(t.Context(), "first"))
		for to := range w.Servers() {
			w.DelayLink(zktest.Link{From: w.Leader(), To: to}, 100*time.Millisecond)
		}
		client.Requests()
		roots := make(map[string]trace.TraceID)
		var wait sync.WaitGroup
		put := func(item string, traced bool) {
			ctx := t.Context()
			if traced {
				var span trace.Span
				ctx, span = producer.tracer.Start(ctx, item)
				defer span.End()
				roots[item] = span.SpanContext().TraceID()
			}
			wait.Go(func() {
				if err := q.Put(ctx, item); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		put("alone", true) // while this put is in progress, "a", "b" and "c" become one batch
		put("a", true)
		put("b", true)
		put("c", false)
		wait.Wait()
		if got := strings.Count(client.Requests(), "multi"); got != 2 {
			t.Fatalf("got %d transactions, want 2: one for the first put and one for the batch",
				got)
		}
		s := consumer.session(t, w)
		for _, item := range []string{"first", "alone", "a", "b", "c"} {
			must(t, queue.New(s, "/jobs", queue.Options[string]{}).Do(t.Context(), func(_ context.Context, c *queue.Claim[string]) error {
				if c.Value() != item {
					t.Errorf("got item %q, want %q", c.Value(), item)
				}
				return nil
			}))
		}
		synctest.Wait()
		puts, holds := producer.named("put"), consumer.named("hold claim")
		if len(puts) != 5 || len(holds) != 5 {
			t.Fatalf("got %d puts and %d claims, want 5 of each", len(puts), len(holds))
		}
		for i, item := range []string{"first", "alone", "a", "b", "c"} {
			link := linked(holds[i], "put")
			of := slices.IndexFunc(puts, func(s sdk.ReadOnlySpan) bool { return s.SpanContext().SpanID() == link })
			if of < 0 {
				t.Errorf("the claim of %q has a link to %v, which is no put", item, link)
			} else if root, traced := roots[item]; traced && puts[of].SpanContext().TraceID() != root {
				t.Errorf("the claim of %q has a link into trace %v, want %v", item, puts[of].SpanContext().TraceID(), root)
			}
		}
	})
}

// In this test, a program with traces and one without traces share a queue. Each program can take
// items that the other program put. A claim of an item that was put without a trace has no link.
func TestQueueOfProgramsWithAndWithoutTraces(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		p := newProcess()
		ctx, span := p.tracer.Start(t.Context(), "order")
		defer span.End()
		with := queue.New(p.session(t, w), "/jobs", queue.Options[string]{})
		without := queue.New(w.Client().Session, "/jobs", queue.Options[string]{})
		must(t, with.Put(ctx, "a"))
		must(t, without.Put(ctx, "b"))
		must(t, with.Put(ctx, "c"))
		for i, q := range []*queue.Queue[string]{without, with, without} {
			if got, err := q.Take(ctx); got != string(rune('a'+i)) || err != nil {
				t.Errorf("Take: got %q, %v; want %q", got, err, rune('a'+i))
			}
		}
		must(t, without.Put(ctx, "d"))
		must(t, with.Do(ctx, func(context.Context, *queue.Claim[string]) error { return nil }))
		synctest.Wait()
		if held := p.named("hold claim"); len(held) != 1 || linked(held[0], "put").IsValid() {
			t.Errorf("got %d claims, want one, without a link to a put", len(held))
		}
	})
}
