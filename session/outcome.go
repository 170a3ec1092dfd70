package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// Errors of a session. The server's own answers (ErrNoNode, ErrBadVersion
// and so on) come wrapped and are found with errors.Is.
var (
	// ErrLost means that the session is over: its ephemeral nodes are gone or
	// will be. Open a new one, or live in Run.
	ErrLost = errors.New("session: lost")
	// ErrLeaseLapsed means that the session could no longer be proven to live.
	// Whatever was held has to be treated as lost; the session itself may go on.
	ErrLeaseLapsed = errors.New("session: lease lapsed")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("session: closed")
	// ErrCredentials means that servers refused Options.Auth, or demand other
	// credentials. The session is over, and an error with ErrCredentials is an
	// ErrLost too, but a new session would end likewise: mend the options.
	ErrCredentials = errors.New("session: credentials refused")
	// ErrTooLarge means that a request is larger than servers accept. Nothing
	// was sent. Make it smaller, or raise jute.maxbuffer and Options.MaxRequest.
	ErrTooLarge = errors.New("session: request too large")
)

// An Outcome tells whether a request that changes something did so.
type Outcome int

const (
	// Indeterminate: the request may have been applied, or may yet be.
	Indeterminate Outcome = iota
	// OK: it was applied.
	OK
	// Failed: it was not applied and will not be.
	Failed
)

// String returns ok, fail or info, as a history names them.
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

// OutcomeOf answers "did it happen?" for the error of a request that changes
// something, of this package or of go-zookeeper itself. A nil error is OK. An
// error that proves nothing, and any error unknown to it, is Indeterminate.
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

// unsent is the error of a request that was given up before it left.
func unsent(op, path string, cause error) error {
	return &RequestError{Op: op, Path: path, Outcome: Failed, Err: cause}
}

// ended is the error of a request whose caller stopped waiting for the reply.
func ended(op, path string, cause error) error {
	return &RequestError{Op: op, Path: path, Outcome: Indeterminate, Err: cause}
}

// answered wraps what go-zookeeper returned.
func answered(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &RequestError{Op: op, Path: path, Outcome: OutcomeOf(err), Err: err}
}

// ConnectionLost reports whether err is that of a request whose connection
// went, while the session may go on: a read can simply be asked again, a write
// whose Outcome is Failed too.
func ConnectionLost(err error) bool { return retryable(err) }

// retryable reports whether a read may simply be asked again: the connection
// went, not the session.
func retryable(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, errBroken)
}

// errBroken is a failure to write to a connection: what was written may have
// arrived.
var errBroken = errors.New("connection broken")

// causeOf is context.Cause, or ctx.Err where there is none.
func causeOf(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return ctx.Err()
}
