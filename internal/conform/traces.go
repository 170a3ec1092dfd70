package conform

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The map usedBy has those operations of a trace that recipes use. The key is the name of an
// operation. The value lists the guarantees that depend on the operation.
var usedBy = map[string][]string{
	wire.OpCreate.String():          {"S3", "L1", "E2", "G1", "Q2", "C1"},
	wire.OpCreateContainer.String(): {"L4", "E9", "G2", "Q8", "D6"},
	wire.OpDelete.String():          {"L4", "E7", "G2", "Q3", "B3", "C6"},
	wire.OpSetData.String():         {"G3", "Q11", "C1"},
	wire.OpMulti.String():           {"S2", "L6", "E4", "Q10", "D1", "C1", "C3"},
	wire.OpExists.String():          {"S3", "S6", "L3", "B1", "W5"},
	wire.OpGetData.String():         {"S6", "E5", "G4", "Q1", "C2", "C7", "W1"},
	wire.OpGetChildren.String():     {"S3", "L3", "Q4", "W1"},
	wire.OpGetChildren2.String():    {"S3", "L3", "Q4", "W1"},
	wire.OpSync.String():            {"S2", "S3", "E5", "Q5", "B1"},
	wire.OpPing.String():            {"S2"},
	wire.OpSetWatches.String():      {"S6", "W6", "B2"},
	wire.OpRemoveWatches.String():   {"S6", "W7"},
	wire.OpCloseSession.String():    {"S1", "L4", "E7", "C6"},
	wire.OpAuth.String():            {"S5"},
	"resume":                        leased,
	"take":                          leased,
	"impostor":                      leased,
	"prophet":                       {"S6", "W2"},
	"closeAfar":                     {"S1", "E7"},
}

// The constant `workers` is the number of traces that are played at the same time.
const workers = 4

// The method `traces` compares the servers with zktest, and reports one finding for each operation.
func (o *Options) traces(ctx context.Context, report func(Finding) error) error {
	if o.Traces == 0 {
		return nil
	}
	model, err := o.model(ctx)
	if err != nil {
		return fmt.Errorf("play traces: %w", err)
	}
	limits := trace.Limits{Guest: true, Owner: o.Owner, Modes: o.Release == "3.8.0" || o.Release == "3.8.1"}
	c := trace.Comparison{WantName: "expected", Want: o.onModel(model), GotName: "answer", Got: trace.On(o.servers()), Limits: limits, Root: o.Root}
	seen := map[string]bool{}
	c.Known = func(d trace.Difference) bool { // one difference for each operation is sufficient
		was := seen[d.Name()]
		seen[d.Name()] = true
		return was
	}
	differences, tally := c.All(ctx, o.Seed, o.Traces, workers, math.MaxInt)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, f := range found(differences, tally, o.Traces) {
		if err := report(f); err != nil {
			return err
		}
	}
	return nil
}

// The method `model` finds out the settings of the servers that affect their answers. It returns
// these settings as options of zktest.
func (o *Options) model(ctx context.Context) (zktest.Options, error) {
	p := &probe{ctx: ctx, servers: o.servers(), dir: o.Root}
	defer p.end()
	short, err := p.open(0, shortest)
	if err != nil {
		return zktest.Options{}, err
	}
	long, err := p.open(0, longest)
	if err != nil {
		return zktest.Options{}, err
	}
	ttl := &wire.CreateTTLRequest{CreateRequest: *newCreate(o.Root+"/ttl", wire.ModeTTL), TTL: time.Hour.Milliseconds()}
	h, err := long.do(wire.OpCreateTTL, ttl, nil)
	return zktest.Options{
		Version: o.Release, Servers: len(o.Servers), TTLNodes: h.Err == wire.OK, MaxClientConns: -1,
		MinSessionTimeout: short.timeout(), MaxSessionTimeout: long.timeout(),
	}, err
}

// onModel returns a player that plays each trace on new zktest servers.
func (o *Options) onModel(opts zktest.Options) trace.Player {
	return func(ctx context.Context, root string, steps []trace.Step, t trace.Tally) (trace.Transcript, error) {
		e, err := zktest.New(opts)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		addresses, leader := e.Servers(), e.Leader()
		s := &trace.Servers{Addresses: slices.Concat(addresses[leader:], addresses[:leader]), Dial: e.DialContext}
		p := &probe{ctx: ctx, servers: s, dir: o.Root}
		defer p.end()
		c, err := p.open(0, time.Minute)
		if err != nil {
			return nil, err
		}
		for i := range o.Root { // each parent of the root
			if i > 0 && (o.Root[i] == '/') {
				if _, _, err := c.create(o.Root[:i], wire.ModePersistent); err != nil {
					return nil, err
				}
			}
		}
		if _, _, err := c.create(o.Root, wire.ModePersistent); err != nil {
			return nil, err
		}
		return trace.Play(ctx, s, root, steps, t)
	}
}

// The function `found` makes a finding for each operation of the traces.
func found(differences []trace.Difference, tally trace.Tally, traces int) (all []Finding) {
	by := map[string]*Finding{}
	of := func(op string) *Finding {
		if by[op] == nil {
			by[op] = &Finding{Requirement: "trace/" + op, What: fmt.Sprintf("%s has the same answers as in zktest, in %d random traces", op, traces),
				Verdict: checker.Valid, Guarantees: usedBy[op], Recipes: recipesOf(usedBy[op])}
		}
		return by[op]
	}
	for op, outcomes := range tally {
		if op == "event" || op == "part of a multi" {
			continue // an event or a part of a multi belongs to the answer of another operation
		}
		f, n := of(op), 0
		for _, k := range outcomes {
			n += k
		}
		f.Steps = append(f.Steps, Step{fmt.Sprintf("%d times", n), outcomesText(outcomes), "the same as zktest", true})
	}
	for _, d := range differences {
		i := d.First()
		if i < 0 || d.NotRepeated || d.Err != nil {
			f := of("played")
			f.What = "each trace can be played, and gives the same answers when it is played again"
			f.Verdict = checker.Unknown
			f.Reason = strings.TrimSpace(d.String())
			continue
		}
		f := of(d.Steps[i].Name())
		f.Verdict = checker.Invalid
		if len(f.Guarantees) == 0 {
			f.Verdict, f.Reason = checker.Valid, "no recipe uses it"
		}
		for j, step := range d.Steps[:i+1] {
			f.Steps = append(f.Steps, Step{step.String(), strings.TrimSpace(d.Got[j]), strings.TrimSpace(d.Want[j]), d.Got[j] == d.Want[j]})
		}
	}
	for _, op := range slices.Sorted(maps.Keys(by)) {
		all = append(all, *by[op])
	}
	return all
}

func outcomesText(outcomes map[string]int) string {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		parts = append(parts, fmt.Sprintf("%s %d", o, outcomes[o]))
	}
	return strings.Join(parts, ", ")
}
