package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// These errors represent error codes that servers send but go-zookeeper does not know.
var (
	// ErrQuota means that a hard quota on the path or above it is used up. Nothing was applied.
	// Delete something, or raise the quota.
	ErrQuota = errors.New("session: quota exceeded")
	// ErrThrottled means that the server was too busy and did not execute the request. Nothing was
	// applied. Try again later.
	ErrThrottled = errors.New("session: throttled: the server is too busy")
	// ErrReadOnly means that the server has no quorum and serves reads only. Nothing was applied.
	// Try again later.
	ErrReadOnly = errors.New("session: the server is read-only")
	// ErrUnimplemented means that the server does not know the request, or that its configuration
	// disables the request. Znodes with a time to live are disabled by default. Nothing was
	// applied.
	ErrUnimplemented = errors.New("session: unimplemented by the server")
	// ErrAuthRequired means that the server closed the session because it serves authenticated
	// clients only (enforce.auth, SASL). Nothing was applied. Open a session with Options.Auth.
	ErrAuthRequired = errors.New("session: the server requires authentication (enforce.auth, SASL)")
	// ErrUnknown means that the answer does not say whether the request was applied. The server
	// sent an error that this package does not know, or one that has several causes. The request
	// may have been applied.
	ErrUnknown = errors.New("session: unknown answer of the server")
)

// A refusal is the meaning of an error code that proves that nothing was applied.
type refusal struct {
	err       error
	transient bool // the same request may succeed later
}

// refusalCodes has those error codes of ZooKeeper 3.8 and 3.9 that go-zookeeper does not know and
// that prove a refusal. A server sends these codes only if it did not prepare the transaction
// (PrepRequestProcessor, ReadOnlyRequestProcessor, AuthenticationHelper), or did not execute the
// request (THROTTLEDOP).
//
// Any other code that go-zookeeper does not know proves nothing. For example, FinalRequestProcessor
// can answer with MARSHALLINGERROR after it has applied the transaction. No server sends
// REQUESTTIMEOUT.
var refusalCodes = map[wire.Code]refusal{
	wire.QuotaExceeded:            {ErrQuota, false},
	wire.ThrottledOp:              {ErrThrottled, true},
	wire.NotReadOnly:              {ErrReadOnly, true},
	wire.Unimplemented:            {ErrUnimplemented, false},
	wire.SessionClosedRequireSASL: {ErrAuthRequired, false},
	wire.EphemeralOnLocalSession:  {wire.EphemeralOnLocalSession, false},
	wire.NewConfigNoQuorum:        {wire.NewConfigNoQuorum, false},
	wire.ReconfigInProgress:       {wire.ReconfigInProgress, false},
}

// The function `named` returns err, with one exception: if err is go-zookeeper's error for an
// unknown code, `named` returns the error of this package for that code.
func named(err error) error {
	if err == nil {
		return nil
	}
	var code wire.Code
	if _, scan := fmt.Sscanf(err.Error(), "unknown error: %d", &code); scan != nil {
		return err
	}
	if refused, ok := refusalCodes[code]; ok {
		return refused.err
	}
	return fmt.Errorf("%w: %w", ErrUnknown, code)
}

// refusals returns the errors which prove that nothing was applied: the server refused the request,
// or the client never sent it.
//
// Four errors of go-zookeeper are not in the result. The client returns zk.ErrSessionExpired and
// zk.ErrClosing even for requests in progress. It returns zk.ErrAPIError and zk.ErrShortBuffer for
// a reply that it cannot decode. With each of these four errors, the request may have been applied.
func refusals() []error {
	all := []error{
		zk.ErrNoNode, zk.ErrNodeExists, zk.ErrBadVersion, zk.ErrNotEmpty,
		zk.ErrNoChildrenForEphemerals, zk.ErrNoAuth, zk.ErrInvalidACL, zk.ErrAuthFailed,
		zk.ErrSessionMoved, zk.ErrBadArguments, zk.ErrReconfigDisabled,
		zk.ErrNoServer, zk.ErrInvalidPath, zk.ErrInvalidFlags, ErrTooLarge, ErrInvalid,
	}
	for _, refused := range refusalCodes {
		all = append(all, refused.err)
	}
	return all
}

// unreadable has the errors that the client returns if it cannot decode an answer.
var unreadable = []error{zk.ErrAPIError, zk.ErrShortBuffer, zk.ErrUnhandledFieldType, zk.ErrPtrExpected, zk.ErrUnknown, zk.ErrNothing}

// Transient reports whether the same request may succeed if it is repeated later, without any other
// change. It returns true if the connection of the request was lost, or if the server was too busy
// or had no quorum. It also returns true if the answer does not say whether the request was
// applied. Any other error is final, for example ErrNoAuth or ErrQuota. A write whose Outcome is
// Indeterminate may have been applied: read its effect before you repeat it.
func Transient(err error) bool {
	if retryable(err) || errors.Is(err, ErrUnknown) {
		return true
	}
	for _, u := range unreadable {
		if errors.Is(err, u) {
			return true
		}
	}
	for _, refused := range refusalCodes {
		if refused.transient && errors.Is(err, refused.err) {
			return true
		}
	}
	return false
}

// Retry calls f until f returns nil or an error that is not Transient, and returns that result. If
// ctx or the session ends first, the error wraps the last error of f and the cause.
//
// After a lost connection, Retry calls f again at once, because the next request waits for a
// connection anyway. After any other transient error, Retry first pauses: 50 ms, then 100 ms and so
// on, up to half of the session timeout.
//
// Use Retry for reads and clean-ups that must be completed. If f writes, f itself must handle the
// case that an earlier attempt was applied.
func (s *Session) Retry(ctx context.Context, f func(ctx context.Context) error) error {
	for pauses := 0; ; {
		err := f(ctx)
		if err == nil || !Transient(err) {
			return err
		}
		if !retryable(err) {
			s.pauseFor(ctx, backoff(pauses, firstPause, s.Timeout()/2))
			pauses++
		}
		// OutcomeOf uses the first RequestError that it finds, and this must be the one in err. The
		// cause may contain another RequestError, so err comes before the cause.
		if ctx.Err() != nil {
			return fmt.Errorf("%w (gave up: %w)", err, causeOf(ctx))
		}
		if s.Err() != nil {
			return fmt.Errorf("%w (gave up: %w)", err, s.Err())
		}
	}
}

// pauseFor waits for d, or until ctx or the session ends.
func (s *Session) pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.Done():
	}
}
