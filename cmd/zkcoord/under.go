package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/guard"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

func (a *app) electCommand() *cobra.Command {
	var f runnerFlags
	var o election.Options
	c := &cobra.Command{
		Use:   "elect PATH -- CMD [ARG...]",
		Short: "Run a command while leading, and run it again after each election",
		Example: `  zkcoord elect /scheduler -- scheduler --leader
  zkcoord elect --label $(hostname) /scheduler -- sh -c 'exec scheduler --epoch $ZKCOORD_TOKEN'`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.overSessions(c.Context(), &f, args, func(ctx context.Context, s *session.Session, r runner) (bool, error) {
				return a.elect(ctx, s, r, o)
			})
		},
	}
	f.define(c)
	c.Long += `

When CMD exits, the candidate resigns and campaigns again, behind the other candidates. After the loss of a term it also
campaigns again, if necessary in a new session. An interrupt ends zkcoord elect, with the exit code of CMD. Zkcoord elect also
ends if CMD cannot be started.`
	c.Flags().StringVar(&o.Label, "label", "", "text stored in the znode for observers")
	return c
}

// overSessions calls the function `do` in one session after another, until the result `again` of
// `do` is false. If the first session cannot be opened, overSessions returns the error.
func (a *app) overSessions(ctx context.Context, f *runnerFlags, args []string, do func(context.Context, *session.Session, runner) (again bool, err error)) error {
	return a.overSessionsUntil(ctx, func() bool { return false }, f, args, do)
}

