package scenarios

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// The type `entries` is the queue recipe of ZooKeeper's documentation, with one znode per item in
// one directory, like Curator's SimpleDistributedQueue and kazoo's Queue. In a mutant it makes one
// of the usual mistakes. Without a mistake it passes the scenario queue-fifo: see
// TestTextbookInVirtualTime.
type entries struct {
	s    *session.Session
	path string
	does queueMistakes
}

// queueMistakes are the deliberate mistakes that a textbook client of a queue can make.
type queueMistakes struct {
	skips bool // continues with the next item when the reply to a delete is lost
	twice bool // creates a second znode when the reply to the create is lost
	both  bool // takes an item although another client has deleted it
	names bool // orders by names, not by their sequence numbers
	own   bool // trusts the answer of its own server that the queue is empty
}

func openEntries(does queueMistakes) pipeOf {
	return func(s *session.Session, path string) pipe { return &entries{s, path, does} }
}

func (q *entries) put(ctx context.Context, priority int, value string) error {
	path := znode.Join(q.path, recipe.NewID(q.s)+"-p"+strconv.Itoa(priority)+"-")
	for {
		_, err := q.s.Create(ctx, path, []byte(value), session.PersistentSequential)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			if err := recipe.CreateParents(ctx, q.s, path); err != nil {
				return refused("put", err)
			}
		case q.does.twice && session.ConnectionLost(err):
		default:
			return err
		}
	}
}

// The method `take` waits until there is an item, and takes it. Like Curator and kazoo, it sets a
// watch on the list of all items.
func (q *entries) take(ctx context.Context) (string, error) {
	for {
		value, err := q.tryTake(ctx)
		if value != "" || err != nil {
			return value, err
		}
		listing, w, err := q.s.ChildrenWatch(ctx, q.path)
		if errors.Is(err, zk.ErrNoNode) {
			err = recipe.CreateParents(ctx, q.s, znode.Join(q.path, "any"))
		}
		if err != nil {
			return "", refused("take", err)
		}
		if w == nil {
			continue
		}
		if len(listing.Names) > 0 {
			w.Stop()
			continue
		}
		if _, err := w.Wait(ctx); err != nil && ctx.Err() != nil {
			return "", refused("take", ctx.Err())
		}
	}
}

// The function `refused` wraps the error of a call that has neither put nor deleted an item.
func refused(op string, err error) error {
	if err == nil {
		return nil
	}
	return &session.RequestError{Op: op, Outcome: session.Failed, Err: err}
}

func (q *entries) tryTake(ctx context.Context) (string, error) {
	for {
		first, err := q.first(ctx)
		if err == nil && first == "" && !q.does.own {
			if err = recipe.ReadBarrier(ctx, q.s, q.path); err == nil {
				first, err = q.first(ctx)
			}
		}
		if err != nil || first == "" {
			return "", refused("take", err)
		}
		item, err := q.s.Get(ctx, first)
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return "", refused("take", err)
		}
		switch _, err = q.s.Multi(ctx, session.DeleteOp{Path: first, Version: session.AnyVersion}); {
		case err == nil, q.does.both && errors.Is(err, zk.ErrNoNode):
			return string(item.Data), nil
		case q.does.skips && session.ConnectionLost(err), errors.Is(err, zk.ErrNoNode):
		default:
			return "", err
		}
	}
}

// The method `first` returns the path of the first item, or "" if there is none.
func (q *entries) first(ctx context.Context) (string, error) {
	listing, err := q.s.Children(ctx, q.path)
	if errors.Is(err, zk.ErrNoNode) || err == nil && len(listing.Names) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return znode.Join(q.path, slices.MinFunc(listing.Names, q.order)), nil
}

// The method `order` compares two items by priority, and then by sequence number.
func (q *entries) order(a, b string) int {
	if q.does.names {
		return strings.Compare(a, b)
	}
	x, m, _ := znode.ParseSeq(a)
	y, n, _ := znode.ParseSeq(b)
	if priority := cmp.Compare(lastPart(x), lastPart(y)); priority != 0 {
		return priority
	}
	return cmp.Compare(m, n)
}

// lastPart returns the last element of the argument prefix. This element shows the priority of an
// item, for example p1 for priority 1. The prefix is the name of the item's znode without its
// sequence number, and dashes separate its elements.
func lastPart(prefix string) string {
	prefix = strings.TrimSuffix(prefix, "-")
	return prefix[strings.LastIndexByte(prefix, '-')+1:]
}

func (q *entries) count(ctx context.Context) (int, error) {
	listing, err := q.s.Children(ctx, q.path)
	if errors.Is(err, zk.ErrNoNode) {
		return 0, nil
	}
	return len(listing.Names), err
}
