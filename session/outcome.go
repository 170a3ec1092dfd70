package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// Errors of a session. Errors of the server, such as ErrNoNode and ErrBadVersion, are wrapped and
// can be tested with errors.Is.
var (
	// ErrLost means that the session is over: its ephemeral znodes are deleted or will be. Open a
	// new session, or use Run.
	ErrLost = errors.New("session: lost")
	// ErrLeaseLapsed means that there was no proof in time that the session is alive. Treat every
	// grant as lost. The session itself may continue.
	ErrLeaseLapsed = errors.New("session: lease lapsed")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("session: closed")
	// ErrCredentials means that servers refused Options.Auth, or require other credentials. The
	// session is over, so the error is also ErrLost. A new session would end in the same way:
	// correct the options.
	ErrCredentials = errors.New("session: credentials refused")
	// ErrTooLarge means that a request is larger than Options.MaxRequest. Nothing was sent. Make
	// the request smaller, or raise Options.MaxRequest and the servers' jute.maxbuffer.
	ErrTooLarge = errors.New("session: request too large")
)

// An Outcome says whether a write was applied, or that this is unknown.
type Outcome int

const (
	// Indeterminate: the request may have been applied, or may still be applied.
	Indeterminate Outcome = iota
	// OK: the request was applied.
	OK
	// Failed: the request was not applied and will not be.
	Failed
)

// String returns ok, fail or info, the names of the outcomes in a history of the harness.
func (e Outcome) String() string {
	switch e {
	case OK:
		return "ok"
	case Failed:
		return "fail"
	}
	return "info"
}

// A RequestError is the error of one request.
type RequestError struct {
	Op      string // create, get, multi, ...
	Path    string
	Outcome Outcome // never OK
	Err     error
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
}

func (e *RequestError) Unwrap() error { return e.Err }

// OutcomeOf returns the outcome of a write that returned err. It accepts errors of this package and
// of go-zookeeper. A nil error is OK. An error that proves nothing, or that this package does not
// know, is Indeterminate.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OK
	}
	if req := (*RequestError)(nil); errors.As(err, &req) {
		return req.Outcome
	}
	if multi := (*MultiError)(nil); errors.As(err, &multi) {
		return Failed
	}
	for _, refused := range refusals() {
		if errors.Is(err, refused) {
			return Failed
		}
	}
	return Indeterminate
}

// The function `unsent` returns the error of a request that was never written.
func unsent(op, path string, cause error) error {
	return &RequestError{Op: op, Path: path, Outcome: Failed, Err: cause}
}

// The function `ended` returns the error of a request whose caller stopped waiting for the reply.
func ended(op, path string, cause error) error {
	return &RequestError{Op: op, Path: path, Outcome: Indeterminate, Err: cause}
}

// The function `answered` wraps an error of go-zookeeper in a RequestError.
func answered(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &RequestError{Op: op, Path: path, Outcome: OutcomeOf(err), Err: err}
}

// ConnectionLost reports whether the request that returned err failed because its connection was
// lost. If so, the session may still continue, and a read can be repeated. A write can be repeated
// if its Outcome is Failed.
func ConnectionLost(err error) bool { return retryable(err) }

// The function `retryable` reports whether a request failed only because its connection was lost,
// and not because the session was lost. If so, a read can be repeated.
func retryable(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, errBroken)
}

// errBroken means that a write to a connection failed, or that the connection no longer serves the
// session. After a failed write, the server may have received the data.
var errBroken = errors.New("connection broken")

// causeOf returns context.Cause, or ctx.Err if there is no cause.
func causeOf(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return ctx.Err()
}
