package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/leases"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/internal/times"
)

// Run runs s once. It returns an error only if the run could not begin, if the result could not be
// stored, or if the workload or the ensemble could not be closed. A run cannot begin if the
// ensemble does not start, if it has no quorum, or if the workload cannot be set up. Any other
// failure affects only the verdict. If ctx ends, Run heals and closes everything, and judges the
// incomplete history.
func Run(ctx context.Context, s Scenario, o Options) (result *Result, err error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if s.ClientProcesses || o.ClientProcesses {
		if err := procs.Able(); err != nil {
			return nil, fmt.Errorf("harness: clients of %s: %w", s.Name, err)
		}
	}
	o, err = o.withDefaults(s)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	config := s.Config
	config.Nodes, config.Seed = o.Nodes, o.Seed
	for _, f := range o.faults(s) {
		if c, ok := f.(Configurer); ok {
			c.Configure(&config)
		}
	}
	ens, err := o.Ensemble(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("harness: start the ensemble: %w", err)
	}
	r := &run{scenario: s, options: o, env: newEnv(s, o, ens)}
	defer func() {
		ending, cancel := r.ending(ctx)
		defer cancel()
		r.env.hangUp()
		if r.workload.Close != nil {
			err = errors.Join(err, r.workload.Close())
		}
		if !o.KeepEnsemble {
			err = errors.Join(err, ens.Close(ending))
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	defer r.admin.close()
	plan := r.work(ctx)
	r.finish(ctx)
	return r.judge(ctx, start, plan)
}

// The type `run` is the state of one call of Run.
type run struct {
	scenario Scenario
	options  Options
	env      *Env
	workload Workload
	admin    admin
	label    string // marks the goroutines of clients
	version  string // of the servers
	leases   *leases.Trace
}

func newEnv(s Scenario, o Options, ens ensemble.Ensemble) *Env {
	env := &Env{
		Scenario: s.Name, Seed: o.Seed, Ensemble: ens, ClientProcesses: o.ClientProcesses || s.ClientProcesses,
		rec: history.NewRecorder(), root: rootFor(s.Name, o.Seed, time.Now()),
		outcome: s.Outcome, grace: orDefault(s.Grace, time.Minute), sched: newSchedule(), operations: o.Operations,
	}
	env.leases = leases.NewRecorder(env.rec.Start())
	env.givenUp, env.giveUp = context.WithCancel(context.Background())
	if env.outcome == nil {
		env.outcome = OutcomeOf
	}
	for id := range o.Clients {
		env.clients = append(env.clients, newClient(env, id))
	}
	return env
}

// The method `version` returns the version that the servers report, or their versions joined by "+"
// if they differ.
func (e *Env) version(ctx context.Context) string {
	if e.Ensemble.Kind() == "embedded" {
		return "" // it is a model, without a version of ZooKeeper
	}
	var found []string
	for _, s := range ensemble.Survey(ctx, e.Dial, e.Servers(), func(int) bool { return true }) {
		if s.Version != "" && !slices.Contains(found, s.Version) {
			found = append(found, s.Version)
		}
	}
	slices.Sort(found)
	return strings.Join(found, "+")
}

// The method `ending` returns a context for actions that are necessary even after ctx has ended.
// The returned context ends after the scenario's grace.
func (r *run) ending(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.env.grace)
}

// The method `prepare` waits for a healthy ensemble and sets the workload up.
func (r *run) prepare(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 2*r.env.grace)
	defer cancel()
	if err := r.env.Ensemble.Ready(bounded); err != nil {
		return fmt.Errorf("harness: the ensemble is not ready: %w", err)
	}
	r.version = r.env.version(bounded)
	admin, err := r.options.admin(bounded, r.env)
	if err != nil {
		return fmt.Errorf("harness: prepare the run: %w", err)
	}
	r.admin = admin
	r.workload = r.scenario.Workload(r.env)
	if r.workload.Setup != nil {
		if err := r.workload.Setup(bounded, r.env); err != nil {
			return fmt.Errorf("harness: set up %s: %w", r.scenario.Name, errors.Join(err, r.removeRoot(ctx)))
		}
	}
	return nil
}

