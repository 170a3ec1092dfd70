package sessionotel_test

import (
	"context"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/session/sessionotel"
	"github.com/zkcoord/zkcoord/zktest"
)

// BenchmarkLock shows how much one acquisition and release of a lock allocate: without a tracer,
// with spans that are not sampled, and with sampled spans. The servers run in this process and
// allocate as well.
func BenchmarkLock(b *testing.B) {
	tracer := func(s sdk.Sampler) session.Tracer {
		return sessionotel.Traces(sdk.NewTracerProvider(sdk.WithSampler(s)).Tracer("bench"))
	}
	for _, c := range []struct {
		name   string
		tracer session.Tracer
	}{{"off", nil}, {"not sampled", tracer(sdk.NeverSample())}, {"sampled", tracer(sdk.AlwaysSample())}} {
		b.Run(c.name, func(b *testing.B) {
			e := zktest.Start(b)
			s, err := session.Open(b.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext, Tracer: c.tracer})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			m := lock.NewMutex(s, "/lock", lock.Options{})
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Do(b.Context(), func(context.Context, *lock.Grant) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
