package leases

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// An Event is one line of a trace. Its times count from the start of the history. Package
// leasetrace lists the fields of each kind of event. Fields that a kind does not use are zero,
// except that Sent and Deadline are Never.
type Event struct {
	At       time.Duration
	Sent     time.Duration
	Deadline time.Duration // Never if no lease stands
	Timeout  time.Duration
	Tick     time.Duration
	Session  int64
	Zxid     int64
	Xid      int32
	Op       wire.Op
	Code     wire.Code
	Part     wire.Code
	Hold     int32 // number that a contender and its hold have in the session
	Client   int16
	Kind     leasetrace.Kind
	Proof    leasetrace.Proof
	Fresh    bool
	Path     string
	Cause    string
}

// Never is the deadline of a session without a lease. If an event does not use one of its time
// fields, the value of this field is Never too.
const Never = time.Duration(math.MinInt64)

// A Trace is what the sessions of a run reported, in the order of the reports.
type Trace struct {
	Events []Event
	End    time.Duration // of the recording
}

// A Recorder collects the trace of a run. Its methods may be called from any number of goroutines.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	events []Event
	sealed bool
	end    time.Duration
}

// NewRecorder returns a recorder. The times of its events count from the time `start`.
func NewRecorder(start time.Time) *Recorder { return &Recorder{start: start} }

// Session returns the function that receives the events of one session of a client.
func (r *Recorder) Session(client int) leasetrace.Func {
	var id int64
	holds := make(map[any]int32)
	return func(e leasetrace.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.sealed {
			return
		}
		if e.Kind == leasetrace.Opened {
			id = e.Session
		}
		one := Event{
			At: r.since(e.At), Sent: r.since(e.Sent), Deadline: r.since(e.Deadline), Timeout: e.Timeout, Tick: e.Tick,
			Session: id, Zxid: e.Zxid, Xid: e.Xid, Op: e.Op, Code: e.Code, Part: e.Part,
			Client: int16(client), Kind: e.Kind, Proof: e.Proof, Fresh: e.Fresh, Path: e.Path,
		}
		if e.Hold != nil {
			if holds[e.Hold] == 0 {
				holds[e.Hold] = int32(len(holds)) + 1
			}
			one.Hold = holds[e.Hold]
		}
		if e.Cause != nil {
			one.Cause = e.Cause.Error()
		}
		r.events = append(r.events, one)
	}
}

func (r *Recorder) since(t time.Time) time.Duration {
	if t.IsZero() {
		return Never
	}
	return t.Sub(r.start)
}

// Seal ends the recording and returns the trace. Later events are dropped.
func (r *Recorder) Seal() *Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sealed {
		r.sealed, r.end = true, time.Since(r.start)
	}
	return &Trace{Events: r.events, End: r.end}
}

var (
	kindNames  = [...]string{leasetrace.Opened: "opened", leasetrace.Closed: "closed", leasetrace.Sent: "sent", leasetrace.Answered: "answered", leasetrace.Waiting: "waiting", leasetrace.Expected: "expected", leasetrace.Granted: "granted", leasetrace.Ended: "ended", leasetrace.Heartbeat: "heartbeat"}
	proofNames = [...]string{leasetrace.Activity: "activity", leasetrace.Leader: "leader", leasetrace.Majority: "majority"}
)

// The type `line` is the form of an event in a file. Times are in nanoseconds since the start of
// the history.
type line struct {
	At       int64     `json:"t"`
	Client   int16     `json:"client"`
	Session  string    `json:"session"`
	Kind     string    `json:"kind"`
	Xid      int32     `json:"xid,omitempty"`
	Op       string    `json:"op,omitempty"`
	Sent     *int64    `json:"sent,omitempty"`
	Proof    string    `json:"proof,omitempty"`
	Zxid     string    `json:"zxid,omitempty"`
	Code     wire.Code `json:"err,omitempty"`
	Part     wire.Code `json:"part,omitempty"`
	Timeout  int64     `json:"timeout,omitempty"`
	Tick     int64     `json:"tick,omitempty"`
	Fresh    bool      `json:"fresh,omitempty"`
	Deadline *int64    `json:"until,omitempty"`
	Hold     int32     `json:"hold,omitempty"`
	Path     string    `json:"path,omitempty"`
	Cause    string    `json:"cause,omitempty"`
}

