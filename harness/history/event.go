package history

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// Kind is the kind of an event. The zero value is not a kind, and readers reject it.
type Kind uint8

const (
	// Invoke opens an operation of a process.
	Invoke Kind = iota + 1
	// OK completes an operation that took effect between its Invoke and this event.
	OK
	// Fail completes an operation that did not and will not take effect.
	Fail
	// Info completes an operation that may have taken effect, or may do so later.
	Info

	// Session is a change of a client's session as the client observed it. Op is SessionNew or
	// another of the Session constants.
	Session
	// Hold is a change of a grant on Object as the program observed it: HoldBegin, HoldEnd
	// (given up) or HoldLost (lost). Token identifies the grant.
	Hold
	// Belief is a lease deadline as the client computed it. Arg is the deadline, in nanoseconds on
	// the history's clock.
	Belief
	// Write is an access to a fenced resource, which the resource itself records. In spite of its
	// name, the event may be a read: Arg is "read" or "write". Op is WriteAccepted or
	// WriteRejected. Token is the token of the access. Result of an accepted access is the value
	// that the resource has afterwards. Result of a rejected access may be the largest token that
	// the resource has seen.
	Write
	// Fault is an action of the nemesis: FaultStart or FaultStop of the fault named in Object on
	// the target named in Node. The time of the event is the actual time, which may differ from the
	// plan.
	Fault
	// Watch is an event delivered to a watcher: Op is its type, Object the path.
	Watch
	// Crash means that Client stopped without closing anything.
	Crash
	// Fact is a measurement of the run: Op is its name, Result its value.
	Fact
	// Phase marks the progress of the run. Op is PhaseWork or another of the Phase constants.
	Phase

	kinds
)

// Values of [Event.Op] that checkers use, by kind. The names of operations are constants of the
// checkers that judge the operations.
const (
	SessionNew       = "new"       // a session with a new id
	SessionConnected = "connected" // a server serves the existing session again
	SessionSuspended = "suspended" // no server answers; the session may still live
	SessionLost      = "lost"      // the client gave the session up
	SessionClosed    = "closed"    // the client closed it
	SessionExpired   = "expired"   // observed at the ensemble: the servers ended the session

	HoldBegin = "begin"
	HoldEnd   = "end"
	HoldLost  = "lost"

	WriteAccepted = "accepted"
	WriteRejected = "rejected"

	FaultStart = "start"
	FaultStop  = "stop"

	// FactStall is a pause of the process that clients run in. Result is the length of the pause.
	// The pause ended at the time of the event.
	FactStall = "stall"
	// FactLag is the largest delay of a timer in the clients' process, without stalls. It covers a
	// period that ends with the event. Result is the delay. Arg is the length of the period; an
	// empty Arg means LagTime. A second duration in Arg, after a space, is the sum of all delays in
	// the period.
	FactLag = "lag"
	// FactLastSign is the last sign of life of a program that ran under a hold. It comes from the
	// program's log. Object and Token are those of the hold. Result is the time on the machine's
	// clock, in the format time.RFC3339Nano. The program is guarded by another process, which has
	// the hold. If the hold is lost, the history records the end of the hold only when the guarding
	// process ends. This may be much later than the last sign of life of the program.
	FactLastSign = "last-sign"
	// FactLeft is the number of things of one kind that clients left behind. Object is the kind
	// ("znodes", "watches", "goroutines", or the "items" of a queue), Result is the number, and Arg
	// may have some examples.
	FactLeft = "left"
	// FactRole is the new role of the server that Node names, for example n0. Result is "leader",
	// "follower", "down", or another answer of the server.
	FactRole = "role"
	// RoleSilent is the role of a server that does not answer in time.
	RoleSilent = "silent"

	PhaseWork    = "work"    // clients work, the nemesis follows its plan
	PhaseHeal    = "heal"    // the nemesis has stopped; everything is being healed
	PhaseHealed  = "healed"  // the ensemble is healthy: liveness counts from here
	PhaseQuiesce = "quiesce" // clients finish what they have begun
	PhaseFinal   = "final"   // final reads and counts of leftovers
	PhaseEnd     = "end"     // the last event of a complete history
)

var kindNames = [kinds]string{
	Invoke: "invoke", OK: "ok", Fail: "fail", Info: "info",
	Session: "session", Hold: "hold", Belief: "belief", Write: "write",
	Fault: "fault", Watch: "watch", Crash: "crash", Fact: "fact", Phase: "phase",
}

func (k Kind) String() string {
	if k == 0 || k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// KindOf returns the kind of the event that completes an operation with the outcome o.
func KindOf(o session.Outcome) Kind {
	switch o {
	case session.OK:
		return OK
	case session.Failed:
		return Fail
	}
	return Info
}

// Completion reports whether an event of kind k ends an operation.
func (k Kind) Completion() bool { return k == OK || k == Fail || k == Info }

func parseKind(s string) (Kind, bool) {
	for k, name := range kindNames {
		if name == s && name != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

// LagTime is the length of the period that a FactLag covers. The period is longer if the process is
// busy, and the last one of a run may be shorter. LagTick is the interval of the timer whose delay
// is measured. A delay that is shorter than LagTick may go unnoticed.
const (
	LagTime = time.Second
	LagTick = 10 * time.Millisecond
)

// Nobody is the Client and Process of events that belong to no client: faults, phases and facts of
// the run.
const Nobody = -1

// Event is one line of a history. Unused fields are zero and are not written. The exceptions are
// Client and Process: they are Nobody if the event belongs to no client. The size of an Event is
// kept at 160 bytes to save memory, because a million operations have two million events.
type Event struct {
	Time     time.Duration // since the start of the history; set by Record
	Session  int64         // the ZooKeeper session of the event
	Zxid     int64         // the zxid that proves the event
	Token    int64         // the fencing token (czxid) of a grant or write
	Op       string        // the operation or the change
	Object   string        // its object, usually a path
	Arg      string        // the argument
	Result   string        // the result
	Error    string        // the reason why the outcome is Failed or Indeterminate
	Node     string        // a contender's own znode, or the server concerned
	Index    int32         // position in the history; set by Record
	Process  int32         // a logical thread, with at most one open operation at a time
	Round    int32         // round of a double barrier, counted from 1
	Step     int32         // for a Fault event, the number of the step in the plan, counted from 1
	Priority int32         // priority of an item that is put into a queue
	Watch    int32         // number of a watch of the client; its events have the same number
	Client   int16         // the client that the process belongs to; a client may use several processes
	Kind     Kind
}

// A number is a numeric field of an event, with its name in files.
type number struct {
	name string
	at   *int32
}

func (e *Event) numbers() [4]number {
	return [...]number{{"round", &e.Round}, {"step", &e.Step}, {"priority", &e.Priority}, {"watch", &e.Watch}}
}

// Who returns the name of the client for people: "c3", or "-" for an event without a client.
func (e *Event) Who() string {
	if e.Client == Nobody {
		return "-"
	}
	return fmt.Sprintf("c%d", e.Client)
}

// Before reports whether e was recorded before f. If e is a completion and f is an invocation, e
// also came first in real time.
func (e *Event) Before(f *Event) bool { return e.Index < f.Index }
