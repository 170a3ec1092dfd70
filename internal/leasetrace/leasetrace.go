// Package leasetrace passes to the harness the events that the lease of a session depends on.
// Package harness/leases records them, writes them as JSON and judges them.
//
// A session takes its trace from the context of session.Open, like net/http takes an
// httptrace.ClientTrace. Programs cannot set a trace, because this package is internal and
// session.Options has no field for it.
package leasetrace

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Func receives the events of one session, one at a time, in the order in which the lease used
// them. The session holds mutexes during the call, so a Func must not block and must not use the
// session.
type Func func(Event)

// A Kind is a kind of event.
type Kind uint8

// The kinds of events. Each comment names the fields of Event that the kind uses, except At.
const (
	// Opened means that the answer to a handshake was read: Session, Sent, Timeout, Tick, Fresh,
	// Deadline. Later packets, up to the next Opened, belong to this connection.
	Opened Kind = iota + 1
	// Closed means that the connection has ended.
	Closed
	// Sent means that a request is about to be written: Xid, Op.
	Sent
	// Answered means that the session read a reply that is evidence for its lease, and has updated
	// the lease: Xid, Zxid, Code, Part, Proof, Sent, Deadline.
	Answered
	// Waiting means that a contender began to wait: Hold, Path.
	Waiting
	// Expected means that a contender may soon be granted its hold, for example because only one
	// other contender is ahead of it: Hold, Path. From then on, the session renews its lease for
	// this contender, because it grants the hold only under a lease.
	Expected
	// Granted means that a contender was granted its hold: Hold, Path, Deadline.
	Granted
	// Ended means that a hold ended, or that a contender left without a grant: Hold, Path, Cause.
	Ended
	// Heartbeat means that the session sends a write to renew its lease.
	Heartbeat
)

// A Proof is what the session concluded from a reply.
type Proof uint8

// The kinds of proof, from the weakest to the strongest.
const (
	Activity Proof = iota + 1 // the session was active
	Leader                    // the path to the leader and back was open
	Majority                  // a majority acknowledged a write of the session
)

// An Event is something that a lease depends on, or something that depends on the lease.
type Event struct {
	Kind  Kind
	Proof Proof
	Fresh bool // the connection created the session
	Xid   int32
	Op    wire.Op
	Code  wire.Code // in the header of the reply
	Part  wire.Code // the first error in the body of a multi

	At       time.Time
	Sent     time.Time // when the answered packet was sent, according to the lease
	Deadline time.Time // of the lease after the event; zero if there is none

	Session       int64
	Zxid          int64
	Timeout, Tick time.Duration
	Hold          any // identifies the contender and its hold
	Path          string
	Cause         error
}

type key struct{}

// With returns a context with which session.Open opens a session that reports to f.
func With(ctx context.Context, f Func) context.Context { return context.WithValue(ctx, key{}, f) }

// From returns the function that With has stored in the context, or nil.
func From(ctx context.Context) Func {
	f, _ := ctx.Value(key{}).(Func)
	return f
}
