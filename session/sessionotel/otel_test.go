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

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/session/sessionotel"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder is a meter that keeps what is recorded, as text.
type recorder struct {
	noop.Meter
	mu    sync.Mutex
	lines []string
	fail  string // the instrument that cannot be made
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

func (r *recorder) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
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

func (f float) Record(_ context.Context, _ float64, opts ...metric.RecordOption) {
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

func TestWhatIsRecorded(t *testing.T) {
	r := &recorder{}
	hooks, err := sessionotel.Metrics(r, attribute.String("app", "a"))
	if err != nil {
		t.Fatal(err)
	}
	hooks.Request("create", time.Second, nil)
	hooks.Request("set", time.Second, context.Canceled)
	hooks.State(session.Lost)
	hooks.Heartbeat(time.Millisecond, time.Second)
	hooks.Lapsed(3)
	want := []string{
		"zookeeper.session.request app=a,operation=create,outcome=ok",
		"zookeeper.session.request app=a,operation=set,outcome=info",
		"zookeeper.session.state app=a,state=lost",
		"zookeeper.session.heartbeat app=a",
		"zookeeper.session.lease app=a",
		"zookeeper.session.lapsed app=a",
	}
	if !slices.Equal(r.lines, want) {
		t.Errorf("recorded %q", r.lines)
	}
	for _, name := range []string{"request", "state", "heartbeat", "lease", "lapsed"} {
		if _, err := sessionotel.Metrics(&recorder{fail: "zookeeper.session." + name}); err == nil {
			t.Errorf("%s could not be made, and no error", name)
		}
	}
}

// Give the hooks to every session that is opened. A real program takes its
// meter from otel.Meter.
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
	// zookeeper.session.request operation=sync,outcome=ok
	// zookeeper.session.state state=closed
	// zookeeper.session.state state=connected
}
