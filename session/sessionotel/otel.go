// Package sessionotel measures and traces sessions with OpenTelemetry. [Traces] makes spans, and
// [Metrics] records measurements with these instruments:
//
//	db.client.operation.duration  histogram of seconds, each request of a program
//	zookeeper.session.state       counter of changes, by the state that was entered
//	zookeeper.session.heartbeat   histogram of seconds, the round trips of heartbeats
//	zookeeper.session.lease       gauge of seconds: the time that the lease had left after the last heartbeat
//	zookeeper.session.lapsed      counter of holds that ended because the lease lapsed
//
// The instrument for requests follows OpenTelemetry's semantic conventions for database clients in
// its name, its unit and the limits of its buckets. It has the attributes of these conventions:
// db.system.name ("zookeeper"), db.operation.name (for example "create") and, if the request
// failed, error.type (for example "no_node"). An error without a name in this package has the type
// "_OTHER", as in the conventions. The attribute zookeeper.outcome is added: ok, fail or info, see
// [session.OutcomeOf]. The path of a znode is not an attribute, because there are too many paths.
// The time of a request includes the wait for a connection.
//
// The bucket limits of the histogram for heartbeats are powers of two, from 1 ms to 16 s. So a 99th
// percentile (p99) can be distinguished from one that is twice as long, for any session timeout.
//
// Alert on zookeeper.session.lapsed: each count is a hold, such as a lock, that a program lost
// although its session may still be alive.
package sessionotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/zkcoord/zkcoord/session"
)

// requestLimits are the bucket limits of the histogram for requests, in seconds. The semantic
// conventions define these limits.
var requestLimits = []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}

// heartbeatLimits are the bucket limits of the histogram for heartbeats, in seconds. Each limit is
// twice the previous one.
var heartbeatLimits = []float64{0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384}

// Metrics returns hooks for session.Options that record to meter. The attributes, if any, are added
// to all measurements. Add the session's purpose as an attribute, but not the session's id. Metrics
// fails if the meter cannot create an instrument.
func Metrics(meter metric.Meter, attrs ...attribute.KeyValue) (session.Metrics, error) {
	seconds := metric.WithUnit("s")
	request, err1 := meter.Float64Histogram("db.client.operation.duration", seconds,
		metric.WithDescription("Duration of database client operations."), metric.WithExplicitBucketBoundaries(requestLimits...))
	state, err2 := meter.Int64Counter("zookeeper.session.state")
	heartbeat, err3 := meter.Float64Histogram("zookeeper.session.heartbeat", seconds,
		metric.WithExplicitBucketBoundaries(heartbeatLimits...))
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
			of := []attribute.KeyValue{
				attribute.String("db.system.name", "zookeeper"), attribute.String("db.operation.name", op),
				attribute.Stringer("zookeeper.outcome", session.OutcomeOf(err)),
			}
			if err != nil {
				of = append(of, attribute.String("error.type", errorType(err)))
			}
			request.Record(ctx, took.Seconds(), with(of...))
		},
		State: func(s session.State) { state.Add(ctx, 1, with(attribute.Stringer("state", s))) },
		Heartbeat: func(roundTrip, left time.Duration) {
			heartbeat.Record(ctx, roundTrip.Seconds(), common)
			lease.Record(ctx, left.Seconds(), common)
		},
		Lapsed: func(holds int) { lapsed.Add(ctx, int64(holds), common) },
	}, nil
}

// errorTypes maps errors to values of the attribute error.type. The first entry that matches an
// error is used.
var errorTypes = []struct {
	err  error
	name string
}{
	{session.ErrNoNode, "no_node"},
	{session.ErrNodeExists, "node_exists"},
	{session.ErrBadVersion, "bad_version"},
	{session.ErrNotEmpty, "not_empty"},
	{session.ErrNoChildrenForEphemerals, "no_children_for_ephemerals"},
	{session.ErrNoAuth, "no_auth"},
	{session.ErrInvalidACL, "invalid_acl"},
	{session.ErrBadArguments, "bad_arguments"},
	{session.ErrQuota, "quota"},
	{session.ErrThrottled, "throttled"},
	{session.ErrReadOnly, "read_only"},
	{session.ErrUnimplemented, "unimplemented"},
	{session.ErrTooLarge, "too_large"},
	{session.ErrLost, "session_lost"},
	{session.ErrClosed, "session_closed"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
}

func errorType(err error) string {
	for _, t := range errorTypes {
		if errors.Is(err, t.err) {
			return t.name
		}
	}
	if session.ConnectionLost(err) {
		return "connection_lost"
	}
	return "_OTHER"
}
