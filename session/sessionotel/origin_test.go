package sessionotel

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// parseOrigin returns the span context that Origin wrote, with all of its flags. Regression: a
// trace with the flags 05 was read as not sampled.
func TestOriginIsReadAsItWasWritten(t *testing.T) {
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled, 2, 3, 5, 0xff} {
		want := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, Remote: true,
		})
		origin := new(traces).Origin(trace.ContextWithSpanContext(t.Context(), want))
		if got, ok := parseOrigin(origin); !ok || !got.Equal(want) {
			t.Errorf("the origin %s: got %+v, %v; want %+v, true", origin, got, ok, want)
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("1", 48) + "zz", strings.Repeat("z", 50)} {
		if got, ok := parseOrigin(bad); ok {
			t.Errorf("the origin %q: got %+v, want none", bad, got)
		}
	}
}
