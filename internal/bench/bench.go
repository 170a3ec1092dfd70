package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Options are the options of a run. Only Start is required. The zero value of any other field means
// its default.
type Options struct {
	// Start starts the ensemble. Its nodes must listen on TCP.
	Start ensemble.Starter
	Nodes int // zero means 3

	Rounds int           // zero means 5; before these, one more round runs that does not count
	Time   time.Duration // duration of a round; zero means 1 s; some jobs take a multiple of it

	Rows       []string // prefixes of the names of the rows to run; nil means all rows
	Libraries  []string // nil means all libraries that are installed
	MaxClients int      // rows with more clients are left out; 0 means no limit

	Progress func(format string, args ...any) // nil discards it
}

// The constant `patience` is the time that a job may take in addition to its Warm and its Time. A
// job that takes longer fails.
const patience = time.Minute

// The constant `root` is the parent of all znodes.
const root = "/zkcoord-bench"

func (o *Options) complete() error {
	if o.Nodes < 0 || o.Rounds < 0 || o.MaxClients < 0 {
		return fmt.Errorf("bench: %d nodes, %d rounds, rows with up to %d clients: they cannot be negative", o.Nodes, o.Rounds, o.MaxClients)
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if o.Time == 0 {
		o.Time = time.Second
	}
	if o.Time < 0 {
		return fmt.Errorf("bench: rounds of %v: must not be negative", o.Time)
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	return nil
}

func (o *Options) rows() ([]Row, error) {
	rows := slices.DeleteFunc(Rows(), func(r Row) bool {
		named := o.Rows == nil || slices.ContainsFunc(o.Rows, func(part string) bool { return strings.HasPrefix(r.Name, part) })
		return !named || o.MaxClients > 0 && r.Job.Clients > o.MaxClients
	})
	if len(rows) == 0 {
		return nil, fmt.Errorf("bench: no row has a name that begins with one of %q", o.Rows)
	}
	return rows, nil
}

// The method `libraries` returns zkcoord and the requested libraries. For each requested library
// that is not installed, the map `missing` says what to install.
func (o *Options) libraries() (chosen []library, missing map[string]string, err error) {
	missing = make(map[string]string)
	asked := func(name string) bool { return o.Libraries == nil || slices.Contains(o.Libraries, name) }
	known := []string{"zkcoord"}
	chosen = []library{zkcoord{}}
	for _, l := range []library{raw{floor: true}, raw{}, &peer{library: peers.Curator}, &peer{library: peers.Kazoo}} {
		known = append(known, l.name())
		if !asked(l.name()) {
			continue
		}
		if p, ok := l.(*peer); ok {
			if err := p.library.Installed(); err != nil {
				missing[l.name()] = err.Error()
				continue
			}
		}
		chosen = append(chosen, l)
	}
	for _, name := range o.Libraries {
		if !slices.Contains(known, name) {
			return nil, nil, fmt.Errorf("bench: no library %q; want one of %q", name, known)
		}
	}
	return chosen, missing, nil
}

// Run starts an ensemble and measures the rows on it. If ctx ends first, Run returns the error
// together with the rows measured so far.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	rows, err := o.rows()
	if err != nil {
		return nil, err
	}
	libraries, missing, err := o.libraries()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, l := range libraries {
			l.close()
		}
		err = errors.Join(err, peers.CleanUp())
	}()
	e, err := o.Start(ctx, config(o.Nodes))
	if err != nil {
		return nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err = errors.Join(err, e.Close(closing))
	}()
	if err := e.Ready(ctx); err != nil {
		return nil, err
	}
	servers, err := ensemble.Addresses(ctx, e)
	if err != nil {
		return nil, err
	}
	report := &Report{Ensemble: e.Kind(), Nodes: len(servers), CPUs: runtime.NumCPU(), Rounds: o.Rounds, Round: o.Time, Missing: missing}
	r := &runner{Options: o, servers: servers, libraries: libraries}
	if r.admin, err = session.Open(ctx, session.Options{Servers: servers, Timeout: sessionTimeout}); err != nil {
		return nil, err
	}
	defer r.admin.Close()
	for i, row := range rows {
		o.Progress("%s (%d of %d)", row.Name, i+1, len(rows))
		result, err := r.row(ctx, row)
		if err != nil {
			return report, fmt.Errorf("bench: %s: %w", row.Name, err)
		}
		report.Rows = append(report.Rows, result)
	}
	return report, nil
}

