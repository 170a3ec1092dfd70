package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/session"
)

// A scheduler runs job once in every period while it leads.
type scheduler struct {
	name, path string
	every      time.Duration
	job        func(ctx context.Context, period int64)
}

// run takes part in the election for as long as the session lasts.
func (c scheduler) run(ctx context.Context, s *session.Session) error {
	return election.NewCandidate(s, c.path).Run(ctx, []byte(c.name), func(ctx context.Context, term *election.Term) error {
		return c.lead(ctx, s, term)
	})
}

func (c scheduler) lead(ctx context.Context, s *session.Session, term *election.Term) error {
	note := c.path + "/last"
	for {
		last, write, err := read(ctx, s, note)
		if err != nil {
			return err
		}
		// A leader whose clock is behind that of the one before waits for it.
		period := max(c.period(time.Now()), last)
		if period == last {
			if err := sleepUntil(ctx, c.start(last+1)); err != nil {
				return err
			}
			continue
		}
		if _, err := term.Txn(ctx, write(period)); err != nil {
			return err
		}
		c.job(ctx, period)
	}
}

func (c scheduler) period(t time.Time) int64     { return t.UnixNano() / int64(c.every) }
func (c scheduler) start(period int64) time.Time { return time.Unix(0, period*int64(c.every)) }

// read returns the period that was noted last, 0 for none, and how to note a
// later one.
func read(ctx context.Context, s *session.Session, note string) (last int64, write func(int64) session.Op, err error) {
	text := func(period int64) []byte { return strconv.AppendInt(nil, period, 10) }
	v, err := s.Get(ctx, note)
	if errors.Is(err, zk.ErrNoNode) {
		return 0, func(period int64) session.Op {
			return session.CreateOp{Path: note, Data: text(period), Mode: session.Persistent}
		}, nil
	}
	if err != nil {
		return 0, nil, err
	}
	last, err = strconv.ParseInt(string(v.Data), 10, 64)
	return last, func(period int64) session.Op {
		return session.SetOp{Path: note, Data: text(period), Version: v.Stat.Version}
	}, err
}

func sleepUntil(ctx context.Context, t time.Time) error {
	select {
	case <-time.After(time.Until(t)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
