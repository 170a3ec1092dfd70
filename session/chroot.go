package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
)

// A chroot is the prefix of the paths that callers use. It is "" if there is none.
type chroot string

// inner returns the path that the server knows for a path of a caller. outer is its inverse.
func (c chroot) inner(path string) string {
	if path == "/" && c != "" {
		return string(c)
	}
	return string(c) + path
}

// innerNew is like inner, for a node that is created. If a sequence number is appended to the root,
// the new node is a child of the chroot, not its sibling.
func (c chroot) innerNew(path string, sequential bool) string {
	if sequential {
		return string(c) + path
	}
	return c.inner(path)
}

func (c chroot) outer(path string) string {
	switch path {
	case "": // of a failed request, or of a part of a multi that has no path
		return ""
	case string(c):
		return "/"
	}
	return strings.TrimPrefix(path, string(c))
}

// rooted returns an error if the chroot is missing, so that the root of the session does not exist.
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

// explainNoNode checks whether a znode is missing because the chroot is missing. This costs one
// more request, unless the session has already found that the chroot exists.
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
