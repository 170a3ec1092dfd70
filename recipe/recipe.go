package recipe

import (
	"bytes"
	"context"
	"slices"

	"github.com/zkcoord/zkcoord/internal/engine"
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
	return engine.Of(s).ReadBarrier(ctx, path)
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

// WithParents calls create, which makes a node at path, and calls it again after it has
// made the parents that are missing, as [CreateParents] does. If create fails in the end,
// or is given up, the parents that were made are deleted again unless they are in use:
// before 3.10, servers keep a container that never had a child.
//
// An error of create that is session.ErrNoNode has to mean that a parent of path is
// missing.
func WithParents(ctx context.Context, s *session.Session, path string, create func(ctx context.Context) error) error {
	return engine.Of(s).WithParents(ctx, path, create)
}

// CreateParents makes those parents of path that do not exist, as containers, which the
// server deletes again some time after their last child went. Parents that exist need no
// permission to create. It does not make the chroot: if that is missing, it fails with
// session.ErrNoNode. If it fails, it deletes again what it has made. Prefer
// [WithParents] if a node follows.
func CreateParents(ctx context.Context, s *session.Session, path string) error {
	return engine.Of(s).CreateParents(ctx, path)
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