// overSessionsUntil is like overSessions, but opens no more sessions once the function `over`
// returns true.
func (a *app) overSessionsUntil(ctx context.Context, over func() bool, f *runnerFlags, args []string, do func(context.Context, *session.Session, runner) (again bool, err error)) error {
	for opened := false; ; {
		again := opened // the result if no session can be opened; otherwise `do` replaces it
		err := f.with(ctx, args, func(ctx context.Context, s *session.Session, r runner) (err error) {
			opened = true
			again, err = do(ctx, s, r)
			return err
		})
		if !again || ctx.Err() != nil || over() {
			return err
		}
		if err != nil {
			a.note("%s; trying again", paragraph(err))
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// goesOn reports whether to run a repeated command again after this result.
func goesOn(ctx context.Context, r guard.Result, err error) bool {
	end := (*endError)(nil)
	lost := errors.As(err, &end) && end.code == exitLost
	return ctx.Err() == nil && !r.Interrupted && (err == nil || lost)
}

// The method `elect` repeats two steps: it campaigns, and it runs the command during the term. The
// result `again` reports whether to continue in another session.
func (a *app) elect(ctx context.Context, s *session.Session, r runner, o election.Options) (again bool, _ error) {
	e := election.New(s, r.path, o)
	for {
		term, err := e.Campaign(ctx)
		if err != nil {
			return s.Err() != nil, err
		}
		result, err := a.runUnder(ctx, r, under{Held: term, what: "the term", token: int64(term.Epoch()), node: term.Path()})
		a.giveUp(ctx, r.flags, result.Lost, term.Resign)
		switch {
		case !goesOn(ctx, result, err) && err != nil:
			return false, err
		case !goesOn(ctx, result, err):
			return false, ended(result)
		case s.Err() != nil:
			return true, err
		case err != nil:
			a.note("%v; campaigning again", err)
		case result.Code != 0:
			a.note("%s ended with exit code %d; campaigning again", r.command[0], result.Code)
		}
		select { // limits the rate of a command that fails immediately
		case <-time.After(r.margin):
		case <-ctx.Done():
			return false, ended(result)
		}
	}
}

// giveUp releases a grant. If the release fails, giveUp only shows a note, because the end of the
// session releases the grant in any case. If the grant was lost, giveUp does not wait for the
// release.
func (a *app) giveUp(ctx context.Context, f *runnerFlags, lost bool, release func(context.Context) error) {
	wait := f.connect.timeout
	if lost {
		wait = 0
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	if err := release(bounded); err != nil && !lost {
		a.note("%v", err)
	}
}

func (a *app) joinCommand() *cobra.Command {
	var f runnerFlags
	var id, data string
	c := &cobra.Command{
		Use:     "join GROUP --id ID -- CMD [ARG...]",
		Short:   "Join a group as a member while a command runs",
		Example: "  zkcoord join /services/web --id $(hostname) --data 10.0.0.7:8080 -- httpd -X",
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), args, func(ctx context.Context, s *session.Session, r runner) error {
				return a.join(ctx, s, r, id, []byte(data))
			})
		},
	}
	f.define(c)
	c.Long += `

CMD runs under the membership: if the session is lost, CMD is stopped, because other programs no longer find the service.
ZKCOORD_NODE is empty and ZKCOORD_TOKEN is 0, because a member excludes no other member.`
	c.Flags().StringVar(&id, "id", "", "id of the member in the group; of two members with the same id, the latest counts")
	c.Flags().StringVar(&data, "data", "", "data of the member for other programs, for example its address")
	_ = c.MarkFlagRequired("id") // the flag exists
	return c
}

// A membership is a client's place in a group while a command runs. It has no lease, because a
// member excludes no other member.
//
// A command under a lease is stopped shortly before the time that the method Deadline returns. For
// a membership, each call of Deadline returns the current time plus one session timeout, so this
// time is never near. The command can run until the session learns that the membership has ended.
type membership struct {
	ctx     context.Context
	timeout time.Duration
}

func (m membership) Context() context.Context { return m.ctx }
func (m membership) Deadline() time.Time      { return time.Now().Add(m.timeout) }

func (a *app) join(ctx context.Context, s *session.Session, r runner, id string, data []byte) error {
	m, err := group.New(s, r.path).Join(ctx, id, data)
	if err != nil {
		return err
	}
	member, end := context.WithCancelCause(context.Background())
	defer end(nil)
	stop := context.AfterFunc(watching(m.Done()), func() { end(m.Err()) })
	defer stop()
	result, err := a.runUnder(ctx, r, under{Held: membership{member, s.Timeout()}, what: "the membership in"})
	a.giveUp(ctx, r.flags, result.Lost, m.Leave)
	if err != nil {
		return err
	}
	return ended(result)
}

// The function `watching` returns a context that ends when the channel `done` is closed.
func watching(done <-chan struct{}) context.Context { return doneContext{context.Background(), done} }

type doneContext struct {
	context.Context
	done <-chan struct{}
}

func (c doneContext) Done() <-chan struct{} { return c.done }

func (c doneContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// exitReject is the exit code by which a command reports that an item can never be processed:
// EX_DATAERR of sysexits.h.
const exitReject = 65

func (a *app) queueWorkCommand() *cobra.Command {
	var f runnerFlags
	var attempts int
	var once bool
	c := &cobra.Command{
		Use:   "work PATH -- CMD [ARG...]",
		Short: "Run a command for each item, with the item on its standard input",
		Example: `  zkcoord queue work /jobs -- resize.sh
  zkcoord queue work --max-attempts 3 --once /jobs -- sh -c 'read id; exec convert "$id"'`,
		RunE: func(c *cobra.Command, args []string) error {
			if attempts < 0 {
				return fmt.Errorf("--max-attempts %d is negative", attempts)
			}
			return a.overSessions(c.Context(), &f, args, func(ctx context.Context, s *session.Session, r runner) (bool, error) {
				q := queue.New(s, r.path, queue.Options[[]byte]{Codec: queue.Bytes(), MaxAttempts: attempts})
				return a.queueWork(ctx, s, q, r, once)
			})
		},
	}
	f.define(c)
	c.Long += `

If CMD exits with code 0, the item is acknowledged and deleted. Code 65 rejects it, which moves it to the dead letters. Any
other code releases it, and it is offered again. If the claim is lost, CMD is stopped before another consumer gets the
item. ZKCOORD_ITEM is the name of the item, and ZKCOORD_ATTEMPT is the number of its claims, starting at 1. Zkcoord queue
work ends when it is interrupted or if CMD cannot be started, and then releases the item. It replaces a lost session by a
new one.`
	c.Flags().IntVar(&attempts, "max-attempts", 0, "maximum number of claims of an item before it becomes a dead letter (0: no limit)")
	c.Flags().BoolVar(&once, "once", false, "end after one item, with the exit code of CMD")
	return c
}

// queueWork works on one item after another. The result `again` reports whether to continue in
// another session.
func (a *app) queueWork(ctx context.Context, s *session.Session, q *queue.Queue[[]byte], r runner, once bool) (again bool, _ error) {
	for {
		claim, err := q.Claim(ctx)
		if err != nil {
			return s.Err() != nil, err
		}
		r.stdin = append([]byte{}, claim.Value()...)
		r.env = []string{"ZKCOORD_ITEM=" + claim.ID(), fmt.Sprintf("ZKCOORD_ATTEMPT=%d", claim.Attempt())}
		result, err := a.runUnder(ctx, r, under{Held: claim, what: "the claim on an item of", token: int64(claim.Token())})
		code := verdictOf(result, err)
		a.giveUp(ctx, r.flags, result.Lost, func(ctx context.Context) error {
			switch code {
			case exitValid:
				return claim.Ack(ctx)
			case exitReject:
				return claim.Reject(ctx)
			}
			return claim.Release(ctx)
		})
		on := goesOn(ctx, result, err) && !once
		switch {
		case !on && err != nil:
			return false, err
		case !on:
			return false, ended(result)
		case s.Err() != nil:
			return true, err
		case err != nil:
			a.note("%v", err)
		case code != exitValid:
			a.note("%s ended with exit code %d for item %s", r.command[0], code, claim.ID())
		}
		if code == exitValid || code == exitReject {
			continue
		}
		select { // limits the rate, because the released item may be offered again immediately
		case <-time.After(r.margin):
		case <-ctx.Done():
		}
	}
}

// verdictOf returns the exit code that decides the fate of an item: the command's code, or a code
// that releases the item if the command was not started or was stopped.
func verdictOf(r guard.Result, err error) int {
	if err != nil || r.Lost {
		return exitFailed
	}
	return r.Code
}
