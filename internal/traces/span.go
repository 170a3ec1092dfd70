package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A span is the part of an OpenTelemetry span that the pictures show.
type span struct {
	Trace      string            `json:"trace"`
	ID         string            `json:"id"`
	Parent     string            `json:"parent,omitempty"`
	Name       string            `json:"name"`
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Error      string            `json:"error,omitempty"`
	Links      map[string]string `json:"links,omitempty"` // the ids of spans, by the kind of link
}

// A recorder makes spans and keeps those that have ended.
type recorder struct {
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
}

func newRecorder() *recorder {
	spans := tracetest.NewSpanRecorder()
	return &recorder{spans, sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("traces")}
}

func (r *recorder) ended() (list []span) {
	for _, s := range r.spans.Ended() {
		list = append(list, convert(s))
	}
	return list
}

func convert(s sdk.ReadOnlySpan) span {
	to := span{
		Trace: s.SpanContext().TraceID().String(), ID: s.SpanContext().SpanID().String(), Name: s.Name(),
		Start: s.StartTime(), End: s.EndTime(), Attributes: map[string]string{}, Links: map[string]string{},
	}
	if s.Parent().IsValid() {
		to.Parent = s.Parent().SpanID().String()
	}
	for _, a := range s.Attributes() {
		to.Attributes[string(a.Key)] = a.Value.String()
	}
	for _, l := range s.Links() {
		for _, a := range l.Attributes {
			to.Links[a.Value.String()] = l.SpanContext.SpanID().String()
		}
	}
	if s.Status().Code == codes.Error {
		to.Error = s.Status().Description
	}
	return to
}

// The function `encode` writes one line for each span.
func encode(w io.Writer, spans []span) error {
	lines := json.NewEncoder(w)
	for _, s := range spans {
		if err := lines.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// The function `write` stores spans in the order of their starts.
func write(name string, spans []span) error {
	slices.SortFunc(spans, func(a, b span) int { return a.Start.Compare(b.Start) })
	var b bytes.Buffer
	if err := encode(&b, spans); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func read(name string) ([]span, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parse(string(text))
}

func parse(text string) (spans []span, err error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		var s span
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("traces: span %q: %w", lines.Text(), err)
		}
		spans = append(spans, s)
	}
	return spans, lines.Err()
}
