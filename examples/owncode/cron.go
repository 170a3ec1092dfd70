// Package owncode shows how to test a program that does not use zkcoord. The program's client is
// plain go-zookeeper, and the program imports nothing of this project. The test in this directory
// runs the program under faults with package harness.
//
// The program is a small cron. Processes elect a leader, and the leader runs a
// job at each tick. Each tick's job runs at most once, whichever process leads.
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

// A Cron is one of several processes that elect a leader. The leader runs the jobs.
type Cron struct {
	Conn  *zk.Conn
	Path  string
	Every time.Duration
	Job   func(tick int64)

	// Trace is called for each operation and must call f. Use it for metrics or
	// for a test.
	Trace func(operation, object string, f func() error) error

	// Claim is called right before a job, and the job runs only if Claim returns nil. The function
	// Once makes sure that only one process runs the job of a tick. The function Trusting does not.
	Claim func(c *Cron, me string, tick int64) error
}

var world = zk.WorldACL(zk.PermAll)

// Run takes part in the election, and runs jobs while it leads, until ctx ends.
// It returns an error when the session is over.
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

// The method `first` reports whether the znode of this candidate has the smallest number of all
// candidates.
func (c *Cron) first(me string) (bool, error) {
	names, _, err := c.Conn.Children(c.candidates())
	if err != nil {
		return false, err
	}
	if !slices.Contains(names, path.Base(me)) {
		return false, fmt.Errorf("the candidate's own znode %s is gone", me)
	}
	number := func(name string) string { return name[len(name)-10:] }
	return !slices.ContainsFunc(names, func(name string) bool { return number(name) < number(me) }), nil
}

// ErrTaken means that another process has already claimed the job of a tick.
var ErrTaken = errors.New("another process runs the job")

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

// Once claims a tick: it creates a znode for the tick, in a transaction that succeeds only if the
// candidate's own znode still exists. So a candidate that has lost the lead cannot claim a tick,
// and each tick is claimed at most once. If the reply to the transaction is lost, the tick may be
// claimed although no process runs the job.
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

// Trusting claims nothing and always returns nil. It assumes that this process still leads because
// it led when it last checked. Many programs do this.
func Trusting(*Cron, string, int64) error { return nil }
