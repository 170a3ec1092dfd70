package scenarios

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// ShellLock is like the scenario isolated-follower, but its clients run "zkcoord lock PATH -- CMD".
// Client 0 runs a command whose processes ignore SIGTERM, and the other clients wait to run theirs.
// The follower of client 0 is cut off, or the zkcoord process of client 0 is killed. Each process
// of a command repeatedly writes the time into the command's log. The checker judges only these
// logs: the last line of a command must precede the first line of the next command.
func ShellLock() harness.Scenario {
	s := harness.Scenario{
		Name:     "shell-lock",
		Claim:    "All processes of a command under a lock are dead before the command of the next holder starts.",
		Config:   ensemble.Config{Nodes: 3, TickTime: 2 * time.Second, SyncLimit: 5},
		Clients:  3,
		Time:     60 * time.Second,
		Grace:    60 * time.Second,
		Needs:    "Linux, and the command zkcoord",
		Workload: shellHolder(runZkcoord),
		Faults:   []harness.Fault{isolate{length: 9 * time.Second}, killHolder{}},
		Checkers: []checker.Checker{stoppedInTime()},
		Guards:   []checker.Checker{checker.Grants(3), commandsLost(1)},
		Mutants: []harness.Mutant{{
			Name:     "first-process-only",
			Report:   "consul#985, flock: the processes that the command has started are not stopped",
			Violates: []string{stoppedInTimeName},
			Needs:    "Linux",
			Workload: shellHolder(runFirstOnly),
		}},
	}
	return s
}

// shellScript is a command with three processes that ignore SIGTERM. They write the time repeatedly
// until the file $2 exists. The second process is in the background. The third is in its own
// session of the operating system.
const shellScript = `trap "" TERM
echo "start $(date +%s%N) $ZKCOORD_TOKEN" >>"$1"
beat='while [ ! -e "$2" ]; do echo "$0 $(date +%s%N)" >>"$1"; sleep 0.02; done'
sh -c "$beat" child "$1" "$2" &
setsid sh -c "$beat" apart "$1" "$2" &
exec sh -c "$beat" first "$1" "$2"`

// The type `running` is a command that was started. It may still wait for the lock.
type running interface {
	harness.Process
	Kill()
	Ended() <-chan struct{}
}

// A shellRunner starts the command with the arguments under the lock at path.
type shellRunner func(ctx context.Context, c *harness.Client, servers []string, path string, args []string) (running, error)

// shellHolder returns the workload. Client 0 uses the server that will be cut off. The command of
// client 0 is planned to run for 20 s. The other clients contend only if the last command that
// started was a command of client 0.
func shellHolder(start shellRunner) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		var contend atomic.Bool
		w := &shellWork{env: env, start: start, contend: &contend}
		return harness.Workload{Work: w.work, Setup: func(context.Context, *harness.Env) error {
			_, err := zkcoordProgram()
			return err
		}}
	}
}

type shellWork struct {
	env     *harness.Env
	start   shellRunner
	contend *atomic.Bool
}

func (w *shellWork) work(ctx context.Context, c *harness.Client) error {
	dir, err := owner.MkdirTemp("", "shell")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i := 0; c.Next(ctx); i++ {
		for c.ID != 0 && !w.contend.Load() && c.Pause(ctx, 20*time.Millisecond) {
		}
		servers, err := w.servers(ctx, c)
		if err != nil {
			return err
		}
		log := filepath.Join(dir, strconv.Itoa(i))
		_, _ = c.Do(ctx, history.Event{Op: opCommand, Object: "/lock"}, func(ctx context.Context) (history.Event, error) {
			return w.command(ctx, c, servers, log)
		})
	}
	return nil
}

// The method `servers` returns the servers for the client's next command.
func (w *shellWork) servers(ctx context.Context, c *harness.Client) ([]string, error) {
	chosen, err := anyFollower(ctx, w.env.Ensemble)
	if err != nil {
		return nil, err
	}
	all := w.env.Servers()
	if c.ID == 0 {
		return all[chosen : chosen+1], nil
	}
	return slices.Delete(all, chosen, chosen+1), nil
}

const opCommand = "command"

