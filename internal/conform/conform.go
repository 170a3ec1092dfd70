package conform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// Options say which servers to look at, and how.
type Options struct {
	// Servers are the addresses of one ensemble, the leader first if it is known.
	Servers []string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)

	// Root exists, and everybody may do everything below it. Owner may delete all that is left
	// below it afterwards.
	Root  string
	Owner wire.ID

	Release zktest.Version // that the answers to traces are compared with; "" is the newest
	Traces  int
	Seed    uint64 // of the first trace

	// Patience is how long an answer may take; 0 is 30 seconds.
	Patience time.Duration
}

// A Step is one operation and its answer.
type Step struct {
	Operation string `json:"operation"`
	Answer    string `json:"answer"`
	Expected  string `json:"expected"`
	OK        bool   `json:"ok"`
}

// A Finding says whether servers meet a requirement. The zero verdict says that it could not be
// seen, and Reason why.
type Finding struct {
	Requirement string          `json:"requirement"`
	What        string          `json:"what"`
	Verdict     checker.Verdict `json:"verdict"`
	Reason      string          `json:"reason,omitempty"`
	Steps       []Step          `json:"steps"`
	Guarantees  []string        `json:"guarantees"` // that stand or fall with it
	Recipes     []string        `json:"recipes"`    // the packages whose guarantees they are
}

// A requirement is something that servers must do.
type requirement struct {
	name, what string
	guarantees []string
	check      func(*probe) error // the error says why it could not be seen
}

// recipes are the packages of guarantees, by the first letter of their numbers.
var recipes = map[byte]string{
	'S': "session", 'L': "lock", 'E': "election", 'G': "group", 'Q': "queue", 'B': "barrier", 'D': "barrier", 'W': "watch", 'F': "fence",
}

// recipesOf returns the packages of some guarantees, without session, which all of them use.
func recipesOf(guarantees []string) (names []string) {
	for _, g := range guarantees {
		if name := recipes[g[0]]; name != "session" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// requirements are all but the traces, in the order in which they are looked at.
func requirements() []requirement {
	return slices.Concat(ofSessions(), ofWrites(), ofReads())
}

// Run looks at one requirement after the other, and passes each finding to each. It leaves nothing
// but znodes below the root. The error says why it could not go on; that of each comes back at
// once.
func Run(ctx context.Context, o Options, each func(Finding) error) error {
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	for i, r := range requirements() {
		f, err := o.look(ctx, r, fmt.Sprintf("%s/%02d", o.Root, i))
		if err != nil {
			return err
		}
		if err := each(f); err != nil {
			return err
		}
	}
	return o.traces(ctx, each)
}

func (o *Options) servers() *trace.Servers {
	return &trace.Servers{Addresses: o.Servers, Dial: o.Dial, Patience: o.Patience}
}

// look finds out about one requirement, with a directory of its own.
func (o *Options) look(ctx context.Context, r requirement, dir string) (Finding, error) {
	p := &probe{ctx: ctx, servers: o.servers(), dir: dir}
	defer p.end()
	err := p.mkdir()
	if err == nil {
		err = r.check(p)
	}
	if ctx.Err() != nil {
		return Finding{}, context.Cause(ctx)
	}
	f := Finding{Requirement: r.name, What: r.what, Steps: p.steps, Guarantees: r.guarantees, Recipes: recipesOf(r.guarantees)}
	f.judge(err)
	return f, nil
}

// judge decides from the steps. One that is wrong counts even if the next ones could not be done.
func (f *Finding) judge(err error) {
	f.Verdict = checker.Valid
	switch {
	case slices.ContainsFunc(f.Steps, func(s Step) bool { return !s.OK }):
		f.Verdict = checker.Invalid
	case err != nil || len(f.Steps) == 0:
		f.Verdict = checker.Unknown
		f.Reason = cmp.Or(err, errors.New("nothing was tried")).Error()
	}
}
