package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/session"
)

// A scheduler calls the function `job` once in every period while it leads.
type scheduler struct {
	name, path string
	every      time.Duration
	job        func(ctx context.Context, period int64)
}

// The method `run` takes part in the election until the session ends.
func (c scheduler) run(ctx context.Context, s *session.Session) error {
	return election.New(s, c.path, election.Options{Label: c.name}).Run(ctx, func(ctx context.Context, term *election.Term) error {
		return c.lead(ctx, s, term)
	})
}

// The method `lead` runs the job once in each period after the last recorded period. It skips
// periods that have passed without a run.
func (c scheduler) lead(ctx context.Context, s *session.Session, term *election.Term) error {
	note := c.path + "/last"
	_, err := term.Txn(ctx, session.CreateOp{Path: note, Data: []byte("0")})
	if err != nil && !errors.Is(err, session.ErrNodeExists) {
		return err
	}
	for {
		v, err := s.Get(ctx, note)
		if err != nil {
			return err
		}
		last, err := strconv.ParseInt(string(v.Data), 10, 64)
		if err != nil {
			return err
		}
		// Wait until the period after the recorded one begins. If the clock of the previous leader
		// was ahead, this takes longer than one period.
		select {
		case <-time.After(time.Until(time.Unix(0, (last+1)*int64(c.every)))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		period := max(last+1, time.Now().UnixNano()/int64(c.every))
		data := strconv.AppendInt(nil, period, 10)
		if _, err := term.Txn(ctx, session.SetOp{Path: note, Data: data, Version: v.Stat.Version}); err != nil {
			return err
		}
		c.job(ctx, period)
	}
}
