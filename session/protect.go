package session

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// A creation is a protected create under way.
type creation struct {
	s      *Session
	note   *note         // nil if nothing was sent
	prefix string        // of the node's name: identifier and kind
	sent   chan struct{} // closed when the request was sent; nil if it never will be
	done   chan struct{} // closed when node and err are set
	node   engine.Node
	err    error

	mu      sync.Mutex
	parents []string // that were made for it
}

// made notes the parents that were made for the node.
func (c *creation) made(parents []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parents = slices.Clone(parents)
}

// startSuffixed begins to create a sequential node in dir, named <id>-<suffix><number>
// with an id of its own by which it is found again when a reply is lost: so it is made
// once, or not at all. It returns at once. The parents of the node are made if need be.
func (s *Session) startSuffixed(dir, suffix string, data []byte, mode Mode) *creation {
	prefix := s.newID() + "-" + suffix
	path := znode.Join(dir, prefix)
	c := &creation{s: s, prefix: prefix, done: make(chan struct{})}
	if err := s.check("create", path, len(data)); err != nil {
		return c.failed(err)
	}
	data = bytes.Clone(data)
	c.note = newNote()
	if !s.life.spawn(func() {
		c.node, c.err = c.create(dir, data, mode)
		close(c.done)
	}) {
		return c.failed(unsent("create", dir, s.Err()))
	}
	c.sent = c.note.written
	return c
}

func (c *creation) failed(err error) *creation {
	c.err = err
	close(c.done)
	return c
}

// Sent waits until the request was written to the server, the creation ended,
// or ctx did. A request that is made afterwards is answered with the node in
// view, if it is made at all.
func (c *creation) Sent(ctx context.Context) {
	select {
	case <-c.sent:
	case <-c.done:
	case <-ctx.Done():
	}
}

// Wait waits for the node. If ctx ends first, the caller gets an error, and
// the session deletes the node as soon as it is known; Close waits for that.
// So no node remains, unless the session ends before it was deleted and the
// node is not ephemeral.
func (c *creation) Wait(ctx context.Context) (engine.Node, error) {
	select {
	case <-c.done:
		return c.node, c.err
	case <-ctx.Done():
	}
	c.Abandon()
	return engine.Node{}, ended("create", c.prefix, causeOf(ctx))
}

// Abandon gives the creation up. If its request was not written yet, it never will
// be; if the node was made, it is deleted.
func (c *creation) Abandon() {
	if c.note != nil {
		c.note.abandoned.Store(true)
	}
	c.s.life.detach(func(ctx context.Context) error {
		select {
		case <-c.done:
		case <-time.After(c.s.Timeout() / 4): // less than Close waits; the answer may never come
			c.removeParents()
			<-c.done // ends with the session at the latest
		}
		if c.err != nil {
			return nil
		}
		return c.s.remove(ctx, c.node)
	})
}

// removeParents deletes the parents that were made for the node, except those in use.
func (c *creation) removeParents() {
	c.mu.Lock()
	parents := c.parents
	c.mu.Unlock()
	c.s.removeParents(parents)
}

// create creates the node, however often the connection goes. It ends with the
// session at the latest, or if the creation is abandoned.
func (c *creation) create(dir string, data []byte, mode Mode) (engine.Node, error) {
	s, prefix := c.s, c.prefix
	path := znode.Join(dir, prefix)
	for {
		created := ""
		err := s.withParents(s.life.ctx, path, c.made, func(ctx context.Context) (err error) {
			created, err = s.create(ctx, path, data, mode, s.opts.ACL, c.note)
			return err
		})
		switch {
		case err == nil:
			return c.created(created), nil
		case s.Err() != nil:
			return engine.Node{}, err
		case OutcomeOf(err) == Indeterminate:
			node, lookup := s.find(s.life.ctx, dir, prefix, mode)
			if lookup != nil { // it may be there: the look for it failed, the creation need not have
				s.removeFound(func(ctx context.Context) (engine.Node, error) { return s.find(ctx, dir, prefix, mode) })
				return engine.Node{}, ended("create", path, lookup)
			}
			if node.Path != "" {
				return node, nil
			}
			if c.note.abandoned.Load() {
				c.removeParents()
				return engine.Node{}, unsent("create", path, err)
			}
			if !retryable(err) { // an answer that proved nothing, until now
				return engine.Node{}, unsent("create", path, err)
			}
		case c.note.abandoned.Load() && retryable(err):
			c.removeParents()
			return engine.Node{}, err
		case !retryable(err):
			return engine.Node{}, err
		}
	}
}

