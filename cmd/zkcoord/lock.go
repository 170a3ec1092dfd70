package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// lockFlags are the flags of zkcoord lock.
type lockFlags struct {
	runnerFlags
	try, shared bool
	wait        time.Duration
	permits, of int
	options     lock.Options
}

func (a *app) lockCommand() *cobra.Command {
	var f lockFlags
	c := &cobra.Command{
		Use:   "lock PATH -- CMD [ARG...]",
		Short: "Run a command under a lock, and stop it before another process can hold the lock",
		Example: `  zkcoord lock /locks/backup -- backup.sh
  zkcoord lock --try /locks/report -- report.sh          # does nothing if another machine holds the lock
  zkcoord lock --wait 1m --grace 5s /locks/db -- migrate
  zkcoord lock --shared /locks/db -- dump
  zkcoord lock --permits 1 --of 3 /locks/download -- fetch`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			return a.lockOverSessions(c.Context(), args, &f)
		},
	}
	f.define(c)
	c.Long += `

If the servers expire the session in which zkcoord lock waits, it waits in a new session, behind all contenders. With
--try, it ends with code 75 instead. It also ends with code 75 if it cannot open its first session within --timeout,
whatever --wait is. After a holder vanished, even --try waits until --delay is over.

With --of, PATH is a semaphore. Its first user sets the total number of permits. A later --of does not change that
number.`
	flags := c.Flags()
	flags.BoolVar(&f.try, "try", false, "fail with code 75 instead of waiting while others hold the lock")
	flags.DurationVar(&f.wait, "wait", 0, "maximum time to wait for the lock, counted from the first session (0: no limit)")
	flags.BoolVar(&f.shared, "shared", false, "share the lock with other holders that use --shared")
	flags.IntVar(&f.permits, "permits", 1, "number of permits to acquire (requires --of)")
	flags.IntVar(&f.of, "of", 0, "total number of permits of the semaphore at PATH (default: PATH is a lock)")
	flags.StringVar(&f.options.Label, "label", "", "text stored in the znode for other users")
	flags.DurationVar(&f.options.Delay, "delay", 0, "how long nobody gets the lock after a holder vanished, at most 24h (0: no delay); all users of PATH must set the same value")
	c.MarkFlagsMutuallyExclusive("try", "wait")
	c.MarkFlagsMutuallyExclusive("shared", "of")
	c.MarkFlagsMutuallyExclusive("delay", "of")
	return c
}

func (f *lockFlags) check(c *cobra.Command) error {
	switch {
	case f.wait < 0 || f.options.Delay < 0:
		return fmt.Errorf("--wait %v, --delay %v: they must not be negative", f.wait, f.options.Delay)
	case c.Flags().Changed("permits") && !c.Flags().Changed("of"):
		return errors.New("--permits needs --of, the total number of permits")
	case c.Flags().Changed("of") && (f.permits < 1 || f.permits > f.of):
		return fmt.Errorf("--permits %d --of %d: --permits must be between 1 and --of", f.permits, f.of)
	}
	return nil
}

// lockOverSessions waits for the lock in one session after another. The command runs in the session
// that acquired the lock.
func (a *app) lockOverSessions(ctx context.Context, args []string, f *lockFlags) error {
	var end time.Time // when the wait ends, if --wait limits it
	over := func() bool { return f.wait > 0 && !time.Now().Before(end) }
	return a.overSessionsUntil(ctx, over, &f.runnerFlags, args, func(ctx context.Context, s *session.Session, r runner) (again bool, err error) {
		waiting := ctx
		if f.wait > 0 {
			if end.IsZero() {
				end = time.Now().Add(f.wait)
			}
			bounded, cancel := context.WithDeadlineCause(ctx, end, fmt.Errorf("not granted within %v (--wait)", f.wait))
			defer cancel()
			waiting = bounded
		}
		grant, err := f.acquire(waiting, s, r.path)
		if errors.Is(err, lock.ErrLocked) {
			err = fmt.Errorf("the lock %s was not acquired: %w", r.path, err)
		}
		if err != nil {
			return s.Err() != nil && !f.try, err
		}
		return false, a.lock(ctx, r, grant)
	})
}

// The method `lock` runs the command while the grant is held, and then releases the grant.
func (a *app) lock(ctx context.Context, r runner, grant *lock.Grant) error {
	result, err := a.runUnder(ctx, r, under{Held: grant, what: "the lock", token: int64(grant.Token()), node: grant.Path()})
	a.giveUp(ctx, r.flags, result.Lost, grant.Unlock)
	if err != nil {
		return err
	}
	return ended(result)
}

// acquire acquires the lock or the permits that the flags select.
func (f *lockFlags) acquire(ctx context.Context, s *session.Session, path string) (*lock.Grant, error) {
	switch {
	case f.of > 0 && f.try:
		return lock.NewSemaphore(s, path, f.of, f.options).TryAcquire(ctx, f.permits)
	case f.of > 0:
		return lock.NewSemaphore(s, path, f.of, f.options).Acquire(ctx, f.permits)
	case f.shared && f.try:
		return lock.NewRWMutex(s, path, f.options).TryRLock(ctx)
	case f.shared:
		return lock.NewRWMutex(s, path, f.options).RLock(ctx)
	case f.try:
		return lock.NewMutex(s, path, f.options).TryLock(ctx)
	}
	return lock.NewMutex(s, path, f.options).Lock(ctx)
}
