package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Env is what a run offers to workloads and to faults. Its methods may be called
// from any goroutine.
type Env struct {
	Scenario string
	Seed     uint64
	Ensemble ensemble.Ensemble
	// ClientProcesses asks workloads to run clients in processes of their own,
	// where they are able to, and to tell so with Client.RunsIn.
	ClientProcesses bool

	rec     *history.Recorder
	root    string
	outcome func(error) session.Outcome
	grace   time.Duration
	clients []*Client
	sched   *schedule
	holds   holds

	operations int // as Options

	givenUp context.Context // ends with GiveUp
	giveUp  context.CancelFunc

	mu       sync.Mutex
	problems []string
}

// NewEnv returns an Env on an ensemble without a run, for faults that are drawn or
// looked at by themselves.
func NewEnv(e ensemble.Ensemble, clients int) *Env {
	return newEnv(Scenario{}, Options{Clients: clients}, e)
}

// Root is the path under which the run keeps its znodes: its own on each run. It
// exists, and it is removed with all below it at the end.
func (e *Env) Root() string { return e.root }

// Servers are the addresses of the ensemble, for DialContext or a client's Dial.
func (e *Env) Servers() []string { return e.Ensemble.Servers() }

// Dial connects without any proxy in between: for set-up, final reads and faults.
func (e *Env) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return e.Ensemble.DialContext(ctx, network, address)
}

// Clients are the clients of the run, by number.
func (e *Env) Clients() []*Client { return e.clients }

// Recorder is the history in the making.
func (e *Env) Recorder() *history.Recorder { return e.rec }

// Fact records a measurement: what was measured, of what, and the value.
func (e *Env) Fact(name, object, result, detail string) {
	e.rec.Record(history.Event{Kind: history.Fact, Op: name, Object: object, Result: result, Arg: detail,
		Client: history.Nobody, Process: history.Nobody})
}

// SessionEnded records the truth about a session, seen at the ensemble: it is over.
// Whoever sees it calls it as soon as that is known. Closed says that somebody
// closed it, so its end tells nothing of the servers' own clock.
func (e *Env) SessionEnded(id int64, closed bool) {
	event := history.Event{Kind: history.Session, Op: history.SessionExpired, Session: id,
		Client: history.Nobody, Process: history.Nobody}
	if closed {
		event.Arg = "closed"
	}
	e.holds.catchUp()
	e.rec.Record(event)
}

// hangUp breaks the connections that clients have left open: programs under test
// may leak them.
func (e *Env) hangUp() {
	for _, c := range e.clients {
		c.proxy.Reset()
	}
}

func (e *Env) phase(name string) {
	e.rec.Record(history.Event{Kind: history.Phase, Op: name, Client: history.Nobody, Process: history.Nobody})
}

// problem notes what keeps the run from being judged, whatever checkers say.
func (e *Env) problem(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problems = append(e.problems, err.Error())
}

// problemErr joins the problems noted so far, nil for none.
func (e *Env) problemErr() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(e.problems, "; "))
}

// GiveUp ends the work before its time, because nothing that it would still show could be judged. The run is Unknown for
// the reason err, unless something is violated.
func (e *Env) GiveUp(err error) {
	if e.givenUp.Err() == nil {
		e.problem(err)
	}
	e.giveUp()
	e.sched.stop()
}

// clientLogs are the ends of the logs of clients that wrote any.
func (e *Env) clientLogs() map[int][]byte {
	all := make(map[int][]byte)
	for _, c := range e.clients {
		c.log.mu.Lock()
		if end := c.log.end(); len(end) > 0 {
			all[c.ID] = bytes.Clone(end)
		}
		c.log.mu.Unlock()
	}
	return all
}

// spent reports whether as many operations as the options ask for have begun.
func (e *Env) spent() bool { return e.operations > 0 && e.rec.Count(history.Invoke) >= e.operations }

// schedule tells clients when to begin nothing new.
type schedule struct {
	quiesce chan struct{}
	once    sync.Once
}

func newSchedule() *schedule { return &schedule{quiesce: make(chan struct{})} }

func (s *schedule) stop() { s.once.Do(func() { close(s.quiesce) }) }

// rootFor is the path of one run. Runs on one ensemble must not meet, so it
// carries the time as well as the seed.
func rootFor(scenario string, seed uint64, now time.Time) string {
	return fmt.Sprintf("/zkcoord-%s-%d-%x", strings.Map(plain, scenario), seed, now.UnixNano())
}

func plain(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
		return r
	}
	return '-'
}