// created adds the czxid, which is the zxid of the reply: servers apply and
// answer one transaction after the other (docs/decisions/0001-lease.md).
func (c *creation) created(path string) engine.Node {
	return engine.Node{Path: path, Czxid: c.note.zxid.Load()}
}

// find looks for a node of this session by its prefix after the reply to its
// creation was lost. readBarrier comes first: the new server may be behind. After
// it the answer is final, as the leader takes no request of this session from
// the last server any more. An ephemeral node counts only if this session owns
// it.
func (s *Session) find(ctx context.Context, dir, prefix string, mode Mode) (engine.Node, error) {
	if err := s.readBarrier(ctx, dir); err != nil {
		return engine.Node{}, err
	}
	listing, err := s.Children(ctx, dir)
	if errors.Is(err, zk.ErrNoNode) {
		return engine.Node{}, nil
	}
	if err != nil {
		return engine.Node{}, err
	}
	for _, name := range listing.Names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		path := znode.Join(dir, name)
		stat, err := s.Exists(ctx, path)
		if err != nil {
			return engine.Node{}, err
		}
		if stat == nil || mode&zk.FlagEphemeral != 0 && stat.EphemeralOwner != s.ID() {
			continue
		}
		return engine.Node{Path: path, Czxid: stat.Czxid}, nil
	}
	return engine.Node{}, nil
}

// removeFound deletes, as detach does, the node that find finds, if there is one.
// It retries find until the session ends where the error is Transient: a server that
// is overloaded may refuse to show the node, for instance. At any other error it gives
// up after one session timeout: an administrator may be changing an ACL just then. The
// channel gets nil when the node is gone, or the error.
func (s *Session) removeFound(find func(ctx context.Context) (engine.Node, error)) <-chan error {
	return s.life.detach(func(ctx context.Context) error {
		begun := time.Now()
		for round := 0; ; round++ {
			var node engine.Node
			err := s.Retry(ctx, func(ctx context.Context) (err error) {
				node, err = find(ctx)
				return err
			})
			switch {
			case err == nil && node.Path == "":
				return nil
			case err == nil:
				return s.remove(ctx, node)
			case time.Since(begun) >= s.Timeout(), !s.pauseFor(ctx, backoff(round, firstPause, s.Timeout()/2)):
				return err
			}
		}
	})
}

// remove deletes a node of this session for certain: it retries where the error is
// Transient; see Retry. It succeeds if the node is already gone, and leaves a node
// that another client has since created at the same path. It can fail only if ctx or
// the session ends first, the node has children, or the server refuses the deletion
// for good, because of the directory's ACL for example.
func (s *Session) remove(ctx context.Context, n engine.Node) error {
	again := false  // the node may be gone, and another session may own the path by now
	unsure := false // the last attempt may have been applied
	err := s.Retry(ctx, func(ctx context.Context) error {
		if again {
			if there, err := s.isThere(ctx, n); err != nil || !there {
				return err
			}
		}
		err := s.Delete(ctx, n.Path, AnyVersion)
		again, unsure = true, OutcomeOf(err) == Indeterminate
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		return err
	})
	if err != nil && unsure && OutcomeOf(err) == Failed {
		return ended("delete", n.Path, err) // of the look
	}
	return err
}

// isThere reports whether n exists, and is not another node on its path.
func (s *Session) isThere(ctx context.Context, n engine.Node) (bool, error) {
	if err := s.readBarrier(ctx, n.Path); err != nil {
		return false, err
	}
	stat, err := s.Exists(ctx, n.Path)
	return n.Is(stat), err
}
