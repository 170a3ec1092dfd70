package sessionotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/session/sessionotel"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder is a meter that stores the measurements as text.
type recorder struct {
	noop.Meter
	mu    sync.Mutex
	lines []string
	fail  string // the instrument that cannot be created

	limits map[string][]float64 // bucket limits of histograms
	values map[string][]float64
}

func (r *recorder) add(name string, attrs attribute.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.TrimSpace(name+" "+attrs.Encoded(attribute.DefaultEncoder())))
}

func (r *recorder) made(name string) error {
	if name == r.fail {
		return errors.New("no " + name)
	}
	return nil
}

func (r *recorder) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	config := metric.NewFloat64HistogramConfig(opts...)
	if config.Unit() != "s" {
		return nil, errors.New("unit " + config.Unit())
	}
	if r.limits == nil {
		r.limits, r.values = map[string][]float64{}, map[string][]float64{}
	}
	r.limits[name] = config.ExplicitBucketBoundaries()
	return float{Float64Histogram: noop.Float64Histogram{}, r: r, name: name}, r.made(name)
}

func (r *recorder) Float64Gauge(name string, _ ...metric.Float64GaugeOption) (metric.Float64Gauge, error) {
	return gauge{Float64Gauge: noop.Float64Gauge{}, r: r, name: name}, r.made(name)
}

func (r *recorder) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return counter{Int64Counter: noop.Int64Counter{}, r: r, name: name}, r.made(name)
}

type float struct {
	metric.Float64Histogram
	r    *recorder
	name string
}

func (f float) Record(_ context.Context, value float64, opts ...metric.RecordOption) {
	f.r.mu.Lock()
	f.r.values[f.name] = append(f.r.values[f.name], value)
	f.r.mu.Unlock()
	f.r.add(f.name, metric.NewRecordConfig(opts).Attributes())
}

type gauge struct {
	metric.Float64Gauge
	r    *recorder
	name string
}

func (g gauge) Record(_ context.Context, _ float64, opts ...metric.RecordOption) {
	g.r.add(g.name, metric.NewRecordConfig(opts).Attributes())
}

type counter struct {
	metric.Int64Counter
	r    *recorder
	name string
}

func (c counter) Add(_ context.Context, _ int64, opts ...metric.AddOption) {
	c.r.add(c.name, metric.NewAddConfig(opts).Attributes())
}

func TestRecordedMeasurements(t *testing.T) {
	r := &recorder{}
	hooks, err := sessionotel.Metrics(r, attribute.String("app", "a"))
	if err != nil {
		t.Fatal(err)
	}
	hooks.Request("create", time.Second, nil)
	hooks.Request("set", time.Second, context.Canceled)
	hooks.Request("get", time.Second, fmt.Errorf("session: get /a: %w", session.ErrNoNode))
	hooks.Request("set", time.Second, errors.New("something else"))
	for _, err := range []error{
		&session.RequestError{Outcome: session.Failed, Err: zk.ErrConnectionClosed}, // not written
		&session.RequestError{Err: zk.ErrConnectionClosed},                          // its reply was lost
		&session.RequestError{Err: session.ErrUnknown},
		&session.RequestError{Err: zk.ErrShortBuffer}, // its reply cannot be decoded
	} {
		hooks.Request("set", time.Second, err)
	}
	hooks.State(session.Lost)
	hooks.Heartbeat(time.Millisecond, time.Second)
	hooks.Lapsed(3)
	want := []string{
		"db.client.operation.duration app=a,db.operation.name=create,db.system.name=zookeeper,zookeeper.outcome=ok",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=canceled,zookeeper.outcome=info",
		"db.client.operation.duration app=a,db.operation.name=get,db.system.name=zookeeper,error.type=no_node,zookeeper.outcome=fail",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=_OTHER,zookeeper.outcome=info",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=connection_lost,zookeeper.outcome=fail",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=connection_lost,zookeeper.outcome=info",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=_OTHER,zookeeper.outcome=info",
		"db.client.operation.duration app=a,db.operation.name=set,db.system.name=zookeeper,error.type=_OTHER,zookeeper.outcome=info",
		"zookeeper.session.state app=a,state=lost",
		"zookeeper.session.heartbeat app=a",
		"zookeeper.session.lease app=a",
		"zookeeper.session.lapsed app=a",
	}
	if !slices.Equal(r.lines, want) {
		t.Errorf("recorded:\n got %q\nwant %q", r.lines, want)
	}
	for _, name := range []string{"db.client.operation.duration", "zookeeper.session.state", "zookeeper.session.heartbeat",
		"zookeeper.session.lease", "zookeeper.session.lapsed"} {
		if _, err := sessionotel.Metrics(&recorder{fail: name}); err == nil {
			t.Errorf("the instrument %s cannot be created: got no error, want one", name)
		}
	}
}

// The method `quantile` computes the q-quantile from the buckets of a histogram by interpolation,
// like Prometheus.
func (r *recorder) quantile(q float64, name string) float64 {
	limits, values := r.limits[name], r.values[name]
	counts := make([]float64, len(limits)+1)
	for _, v := range values {
		i, _ := slices.BinarySearch(limits, v) // a value equal to a limit is in the bucket below it
		counts[i]++
	}
	rank, lower := q*float64(len(values)), 0.0
	for i, limit := range limits {
		if rank <= counts[i] {
			return lower + (limit-lower)*rank/counts[i]
		}
		rank, lower = rank-counts[i], limit
	}
	return lower
}

// docs/operations.md recommends an alert when the p99 of heartbeats exceeds a tenth of the session
// timeout. The buckets must be fine enough to compute this p99. The SDK's default buckets are too
// coarse: their first two limits are 0 and 5 s.
func TestAlertOnHeartbeatsCanBeComputed(t *testing.T) {
	const name = "zookeeper.session.heartbeat"
	for timeout := time.Second; timeout <= 2*time.Minute; timeout += 700 * time.Millisecond {
		for took, want := range map[time.Duration]bool{timeout / 1000: false, timeout / 20: false, timeout / 5: true, timeout / 2: true} {
			r := &recorder{}
			hooks, err := sessionotel.Metrics(r)
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				hooks.Heartbeat(took, timeout)
			}
			if got := r.quantile(0.99, name) > (timeout / 10).Seconds(); got != want {
				t.Errorf("heartbeats of %v, session timeout %v: alert %v, want %v (p99 %v s)", took, timeout, got, want, r.quantile(0.99, name))
			}
		}
	}
}

// Pass the hooks to every session that is opened. A real program gets its meter from otel.Meter.
func ExampleMetrics() {
	meter := &recorder{}
	metrics, err := sessionotel.Metrics(meter)
	if err != nil {
		panic(err)
	}
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext, Metrics: metrics})
	if err != nil {
		panic(err)
	}
	s.Sync(ctx, "/")
	s.Close() // all hooks have been called
	slices.Sort(meter.lines)
	for _, line := range meter.lines {
		fmt.Println(line)
	}
	// Output:
	// db.client.operation.duration db.operation.name=sync,db.system.name=zookeeper,zookeeper.outcome=ok
	// zookeeper.session.state state=closed
	// zookeeper.session.state state=connected
}
