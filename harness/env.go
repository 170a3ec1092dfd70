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
	"github.com/zkcoord/zkcoord/harness/leases"
	"github.com/zkcoord/zkcoord/session"
)

// Env is the interface of a run to workloads and to faults. Its methods may be called from any
// goroutine.
type Env struct {
	Scenario string
	Seed     uint64
	Ensemble ensemble.Ensemble
	// If ClientProcesses is set, workloads should run clients in separate processes, if they can,
	// and call Client.RunsIn.
	ClientProcesses bool

	rec     *history.Recorder
	root    string
	outcome func(error) session.Outcome
	grace   time.Duration
	clients []*Client
	sched   *schedule
	holds   holds
	leases  *leases.Recorder

	operations int // Options.Operations

	givenUp context.Context // ends when GiveUp is called
	giveUp  context.CancelFunc

	mu       sync.Mutex
	problems []string
}

// NewEnv returns an Env for the ensemble e and the given number of clients. The Env belongs to no
// run. Use it to draw or examine faults outside a run.
func NewEnv(e ensemble.Ensemble, clients int) *Env {
	return newEnv(Scenario{}, Options{Clients: clients}, e)
}

// Root returns the path under which the run keeps its znodes. Each run has a different root. The
// run creates it before the work, and removes it with all its descendants at the end.
func (e *Env) Root() string { return e.root }

// Servers returns the addresses of the ensemble, for DialContext or a client's Dial.
func (e *Env) Servers() []string { return e.Ensemble.Servers() }

// Dial connects without a proxy, for set-up, final reads and faults.
func (e *Env) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return e.Ensemble.DialContext(ctx, network, address)
}

// Clients returns the clients of the run, by number.
func (e *Env) Clients() []*Client { return e.clients }

// Recorder returns the recorder of the run's history.
func (e *Env) Recorder() *history.Recorder { return e.rec }

// Fact records a measurement: its name, the object that was measured, the value and the detail.
func (e *Env) Fact(name, object, result, detail string) {
	e.rec.Record(history.Event{Kind: history.Fact, Op: name, Object: object, Result: result, Arg: detail,
		Client: history.Nobody, Process: history.Nobody})
}

// SessionEnded records that a session has ended, as observed at the ensemble. Call it as soon as
// the end is observed. If closed is true, a client closed the session, so the end says nothing
// about how soon the servers expire a session.
func (e *Env) SessionEnded(id int64, closed bool) {
	event := history.Event{Kind: history.Session, Op: history.SessionExpired, Session: id,
		Client: history.Nobody, Process: history.Nobody}
	if closed {
		event.Arg = "closed"
	}
	e.holds.catchUp()
	e.rec.Record(event)
}

// hangUp resets the connections that clients have left open, because programs under test may leak
// them.
func (e *Env) hangUp() {
	for _, c := range e.clients {
		c.proxy.Reset()
	}
}

func (e *Env) phase(name string) {
	e.rec.Record(history.Event{Kind: history.Phase, Op: name, Client: history.Nobody, Process: history.Nobody})
}

// The method `problem` notes a problem of the run. A run with a problem is Unknown, unless a
// checker finds a violation.
func (e *Env) problem(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problems = append(e.problems, err.Error())
}

// problemErr joins the problems noted so far. It returns nil if there are none.
func (e *Env) problemErr() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(e.problems, "; "))
}

// GiveUp ends the work early. Call it if the rest of the work could not be judged. The run is
// Unknown with the reason err, unless a property is violated.
func (e *Env) GiveUp(err error) {
	if e.givenUp.Err() == nil {
		e.problem(err)
	}
	e.giveUp()
	e.sched.stop()
}

// clientLogs returns the last part of each client's log, without empty logs.
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

// The method `spent` reports whether Options.Operations operations have begun. It returns false if
// that limit is zero.
func (e *Env) spent() bool { return e.operations > 0 && e.rec.Count(history.Invoke) >= e.operations }

// A schedule notifies clients that they must begin no further operations.
type schedule struct {
	quiesce chan struct{}
	once    sync.Once
}

func newSchedule() *schedule { return &schedule{quiesce: make(chan struct{})} }

func (s *schedule) stop() { s.once.Do(func() { close(s.quiesce) }) }

// rootFor returns the root path of one run. Runs on one ensemble must not share a root, so the path
// contains the time as well as the seed.
func rootFor(scenario string, seed uint64, now time.Time) string {
	return fmt.Sprintf("/zkcoord-%s-%d-%x", strings.Map(plain, scenario), seed, now.UnixNano())
}

func plain(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
		return r
	}
	return '-'
}