// removeRoot removes the znodes of a run whose set-up failed, and closes the admin's session.
func (r *run) removeRoot(ctx context.Context) error {
	ending, cancel := r.ending(ctx)
	defer cancel()
	defer r.admin.close()
	defer context.AfterFunc(ending, r.admin.close)()
	return r.admin.removeRoot(ending)
}

// The method `work` has three parts: the clients work while the nemesis follows its plan, then all
// faults are healed, and then the clients continue in calm. It returns the plan that was followed.
func (r *run) work(ctx context.Context) Plan {
	plan := r.options.Plan
	if plan == nil {
		plan = Draw(r.env.Seed, r.env, r.options.faults(r.scenario), r.options.Time, r.options.Intensity)
	}
	r.env.phase(history.PhaseWork)
	stopWatching := r.monitor(ctx)
	defer stopWatching()
	stopClients := r.startClients(ctx)

	working, cancel := context.WithTimeout(ctx, r.options.Time)
	n := newNemesis(r.env, r.scenario.Faults)
	defer context.AfterFunc(r.env.givenUp, cancel)()
	n.follow(ctx, working, plan)
	if r.options.Plan == nil {
		plan = append(plan, n.again(ctx, working, len(plan))...)
	}
	<-working.Done()
	cancel()

	r.env.phase(history.PhaseHeal)
	n.healAll(ctx)
	r.calm(ctx)
	stopClients()
	return plan
}

// The method `calm` waits until the ensemble is healthy again, and then for the period in which
// liveness is judged.
func (r *run) calm(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, r.env.grace)
	defer cancel()
	if err := r.env.Ensemble.Ready(bounded); err != nil {
		if ctx.Err() == nil { // if ctx has ended, the ensemble had no time to recover
			r.env.problem(fmt.Errorf("the ensemble did not recover after the heal: %w", err))
		}
		return
	}
	r.env.phase(history.PhaseHealed)
	if r.env.givenUp.Err() != nil {
		return
	}
	times.Sleep(ctx, orDefault(r.scenario.Calm, 3*time.Second))
}

// checkTime bounds the time of all checks of a run together.
const checkTime = time.Minute

// The variable `runs` counts the runs of this process. Two runs at the same virtual time can have
// the same root; the count makes their labels differ.
var runs atomic.Int64

// startClients starts the clients. The returned function ends their work. It waits for at most the
// scenario's grace while clients finish the operations that they have begun. If clients are still
// running then, the function ends their context, and waits once more for at most the grace.
func (r *run) startClients(ctx context.Context) (stop func()) {
	if r.workload.Work == nil {
		return func() { r.env.phase(history.PhaseQuiesce) }
	}
	r.label = fmt.Sprintf("%s %d", r.env.root, runs.Add(1))
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, c := range r.env.clients {
		group.Go(func() {
			pprof.Do(ctx, pprof.Labels(runLabel, r.label), func(ctx context.Context) {
				c.run(ctx, r.workload.Work)
			})
		})
	}
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return func() {
		defer cancel()
		r.env.phase(history.PhaseQuiesce)
		r.env.sched.stop()
		if within(done, r.env.grace) {
			return
		}
		cancel()
		if !within(done, r.env.grace) {
			r.env.problem(fmt.Errorf("a client did not return within %v "+
				"after its context had ended", r.env.grace))
		}
	}
}

