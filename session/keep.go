package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/times"
)

// The method `keep` runs until the session has ended, and then closes the client. Whenever work of
// the lease keeper is due, `keep` does it. If the session has been without a server for too long,
// `keep` ends the session: see Options.Abandon. Hooks run on another goroutine, so a slow hook does
// not delay `keep`.
func (s *Session) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.Err() == nil {
		timer.Reset(time.Until(s.tend(time.Now())))
		select {
		case <-timer.C:
		case <-s.keeper.wake:
		case <-s.life.ctx.Done():
		}
	}
	s.dismiss()
}

// tend does the work that is due now, and returns the time at which more work may be due.
func (s *Session) tend(now time.Time) (next time.Time) {
	if since, down := s.tap.down(); down && s.opts.Abandon >= 0 {
		limit := cmp.Or(s.opts.Abandon, 3*s.Timeout())
		if next = since.Add(limit); !now.Before(next) {
			s.finish(errUnreachable(now.Sub(since)))
			return now
		}
	}
	due := s.keeper.look(now)
	if due.drop {
		s.life.spawn(func() { due.line.fail(errSuspended) })
	}
	if due.ping {
		s.life.spawn(due.line.ping)
	}
	if due.sync {
		s.life.spawn(due.line.sync)
	}
	if due.beat {
		s.life.spawn(func() { s.heartbeat(due.check) })
	}
	for _, h := range due.watch {
		s.life.spawn(func() { s.watchHold(h) })
	}
	if next.IsZero() {
		return due.next
	}
	return times.Earlier(next, due.next)
}

// The method `heartbeat` sends a multi that checks the znodes of the given holds. If no hold is
// given, the multi checks the root. The multi changes nothing and fires no watch, but it is a
// quorum write: the answer proves that the session lives. If a check fails because its znode is
// gone, or because the znode's ACL does not let this session read it, the hold of that znode ends.
// A multi reports only its first failed check, so a heartbeat ends at most one hold.
func (s *Session) heartbeat(checked []*hold) {
	start := time.Now()
	paths := []string{"/"}
	if len(checked) > 0 {
		paths = paths[:0]
	}
	for _, h := range checked {
		paths = append(paths, h.node.Path)
	}
	i, part, err := s.checkNodes(paths)
	found := checked
	if part != nil || err != nil {
		found = checked[:min(i, len(checked))] // the multi ended at the check i
	}
	switch {
	case errors.Is(part, zk.ErrNoNode) && i < len(checked):
		checked[i].End(ErrRevoked)
	case errors.Is(part, zk.ErrNoAuth) && i < len(checked):
		checked[i].End(fmt.Errorf("%w: %s: %w", ErrUnreadable, checked[i].node.Path, part))
	case err == nil && s.opts.Metrics.Heartbeat != nil:
		took, left := time.Since(start), time.Until(s.keeper.deadline())
		s.reports.add(func() { s.opts.Metrics.Heartbeat(took, left) })
	}
	s.keeper.beaten(time.Now(), found, cmp.Or(part, err))
}

// checkNodes sends one multi that checks that each path exists. If a check fails, `i` is its index
// and `part` is its error. If the multi fails in another way, `part` is nil and `err` is the error.
func (s *Session) checkNodes(paths []string) (i int, part, err error) {
	ops := make([]any, len(paths))
	for i, path := range paths {
		ops[i] = &zk.CheckVersionRequest{Path: s.root.inner(path), Version: AnyVersion}
	}
	t := s.tap.tickets.issue(nil)
	defer s.tap.tickets.void(t)
	t.markMulti(ops)
	responses, err := s.zk.Multi(ops...)
	i, part = failedPart(responses)
	return i, part, err
}

// watchHold ends h as soon as another client deletes the znode of h.
func (s *Session) watchHold(h *hold) {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	for {
		var stat *Stat
		var w *Watch
		err := s.Retry(ctx, func(ctx context.Context) (err error) {
			stat, w, err = s.ExistsWatch(ctx, h.node.Path)
			return err
		})
		if err != nil {
			return
		}
		if !h.node.Is(stat) {
			w.Stop()
			h.End(ErrRevoked)
			return
		}
		if _, err := w.Wait(ctx); err != nil {
			return
		}
	}
}

func errUnreachable(since time.Duration) error {
	return fmt.Errorf("%w: no server reached for %v", ErrLost, since.Round(time.Millisecond))
}
