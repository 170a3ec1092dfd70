// Package owncode shows how to put a program of one's own to the test: its client is plain go-zookeeper, and it knows nothing of
// this project. The test beside it runs it under faults with package harness.
//
// The program is a small cron. Processes elect a leader, which runs a job at each tick, a tick's job at most once whoever leads.
package owncode

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
)

// Cron is one process of the cron.
type Cron struct {
	Conn  *zk.Conn
	Path  string
	Every time.Duration
	Job   func(tick int64)

	// Trace is called around each operation, and calls it: for metrics, or for a test.
	Trace func(operation, object string, f func() error) error

	// Claim makes sure, right before a job, that nobody else runs it, and returns ErrTaken if somebody does: Once, or Trusting.
	Claim func(c *Cron, me string, tick int64) error
}

var world = zk.WorldACL(zk.PermAll)

// Run campaigns, and runs jobs while it leads, until ctx ends. It returns with an error when the session is over.
func (c *Cron) Run(ctx context.Context) error {
	for _, dir := range []string{c.Path, c.candidates(), c.done()} {
		if _, err := c.Conn.Create(dir, nil, 0, world); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	me, err := c.Conn.CreateProtectedEphemeralSequential(c.candidates()+"/c-", nil, world)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	for leads := false; ; {
		select {
		case <-ctx.Done():
			return c.Conn.Delete(me, -1)
		case now := <-ticker.C:
			if !leads {
				if err := c.Trace("look", "", func() error { leads, err = c.first(me); return err }); err != nil {
					return err
				}
			}
			if leads {
				if err := c.tick(me, now); err != nil {
					return err
				}
			}
		}
	}
}

func (c *Cron) candidates() string { return c.Path + "/candidates" }
func (c *Cron) done() string       { return c.Path + "/done" }

// first reports whether nobody came before.
func (c *Cron) first(me string) (bool, error) {
	names, _, err := c.Conn.Children(c.candidates())
	if err != nil {
		return false, err
	}
	if !slices.Contains(names, path.Base(me)) {
		return false, errors.New("my own node is gone")
	}
	number := func(name string) string { return name[len(name)-10:] }
	return !slices.ContainsFunc(names, func(name string) bool { return number(name) < number(me) }), nil
}

// ErrTaken says that somebody else runs the job of a tick.
var ErrTaken = errors.New("somebody else runs it")

func (c *Cron) tick(me string, now time.Time) error {
	tick := now.UnixNano() / int64(c.Every)
	err := c.Trace("job", fmt.Sprint(tick), func() error {
		err := c.Claim(c, me, tick)
		if err == nil {
			c.Job(tick)
		}
		return err
	})
	if errors.Is(err, ErrTaken) {
		return nil
	}
	return err
}

// Once claims a tick in one transaction that holds only if one's own node is still there: who lost the lead cannot claim, and
// nobody can claim twice. If the answer is lost nobody runs the job: at most once.
func Once(c *Cron, me string, tick int64) error {
	_, err := c.Conn.Multi(
		&zk.CheckVersionRequest{Path: me, Version: 0},
		&zk.CreateRequest{Path: fmt.Sprintf("%s/%d", c.done(), tick), Acl: world},
	)
	if errors.Is(err, zk.ErrNodeExists) {
		return ErrTaken
	}
	return err
}

// Trusting runs the job because it was the leader when it last looked. Many a program does.
func Trusting(*Cron, string, int64) error { return nil }