// The function `within` reports whether the channel was closed within the given time.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// The method `finish` makes the final reads, counts leftovers and seals the history. The history
// ends with PhaseEnd unless the run was interrupted.
func (r *run) finish(ctx context.Context) {
	r.env.phase(history.PhaseFinal)
	ending, cancel := r.ending(ctx)
	defer cancel()
	if r.workload.Final != nil && ctx.Err() == nil {
		if err := r.workload.Final(ending, r.env); err != nil {
			r.env.problem(fmt.Errorf("final reads: %w", err))
		}
	}
	// Requests of the admin's session have no context; closing it ends them.
	defer context.AfterFunc(ending, r.admin.close)()
	r.env.problem(r.leftovers(ending))
	r.env.problem(r.admin.removeRoot(ending))
	if ctx.Err() == nil {
		r.env.phase(history.PhaseEnd)
	}
	r.env.rec.Seal()
	r.leases = r.env.leases.Seal()
}

// The method `judge` stores the history, checks it, and stores the verdict.
func (r *run) judge(ctx context.Context, start time.Time, plan Plan) (*Result, error) {
	s, o := r.scenario, r.options
	result := &Result{
		Scenario: s.Name, Claim: s.Claim, Guarantees: s.Guarantees, Seed: o.Seed,
		Ensemble: r.env.Ensemble.Kind(), Nodes: len(r.env.Servers()), Clients: o.Clients, Time: o.Time, Operations: o.Operations,
		Start: start.UTC(), Took: time.Since(start), Plan: plan, Command: o.Command,
		History: r.env.rec.History(), ZooKeeper: r.version, Client: s.Client, ClientLogs: r.env.clientLogs(),
	}
	result.CouldNot = r.couldNot(result)
	result.Leases = r.leases
	result.History.Scenario, result.History.Seed, result.History.Ensemble, result.History.Client = s.Name, o.Seed, result.Ensemble, s.Client
	stored := r.save(result)
	checking, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
	defer cancel()
	logs := r.logs(ctx)
	witness := r.witness(ctx, result) // call it before r.whole, which reports the problems that r.witness finds
	result.Results = slices.Concat(r.whole(ctx), Check(checking, s, result.History),
		checker.Run(checking, result.History, append(witness, checker.IfExercised(checker.CleanLogs(logs)))...))
	result.Verdict, result.Checked = checker.Overall(result.Results), true
	result.Stats = checker.Measure(result.History)
	if !result.Verdict.Passed() {
		result.Logs = logs
	}
	return result, errors.Join(stored, r.save(result))
}

// Check judges a history by the checkers and guards of s, and by the checkers that every run gets.
// Some checks of a run need more than the history, for example the logs of servers. Check omits
// them.
func Check(ctx context.Context, s Scenario, h *history.History) []checker.Result {
	evidence := checker.FaultsHadEffect()
	if len(s.Faults) == 0 {
		evidence = checker.IfExercised(evidence)
	}
	return checker.Run(ctx, h, slices.Concat(s.Checkers, s.Guards, []checker.Checker{evidence, checker.OperationsSucceeded()})...)
}

// The method `whole` returns the result for the run itself, property run/whole.
func (r *run) whole(ctx context.Context) []checker.Result {
	one := checker.Result{
		Property: checker.Property{ID: "run/whole", Claim: "the run was whole: the ensemble was healthy before and after, each fault was healed, nothing panicked"},
		Verdict:  checker.Valid, Checked: 1,
	}
	err := r.env.problemErr()
	switch {
	case ctx.Err() == nil:
	case err == nil:
		err = errors.New("interrupted")
	default:
		err = fmt.Errorf("interrupted; %w", err)
	}
	if err != nil {
		one.Verdict, one.Reason = checker.Unknown, err.Error()
	}
	return []checker.Result{one}
}

func (r *run) save(result *Result) error {
	if r.options.Store == nil {
		return nil
	}
	if err := r.options.Store.Save(result); err != nil {
		return fmt.Errorf("harness: store the result: %w", err)
	}
	return nil
}

