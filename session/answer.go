package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// Errors for answers of servers that go-zookeeper does not know.
var (
	// ErrQuota means that a hard quota on the path or above it is used up.
	// Nothing was applied. Delete something, or raise the quota.
	ErrQuota = errors.New("session: quota exceeded")
	// ErrThrottled means that the server was too busy and did not execute the
	// request. Nothing was applied. Try again later.
	ErrThrottled = errors.New("session: throttled: the server is too busy")
	// ErrReadOnly means that the server has no quorum and serves reads only.
	// Nothing was applied. Try again later.
	ErrReadOnly = errors.New("session: the server is read-only")
	// ErrUnimplemented means that the server does not know the request, or
	// that it is switched off, as nodes with a time to live are by default.
	// Nothing was applied.
	ErrUnimplemented = errors.New("session: unimplemented by the server")
	// ErrAuthRequired means that the server closed the session since it serves
	// authenticated clients only (enforce.auth, SASL). Nothing was applied. Open
	// a session with Options.Auth.
	ErrAuthRequired = errors.New("session: the server requires authentication (enforce.auth, SASL)")
	// ErrUnknown means that the answer proves nothing: an error of the server that
	// this package does not know, or that says too little. The request may have been
	// applied.
	ErrUnknown = errors.New("session: unknown answer of the server")
)

// A refusal is what an error code says that proves that nothing was applied.
type refusal struct {
	err       error
	transient bool // the same request may succeed later
}

// refusalCodes has those codes of ZooKeeper 3.8 and 3.9 that go-zookeeper does not
// know. Servers send them only instead of preparing a transaction
// (PrepRequestProcessor, ReadOnlyRequestProcessor, AuthenticationHelper), or for a
// request that is passed through without executing it (THROTTLEDOP).
//
// A code that is not listed proves nothing. FinalRequestProcessor answers with
// MARSHALLINGERROR also after it applied the transaction, for instance. No server
// sends REQUESTTIMEOUT.
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

// named replaces the error that go-zookeeper makes of a code that it does not know.
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

// refusals are the errors which prove that nothing was applied: the server
// said no, or the client never sent the request.
//
// Not among them: zk.ErrSessionExpired and zk.ErrClosing, which the client
// also gives to requests that were under way; zk.ErrAPIError, its answer to a
// reply that it cannot decode; zk.ErrShortBuffer, likewise.
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

// unreadable are the errors of an answer that the client cannot decode.
var unreadable = []error{zk.ErrAPIError, zk.ErrShortBuffer, zk.ErrUnhandledFieldType, zk.ErrPtrExpected, zk.ErrUnknown, zk.ErrNothing}

// Transient reports whether the request that failed with err may succeed later
// although nobody does anything about it: its connection was lost, the server was
// too busy, or the answer proves nothing. Any other error is final, ErrNoAuth or
// ErrQuota for example. A write with an Indeterminate Outcome may have been applied:
// look first.
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

// Retry calls f until it succeeds or fails with an error that is not Transient, and
// returns that error. If ctx or the session ends first, it returns the last error.
// After a lost connection it calls f again at once, since a request waits for the
// next connection. Otherwise it pauses first, for 50 ms, 100 ms and so on, up to
// half of the session timeout. It is for look-ups and clean-ups, which have to come
// to an end; f decides what a write that may have been applied means.
func (s *Session) Retry(ctx context.Context, f func(ctx context.Context) error) error {
	for pauses := 0; ; {
		err := f(ctx)
		switch {
		case err == nil || !Transient(err) || ctx.Err() != nil || s.Err() != nil:
			return err
		case retryable(err):
			continue
		}
		if !s.pauseFor(ctx, backoff(pauses, firstPause, s.Timeout()/2)) {
			return err
		}
		pauses++
	}
}

// pauseFor waits for d, and reports whether neither ctx nor the session ended first.
func (s *Session) pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.Done():
	}
	return false
}
