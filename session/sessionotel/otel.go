// Package sessionotel measures sessions with OpenTelemetry.
//
// The instruments are:
//
//	zookeeper.session.request    histogram of seconds, by operation and outcome (ok, fail, info)
//	zookeeper.session.state      counter of changes, by the state that was entered
//	zookeeper.session.heartbeat  histogram of seconds, the round trips of heartbeats
//	zookeeper.session.lease      gauge of seconds that the lease stood for after the last heartbeat
//	zookeeper.session.lapsed     counter of holds that ended because the lease did
//
// Alert on lapsed: each is a lock or a leadership that a program lost although
// its session may have lived.
package sessionotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/zkcoord/zkcoord/session"
)

// Metrics returns hooks for session.Options that record to meter. The
// attributes, if any, are added to all that is recorded: name the session's
// purpose there, not its id. It fails where the meter does.
func Metrics(meter metric.Meter, attrs ...attribute.KeyValue) (session.Metrics, error) {
	seconds := metric.WithUnit("s")
	request, err1 := meter.Float64Histogram("zookeeper.session.request", seconds)
	state, err2 := meter.Int64Counter("zookeeper.session.state")
	heartbeat, err3 := meter.Float64Histogram("zookeeper.session.heartbeat", seconds)
	lease, err4 := meter.Float64Gauge("zookeeper.session.lease", seconds)
	lapsed, err5 := meter.Int64Counter("zookeeper.session.lapsed")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return session.Metrics{}, err
	}
	ctx := context.Background()
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attrs[:len(attrs):len(attrs)], more...)...))
	}
	common := with()
	return session.Metrics{
		Request: func(op string, took time.Duration, err error) {
			request.Record(ctx, took.Seconds(), with(
				attribute.String("operation", op), attribute.Stringer("outcome", session.OutcomeOf(err))))
		},
		State: func(s session.State) { state.Add(ctx, 1, with(attribute.Stringer("state", s))) },
		Heartbeat: func(roundTrip, left time.Duration) {
			heartbeat.Record(ctx, roundTrip.Seconds(), common)
			lease.Record(ctx, left.Seconds(), common)
		},
		Lapsed: func(holds int) { lapsed.Add(ctx, int64(holds), common) },
	}, nil
}