func (r *run) couldNot(result *Result) []string {
	var reasons []string
	faults := make(map[string][]string) // reason -> names of the faults
	began, idle := result.began(), checker.IdleFaults(result.History)
	for _, f := range r.options.faults(r.scenario) {
		err := f.Able(r.env)
		switch {
		case err != nil:
		case (r.options.Faults != nil || result.Plan.has(f.Name())) && !began.has(f.Name()):
			err = errors.New("the run was over before one began")
		case idle[f.Name()] != "":
			err = errors.New("none had an effect")
		}
		if err != nil {
			why := err.Error()
			if faults[why] == nil {
				reasons = append(reasons, why)
			}
			faults[why] = append(faults[why], f.Name())
		}
	}
	for i, why := range reasons {
		reasons[i] = fmt.Sprintf("%s: %s", strings.Join(faults[why], ", "), why)
	}
	return reasons
}

// The method `logs` returns the last part of the log of each node, by index. It leaves out logs
// that cannot be read.
func (r *run) logs(ctx context.Context) map[int][]byte {
	const most = 1 << 20
	source, able := r.env.Ensemble.(ensemble.Logs)
	if !able {
		return nil
	}
	ending, cancel := r.ending(ctx)
	defer cancel()
	all := make(map[int][]byte)
	for node := range r.env.Servers() {
		log, err := source.Logs(ending, node)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(log) // a part of the log is better than none
		log.Close()
		all[node] = text[max(0, len(text)-most):]
	}
	return all
}

// The method `witness` returns checkers that compare the history, and the leases of its sessions,
// with what the servers recorded. It also adds the transaction logs to the result.
func (r *run) witness(ctx context.Context, result *Result) []checker.Checker {
	var envelope checker.Envelope
	for _, f := range r.options.faults(r.scenario) {
		if e, ok := f.(Exposer); ok && e.Exposes() {
			envelope.Outside = append(envelope.Outside, f.Name())
		}
	}
	log, err := r.txnLogs(ctx)
	if r.options.TxnLogs != "" {
		err = errors.Join(err, r.saveHolds(result.History))
	}
	if err != nil {
		r.env.problem(fmt.Errorf("transaction logs: %w", err))
	}
	result.TxnLog = log
	return append(log.Checkers(result.History, envelope), r.leases.Checkers(envelope, leases.Servers{Log: log, Expiries: r.expiries(ctx)})...)
}

// The method `expiries` returns the sessions that leaders have expired, if the ensemble can list
// them.
func (r *run) expiries(ctx context.Context) []ensemble.Expiry {
	source, able := r.env.Ensemble.(ensemble.Expirer)
	if !able {
		return nil
	}
	ending, cancel := r.ending(ctx)
	defer cancel()
	all, err := source.Expiries(ending)
	r.env.problem(err)
	return all
}

// saveHolds writes the holds that clients recorded to the file clients.log in Options.TxnLogs.
func (r *run) saveHolds(h *history.History) error {
	if err := os.MkdirAll(r.options.TxnLogs, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.options.TxnLogs, "clients.log"))
	if err != nil {
		return err
	}
	return errors.Join(h.WriteHolds(f), f.Close())
}

// txnLogs reads the transaction logs of all servers, from the creation of the run's root on. It
// returns nil if the ensemble has none. An ensemble that is older than the run can have lost the
// beginning of its logs, and its earlier transactions prove nothing about the run.
func (r *run) txnLogs(ctx context.Context) (*witness.Log, error) {
	source, able := r.env.Ensemble.(ensemble.TxnLogs)
	if !able {
		return nil, nil
	}
	ending, cancel := r.ending(ctx)
	defer cancel()
	dir := r.options.TxnLogs
	if dir == "" {
		var err error
		if dir, err = owner.MkdirTemp("", "logs"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	var servers []witness.Server
	for node := range r.env.Servers() {
		name := fmt.Sprintf("n%d", node)
		of := filepath.Join(dir, name)
		if err := os.MkdirAll(of, 0o755); err != nil {
			return nil, err
		}
		if err := source.CopyTxnLogs(ending, node, of); err != nil {
			return nil, err
		}
		server, err := witness.Read(name, os.DirFS(of))
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return witness.MergeAfter(max(0, r.admin.created()-1), servers...), nil
}