// endLine is the last line of a file. A file without it was cut short.
type endLine struct {
	End *int64 `json:"end"`
}

// Write writes t as JSON Lines.
func (t *Trace) Write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for i := range t.Events {
		if err := lines.Encode(t.Events[i].line()); err != nil {
			return fmt.Errorf("leases: write: %w", err)
		}
	}
	end := int64(t.End)
	if err := errors.Join(lines.Encode(endLine{&end}), out.Flush()); err != nil {
		return fmt.Errorf("leases: write: %w", err)
	}
	return nil
}

func (e *Event) line() line {
	l := line{
		At: int64(e.At), Client: e.Client, Session: fmt.Sprintf("0x%x", uint64(e.Session)), Kind: kindNames[e.Kind],
		Xid: e.Xid, Sent: known(e.Sent), Proof: proofNames[e.Proof], Code: e.Code, Part: e.Part,
		Timeout: int64(e.Timeout), Tick: int64(e.Tick), Fresh: e.Fresh, Deadline: known(e.Deadline),
		Hold: e.Hold, Path: e.Path, Cause: e.Cause,
	}
	if e.Kind == leasetrace.Sent {
		l.Op = e.Op.String()
	}
	if e.Zxid != 0 {
		l.Zxid = fmt.Sprintf("0x%x", uint64(e.Zxid))
	}
	return l
}

func known(d time.Duration) *int64 {
	if d == Never {
		return nil
	}
	n := int64(d)
	return &n
}

// Read reads what Write has written.
func Read(r io.Reader) (*Trace, error) {
	t := &Trace{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	complete := false
	for n := 1; in.Scan(); n++ {
		var end endLine
		if complete = json.Unmarshal(in.Bytes(), &end) == nil && end.End != nil; complete {
			t.End = time.Duration(*end.End)
			continue
		}
		e, err := parse(in.Bytes())
		if err != nil {
			return nil, fmt.Errorf("leases: line %d: %w", n, err)
		}
		t.Events = append(t.Events, e)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("leases: read: %w", err)
	}
	if !complete {
		return nil, errors.New("leases: the trace was cut short: its last line has no end")
	}
	return t, nil
}

func parse(text []byte) (e Event, err error) {
	var l line
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&l); err != nil {
		return e, err
	}
	e = Event{
		At: time.Duration(l.At), Sent: Never, Deadline: Never, Timeout: time.Duration(l.Timeout), Tick: time.Duration(l.Tick),
		Xid: l.Xid, Code: l.Code, Part: l.Part, Hold: l.Hold, Client: l.Client, Fresh: l.Fresh, Path: l.Path, Cause: l.Cause,
	}
	for i, name := range kindNames {
		if name == l.Kind && name != "" {
			e.Kind = leasetrace.Kind(i)
		}
	}
	for i, name := range proofNames {
		if name == l.Proof {
			e.Proof = leasetrace.Proof(i)
		}
	}
	if e.Kind == 0 || (e.Proof == 0) != (e.Kind != leasetrace.Answered) {
		return e, fmt.Errorf("unknown event %q with proof %q", l.Kind, l.Proof)
	}
	if l.Sent != nil {
		e.Sent = time.Duration(*l.Sent)
	}
	if l.Deadline != nil {
		e.Deadline = time.Duration(*l.Deadline)
	}
	var ok bool
	if e.Op, ok = wire.ParseOp(l.Op); !ok && e.Kind == leasetrace.Sent {
		return e, fmt.Errorf("unknown operation %q", l.Op)
	}
	e.Session, err = history.ParseID(l.Session)
	if err == nil && l.Zxid != "" {
		e.Zxid, err = history.ParseID(l.Zxid)
	}
	return e, err
}
