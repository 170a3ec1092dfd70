package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
)

// A chroot is the path that the session puts before each path of a caller. It is "" if there is
// none.
type chroot string

// The method `inner` converts a path of a caller into the path that the server knows. The method
// `outer` does the reverse.
func (c chroot) inner(path string) string {
	if path == "/" && c != "" {
		return string(c)
	}
	return string(c) + path
}

// innerNew is like `inner`, for a znode that is created. The server appends a number to the path of
// a sequential znode. For the path "/", `inner` returns the chroot without a slash at the end, so
// the server would create a sibling of the chroot. innerNew keeps the slash, so the znode becomes a
// child of the chroot.
func (c chroot) innerNew(path string, sequential bool) string {
	if sequential {
		return string(c) + path
	}
	return c.inner(path)
}

func (c chroot) outer(path string) string {
	switch path {
	case "": // the path of a failed request, or of a part of a multi without a path
		return ""
	case string(c):
		return "/"
	}
	return strings.TrimPrefix(path, string(c))
}

// The method `rooted` returns an error if the chroot is missing. In that case, even the session's
// path "/" does not exist.
func (s *Session) rooted(ctx context.Context) error {
	if s.opts.Chroot == "" || s.rootSeen.Load() {
		return nil
	}
	stat, err := s.Exists(ctx, "/")
	if err == nil && stat == nil {
		return unsent("create", "/", s.noRoot(zk.ErrNoNode))
	}
	s.rootSeen.Store(err == nil)
	return err
}

// noRoot turns err, an ErrNoNode, into an error that says that the chroot is missing.
func (s *Session) noRoot(err error) error {
	return fmt.Errorf("chroot %s does not exist: %w", s.opts.Chroot, err)
}

// explainNoNode is called with an ErrNoNode. If the reason is a missing chroot, the returned error
// says so. The check costs one more request, unless the session has already found that the chroot
// exists.
func (s *Session) explainNoNode(ctx context.Context, err error) error {
	if s.opts.Chroot == "" || s.rootSeen.Load() {
		return err
	}
	stat, lookup := s.Exists(ctx, "/")
	if lookup == nil && stat == nil {
		return s.noRoot(err)
	}
	s.rootSeen.Store(lookup == nil)
	return err
}
