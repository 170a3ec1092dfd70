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

// NewID returns 128 random bits in hexadecimal, from the session's Options.Rand: the
// name by which a client recognises a node of its own.
func NewID(s *session.Session) string { return engine.Of(s).NewID() }

// ReadBarrier makes the next reads of s see all that was committed on any server before
// it was called, and each request of s whose reply was lost, if it is ever to be
// applied. It is a quorum write that changes nothing. The path is any; it need not exist.
//
// It is not Sync: the leader answers that of its own clients without waiting for what it
// has committed and not applied yet.
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
			return nil // a multi that fails takes the same way
		case !session.ConnectionLost(err):
			return err
		}
	}
}

// Detach runs f on a goroutine of the session, with a context that ends with the
// session: for work that must be done although the caller's context has ended. What f
// requests comes behind the requests that were abandoned before. There is no bound,
// since what f gives up would stay for as long as the session lives. Close waits for f,
// a third of the session timeout at most, before it closes the session. The channel gets
// what f returned, or why the session is over if f could not be run.
func Detach(s *session.Session, f func(ctx context.Context) error) <-chan error {
	return engine.Of(s).Detach(f)
}

// Fits returns an error with session.ErrTooLarge if Multi would refuse ops together, for
// those who divide their work among transactions. No request is made.
func Fits(s *session.Session, ops ...session.Op) error { return engine.Of(s).Fits(ops) }

// CloneOps copies ops with their data, for those who apply them when their caller may
// have gone on.
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