// The method `command` runs one command to its end. The result contains the first and the last time
// in the command's log. It also says whether the command's zkcoord process ended too early, before
// this method had signaled the command to end.
func (w *shellWork) command(ctx context.Context, c *harness.Client, servers []string, log string) (history.Event, error) {
	end := log + ".end"
	defer func() { _ = os.WriteFile(end, nil, 0o600) }() // ends the remaining processes
	var near []string
	for _, server := range servers {
		way, err := client.NewWay(server, c.Dial)
		if err != nil {
			return history.Event{}, harness.Failed(err)
		}
		defer way.Close()
		near = append(near, way.Address())
	}
	path := w.env.Root() + "/lock"
	p, err := w.start(ctx, c, near, path, []string{"sh", "-c", shellScript, "sh", log, end})
	if err != nil {
		return history.Event{}, harness.Failed(err)
	}
	defer p.Kill()
	c.RunsIn(p)
	defer c.RunsIn(nil)
	var l commandLog
	for l.first == 0 {
		select {
		case <-p.Ended():
			return history.Event{}, harness.Failed(errors.New("the process ended before the command started"))
		case <-time.After(10 * time.Millisecond):
		}
		if !c.Next(ctx) && l.first == 0 { // the work of the run is over
			p.Kill()
		}
		l = readLog(log)
	}
	w.contend.Store(c.ID == 0)
	lost := w.hold(ctx, c, p, l.token)
	if !lost {
		if err := os.WriteFile(end, nil, 0o600); err != nil {
			return history.Event{}, err
		}
		<-p.Ended()
	}
	l = settled(log)
	c.Record(history.Event{Kind: history.Fact, Op: history.FactLastSign, Object: "/lock", Token: l.token, Result: time.Unix(0, l.last).UTC().Format(time.RFC3339Nano)})
	return history.Event{Result: fmt.Sprintf("%d %d %v", l.first, l.last, lost), Token: l.token}, nil
}

// The method `hold` records a hold while the command runs. It reports whether p ended before the
// planned end of the hold.
func (w *shellWork) hold(ctx context.Context, c *harness.Client, p running, token int64) (lost bool) {
	held, lose := context.WithCancelCause(context.Background())
	defer lose(nil)
	h := c.Hold(held, history.Event{Object: "/lock", Token: token})
	length := 200 * time.Millisecond
	if c.ID == 0 {
		length = 20 * time.Second
	}
	for begun := time.Now(); time.Since(begun) < length; {
		select {
		case <-p.Ended():
			lose(errors.New("zkcoord ended"))
			h.End()
			return true
		case <-time.After(10 * time.Millisecond):
		}
		if !c.Next(ctx) {
			break
		}
	}
	h.End()
	return false
}

// A commandLog is the content of a command's log. The times are in nanoseconds of the machine's
// clock.
type commandLog struct {
	first, last int64
	token       int64
	lines       int
}

func readLog(name string) (l commandLog) {
	text, _ := os.ReadFile(name) // the file does not exist before the command has the lock
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) < 2 || line[len(line)-1] != '\n' {
			continue
		}
		at, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			continue // the program `date` was killed before it wrote the time
		}
		if words[0] == "start" && len(words) == 3 {
			l.first = at
			l.token, _ = strconv.ParseInt(words[2], 10, 64)
		}
		l.last, l.lines = max(l.last, at), l.lines+1
	}
	return l
}

// The function `settled` returns the log once it has not grown for a second, or after ten seconds.
func settled(name string) commandLog {
	l := readLog(name)
	for range 10 {
		<-time.After(time.Second)
		next := readLog(name)
		if next.lines == l.lines {
			break
		}
		l = next
	}
	return l
}

// A commandSpan is one command in a history.
type commandSpan struct {
	first, last time.Duration
	lost        bool
	op          history.Operation
}

func commandSpans(h *history.History) (all []commandSpan) {
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Invoke.Op != opCommand || o.Outcome() != session.OK {
			continue
		}
		var s commandSpan
		if _, err := fmt.Sscan(o.Complete.Result, &s.first, &s.last, &s.lost); err == nil {
			s.op = o
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b commandSpan) int { return cmp.Compare(a.first, b.first) })
	return all
}

const stoppedInTimeName = "lock/stopped-in-time"