// The function `config` returns the configuration of the ensemble on which Run measures:
// ZooKeeper's default tick, and JVMs with the full compiler and 1 GB of memory.
func config(nodes int) ensemble.Config {
	return ensemble.Config{Nodes: nodes, TickTime: 2 * time.Second, JVMFlags: []string{"-Xmx1g", "-XX:TieredStopAtLevel=4"}}
}

type runner struct {
	Options
	servers   []string
	libraries []library
	admin     *session.Session
}

// The method `row` measures all libraries in one row. If a library fails, the result of that
// library has an error instead of values. The run continues unless ctx or the admin session ends.
func (r *runner) row(ctx context.Context, row Row) (RowResult, error) {
	result := RowResult{Row: row}
	var taking []library
	for _, l := range r.libraries {
		if l.does(row.Job) {
			taking = append(taking, l)
			result.Libraries = append(result.Libraries, LibraryResult{Name: l.name()})
		}
	}
	fleets := make([]fleet, len(taking))
	defer func() {
		for _, f := range fleets {
			if f != nil {
				f.close()
			}
		}
	}()
	for i, l := range taking {
		one := &result.Libraries[i]
		err := r.count(ctx, row, l, one)
		if err == nil {
			fleets[i], err = l.open(ctx, r.servers, row.Job.Clients)
		}
		if err := r.failed(ctx, one, err); err != nil {
			return result, err
		}
	}
	for round := range r.Rounds + 1 {
		for k := range taking {
			i := (k + round) % len(taking)
			one := &result.Libraries[i]
			if one.Error != "" {
				continue
			}
			sample, err := r.job(ctx, fleets[i], func(path string) Job { return row.timed(path, r.Time) }, nil)
			if err := r.failed(ctx, one, err); err != nil {
				return result, err
			}
			if round > 0 {
				one.Samples = append(one.Samples, sample)
			}
		}
	}
	result.conclude()
	return result, nil
}

// The method `failed` records the error err of a library, and returns nil. If ctx or the admin
// session has ended, the method returns an error instead, because then the whole run fails.
func (r *runner) failed(ctx context.Context, l *LibraryResult, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.admin.Err() != nil:
		return r.admin.Err()
	case err != nil:
		l.Error = err.Error()
		r.Progress("%s failed: %v", l.Name, err)
	}
	return nil
}

// The method `count` runs the row's job once and counts the requests of the library with a meter.
func (r *runner) count(ctx context.Context, row Row, l library, result *LibraryResult) error {
	c, err := newMeter(r.servers)
	if err != nil {
		return err
	}
	defer c.close()
	f, err := l.open(ctx, c.servers(), row.Job.Clients)
	if err != nil {
		return err
	}
	defer f.close()
	sample, err := r.job(ctx, f, row.counted, func(ctx context.Context, j Job) error {
		defer c.reset()
		// Do not count the first operation, which creates znodes that later operations use.
		if j.recurs() {
			j.Each = 1
			_, err := f.do(ctx, j)
			return err
		}
		return nil
	})
	if err == nil && sample.Ops == 0 {
		err = errors.New("no operation completed")
	}
	if err != nil {
		return err
	}
	result.Requests = make(map[string]float64)
	for op, n := range c.reset() {
		result.Requests[op] = float64(n) / float64(sample.Ops)
	}
	return nil
}

// The method `job` lets a fleet do the job that the function `of` returns for a new path, and
// deletes the path at the end. Before a Take job, the fleet puts the items. If `begin` is not nil,
// it is called just before the job itself.
func (r *runner) job(ctx context.Context, f fleet, of func(path string) Job, begin func(context.Context, Job) error) (sample Sample, err error) {
	path := root + "/" + recipe.NewID(r.admin)
	if err := recipe.CreateParents(ctx, r.admin, path+"/x"); err != nil {
		return sample, err
	}
	defer func() {
		err = errors.Join(err, r.admin.DeleteAll(ctx, path))
	}()
	j := of(path)
	bounded, cancel := context.WithTimeout(ctx, j.Warm+j.Time+patience)
	defer cancel()
	if j.Kind == Take {
		fill := j
		fill.Kind = Put
		filled, err := f.do(bounded, fill)
		if err != nil {
			return sample, err
		}
		j.Items = filled.Ops
	}
	if begin != nil {
		if err := begin(bounded, j); err != nil {
			return sample, err
		}
	}
	return f.do(bounded, j)
}
