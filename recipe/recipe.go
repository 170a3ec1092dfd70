package recipe

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// NewID returns 128 random bits from the session's Options.Rand, in hexadecimal. A client puts this
// ID into the name of its znode, so that it recognizes the znode later.
func NewID(s *session.Session) string {
	id := engine.Of(s).NewID()
	return string(id[:])
}

// ReadBarrier ensures that the next reads of s include everything that was committed on any server
// before the call. It is a quorum write that changes nothing. The path may be any valid path and
// need not exist.
//
// If the reply to an earlier request of s was lost, the next reads also show whether that request
// was applied: it cannot be applied later.
//
// Session.Sync cannot replace ReadBarrier: a leader answers the sync of its own clients without
// waiting for transactions that it has committed and not yet applied.
func ReadBarrier(ctx context.Context, s *session.Session, path string) error {
	if err := znode.Check(path); err != nil {
		return requestError("multi", path, session.Failed, err)
	}
	for {
		_, err := s.Multi(ctx, session.CheckOp{Path: path, Version: session.AnyVersion})
		failed := (*session.MultiError)(nil)
		switch {
		case err == nil:
			return nil
		case errors.As(err, &failed) && !errors.Is(err, zk.ErrSessionExpired):
			return nil // a failed multi also passes through the quorum
		case !session.ConnectionLost(err):
			return err
		}
	}
}

// Detach runs f on a goroutine of the session, with a context that ends with the session. It is for
// work that must be done after the caller's context has ended. Requests of f are sent after all
// requests that were abandoned before the call of Detach. f has no timeout: if f gave up, whatever
// it has to undo would remain until the session ends. Session.Close waits for f, but for at most a
// third of the session timeout. The channel receives the result of f, or the cause of the session's
// end if f could not run.
func Detach(s *session.Session, f func(ctx context.Context) error) <-chan error {
	return engine.Of(s).Detach(f)
}

// Fits returns an error that wraps session.ErrTooLarge if Multi would refuse ops as one
// transaction. It sends no request. Callers use Fits to divide their work into transactions.
func Fits(s *session.Session, ops ...session.Op) error { return engine.Of(s).Fits(ops) }

// CloneOps returns a copy of ops with their data. Use the copy for a request that may be sent after
// the caller has continued, because the caller may then change ops.
func CloneOps(ops []session.Op) []session.Op {
	own := slices.Clone(ops)
	for i, op := range own {
		switch op := op.(type) {
		case session.CreateOp:
			op.Data, op.ACL = bytes.Clone(op.Data), slices.Clone(op.ACL)
			own[i] = op
		case session.SetOp:
			op.Data = bytes.Clone(op.Data)
			own[i] = op
		}
	}
	return own
}