// stoppedInTime judges the commands' own logs.
func stoppedInTime() checker.Checker {
	return checker.New(stoppedInTimeName, "all processes of a command are dead before the next command starts", func(h *history.History, j *checker.Judge) {
		all := commandSpans(h)
		lost, closest := 0, time.Duration(math.MaxInt64)
		for i := 1; i < len(all); i++ {
			before, next := all[i-1], all[i]
			j.Checked(1)
			left := next.first - before.last
			switch {
			case left <= 0:
				j.Violation(append(before.op.Events(), next.op.Events()...),
					"a process of the command with token %d wrote its last line %v after the command with token %d had started",
					before.op.Complete.Token, -left, next.op.Complete.Token)
			case before.op.Complete.Token >= next.op.Complete.Token:
				j.Violation(append(before.op.Events(), next.op.Events()...), "token %d was granted after token %d", next.op.Complete.Token, before.op.Complete.Token)
			case before.lost:
				lost++
				closest = min(closest, left)
			}
		}
		note := fmt.Sprintf("%d commands; commands that lost the lock: %d", len(all), lost)
		if lost > 0 {
			note += fmt.Sprintf(", dead at least %v before the next one started", closest)
		}
		j.Note("%s", note)
	})
}

// commandsLost requires n cases in which a command lost the lock and another client's command ran
// next.
func commandsLost(n int) checker.Checker {
	return checker.AtLeast("run/commands-lost", n, "commands under a lock that another command had lost", func(h *history.History) (found int) {
		all := commandSpans(h)
		for i := 1; i < len(all); i++ {
			if all[i-1].lost && all[i-1].op.Invoke.Client != all[i].op.Invoke.Client {
				found++
			}
		}
		return found
	})
}

// killHolder kills the zkcoord process of client 0.
type killHolder struct{}

func (killHolder) Name() string { return "kill-holder" }

func (killHolder) Does() string { return "the zkcoord process that holds the lock is killed" }

func (killHolder) Able(*harness.Env) error { return procs.Able() }

func (killHolder) Draw(r *rand.Rand, _ *harness.Env) harness.Step {
	return drawIsolation(r, time.Second)
}

func (killHolder) Inject(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	if !awaitHold(ctx, env) {
		return harness.Injected{}, ctx.Err()
	}
	p, ok := env.Clients()[0].Process().(running)
	if !ok {
		return harness.Injected{}, nil
	}
	before := grants(env)
	p.Kill()
	awaitTakeover(ctx, env, before, step.For)
	return harness.Injected{Evidence: "its zkcoord was killed"}, nil
}

// runZkcoord runs the command with zkcoord lock.
func runZkcoord(_ context.Context, _ *harness.Client, servers []string, path string, args []string) (running, error) {
	program, err := zkcoordProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, append([]string{
		"lock", "--servers", strings.Join(servers, ","), "--session-timeout", isolatedTimeout.String(), "--grace", "300ms", path, "--"}, args...)...)
	return procs.Start(cmd)
}

// builtDir is the directory of the command that zkcoordProgram has built; empty if it built none.
var builtDir string

// zkcoordProgram returns the path of the command zkcoord: this program, or in a test a newly built
// one.
var zkcoordProgram = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil || strings.TrimSuffix(filepath.Base(self), ".exe") == "zkcoord" {
		return self, err
	}
	dir, err := owner.MkdirTemp("", "zkcoord")
	if err != nil {
		return "", err
	}
	builtDir = dir
	program := filepath.Join(dir, "zkcoord")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/zkcoord/zkcoord/cmd/zkcoord").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the command zkcoord: %w: %s", err, out)
	}
	return program, nil
})

// A firstOnly is a running command of the mutant "first-process-only". If the lock is lost, this
// mutant kills only the command's first process.
type firstOnly struct {
	*procs.Child
	ended chan struct{}
}

func (f firstOnly) Ended() <-chan struct{} { return f.ended }

// runFirstOnly runs the command under a lock that this process holds. When the lock is lost,
// runFirstOnly kills the command's first process and no other.
func runFirstOnly(ctx context.Context, c *harness.Client, servers []string, path string, args []string) (running, error) {
	s, err := session.Open(ctx, session.Options{Servers: servers, Timeout: isolatedTimeout})
	if err != nil {
		return nil, err
	}
	grant, err := lock.NewMutex(s, path, lock.Options{}).Lock(ctx)
	if err != nil {
		s.Close()
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("ZKCOORD_TOKEN=%d", grant.Token()))
	child, err := procs.Start(cmd)
	if err != nil {
		s.Close()
		return nil, err
	}
	f := firstOnly{child, make(chan struct{})}
	stop := context.AfterFunc(grant.Context(), child.Kill)
	go func() { // it ends with the command
		<-child.Ended()
		stop()
		_ = grant.Unlock(ctx)
		s.Close()
		close(f.ended)
	}()
	return f, nil
}
