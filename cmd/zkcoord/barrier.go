package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/guard"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

func (a *app) barrierCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "barrier",
		Short:   "Let processes wait for each other",
		Example: "  zkcoord barrier set /maintenance\n  zkcoord barrier wait /maintenance && start\n  zkcoord barrier enter --size 3 /round -- step.sh",
		Args:    known,
		RunE:    help,
	}
	one := func(use, short, example string, do func(context.Context, *barrier.Barrier) error) *cobra.Command {
		return a.inSession(use, short, example, cobra.ExactArgs(1), func(ctx context.Context, s *session.Session, args []string) error {
			return do(ctx, barrier.New(s, args[0]))
		})
	}
	c.AddCommand(
		one("set PATH", "Set a barrier, which blocks waiters", "  zkcoord barrier set /maintenance",
			func(ctx context.Context, b *barrier.Barrier) error { return b.Set(ctx) }),
		one("remove PATH", "Remove a barrier, which wakes all waiters", "  zkcoord barrier remove /maintenance",
			func(ctx context.Context, b *barrier.Barrier) error { return b.Remove(ctx) }),
		one("wait PATH", "Wait until a barrier is not set", "  zkcoord barrier wait /maintenance && start",
			func(ctx context.Context, b *barrier.Barrier) error { return b.Wait(ctx) }),
		a.barrierEnterCommand())
	return c
}

// barrierEnterCommand returns the command that enters a round, runs a command, and leaves the
// round.
func (a *app) barrierEnterCommand() *cobra.Command {
	var f runnerFlags
	var size int
	c := &cobra.Command{
		Use:     "enter PATH --size N -- CMD [ARG...]",
		Short:   "Run a command together with N-1 others, and end when all N commands have ended",
		Example: "  zkcoord barrier enter --size 3 /round -- step.sh",
		RunE: func(c *cobra.Command, args []string) error {
			if size < 1 {
				return fmt.Errorf("--size %d must be positive: the number of commands that run together", size)
			}
			return f.with(c.Context(), args, func(ctx context.Context, s *session.Session, r runner) error {
				return a.enter(ctx, s, r, size)
			})
		},
	}
	f.define(c)
	c.Long += `

The members enter and leave a round of a double barrier together. One process enters, runs CMD and leaves, because a
member exists only as long as its session. ZKCOORD_ROUND is the number of the round, ZKCOORD_TOKEN is 0, and
ZKCOORD_NODE is the member's znode. If the servers expire the session of a member, the others count it as having left. CMD
is stopped before that.`
	c.Flags().IntVar(&size, "size", 0, "number of members of a round (required)")
	_ = c.MarkFlagRequired("size") // the flag exists
	return c
}

func (a *app) enter(ctx context.Context, s *session.Session, r runner, size int) error {
	round, err := barrier.NewDouble(s, r.path, size).Enter(ctx)
	if err != nil {
		return err
	}
	place, err := holdPlace(ctx, s, round)
	if err != nil {
		return err // the end of the session deletes the znode
	}
	r.env = []string{fmt.Sprintf("ZKCOORD_ROUND=%d", round.Number())}
	result, err := a.runUnder(ctx, r, under{Held: place, what: "the place in a round of", node: round.Path()})
	place.End(errLeft)
	start := (*guard.StartError)(nil)
	if err != nil && !errors.As(err, &start) {
		return err
	}
	if left := round.Leave(ctx); left != nil {
		return errors.Join(err, &endError{exitLost, left})
	}
	if err != nil {
		return err
	}
	return ended(result)
}

var errLeft = errors.New("left the round")

// holdPlace returns a hold on the member's znode. If the servers expire the member's session, the
// other members count the member as having left. The lease of the hold lapses before the servers
// can expire the session.
func holdPlace(ctx context.Context, s *session.Session, round *barrier.Round) (*recipe.Hold, error) {
	stat, err := s.Exists(ctx, round.Path())
	if err != nil {
		return nil, err
	}
	if stat == nil {
		return nil, fmt.Errorf("the place %s in a round was lost: %w", round.Path(), session.ErrRevoked)
	}
	place := recipe.NewHold(s, recipe.Node{Path: round.Path(), Czxid: stat.Czxid})
	place.Describe("barrier", 0, "")
	if err := place.Grant(ctx); err != nil {
		place.End(errLeft)
		return nil, fmt.Errorf("the place %s in a round was not granted: %w", round.Path(), err)
	}
	return place, nil
}

func (a *app) queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "queue",
		Short:   "Put items into a queue, take them, and work on them",
		Example: "  zkcoord queue put /jobs 17\n  zkcoord queue work /jobs -- job.sh\n  zkcoord queue len /jobs",
		Args:    known,
		RunE:    help,
	}
	var dead bool
	q := func(s *session.Session, path string) *queue.Queue[[]byte] {
		q := queue.New(s, path, queue.Options[[]byte]{Codec: queue.Bytes()})
		if dead {
			q = q.DeadLetters()
		}
		return q
	}
	put := a.inSession("put PATH [VALUE|-]", "Put an item into a queue", "  zkcoord queue put /jobs 17\n  convert a.png - | zkcoord queue put /jobs -",
		cobra.RangeArgs(1, 2), func(ctx context.Context, s *session.Session, args []string) error {
			data, err := a.data(args)
			if err != nil {
				return err
			}
			return q(s, args[0]).Put(ctx, data)
		})
	var try bool
	take := a.inSession("take PATH", "Take an item from a queue and print it",
		"  zkcoord queue take /jobs\n  zkcoord queue take --try /jobs || echo nothing to do",
		cobra.ExactArgs(1), func(ctx context.Context, s *session.Session, args []string) error {
			take := q(s, args[0]).Take
			if try {
				take = q(s, args[0]).TryTake
			}
			item, err := take(ctx)
			if errors.Is(err, queue.ErrEmpty) {
				return &endError{exitNotHad, err}
			}
			if err != nil {
				return err
			}
			return a.printItem(args[0], item)
		})
	take.Long = `Take an item from the queue and print it. If the reader of the output dies, the item is lost. Use zkcoord queue
work for items that must not be lost. With --try, the exit code is 75 if the queue is empty.` + connectHelp
	take.Flags().BoolVar(&try, "try", false, "fail at once if the queue is empty")
	take.Flags().BoolVar(&dead, "dead", false, "take from the dead letters")
	count := a.inSession("len PATH", "Print the number of items in a queue", "  zkcoord queue len /jobs\n  zkcoord queue len --dead /jobs",
		cobra.ExactArgs(1), func(ctx context.Context, s *session.Session, args []string) error {
			n, err := q(s, args[0]).Len(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]int{"items": n})
			}
			_, err = fmt.Fprintln(a.out, n)
			return err
		})
	count.Flags().BoolVar(&dead, "dead", false, "count the dead letters")
	letters := a.inSession("dead PATH", "Print the number of dead letters of a queue and the first one", "  zkcoord queue dead /jobs\n  zkcoord queue take --dead --try /jobs",
		cobra.ExactArgs(1), func(ctx context.Context, s *session.Session, args []string) error {
			return a.deadLetters(ctx, q(s, args[0]).DeadLetters(), args[0])
		})
	c.AddCommand(put, take, count, letters, a.queueWorkCommand())
	return c
}

// printItem prints an item unchanged, or in JSON like the data of a znode.
func (a *app) printItem(path string, item []byte) error {
	if !a.json {
		return a.printData(item)
	}
	one := shown{Path: path}
	if text, ok := asText(item); ok {
		one.Data = text
	} else {
		one.Bytes = item
	}
	return a.printJSON(one)
}

func (a *app) deadLetters(ctx context.Context, dead *queue.Queue[[]byte], path string) error {
	n, err := dead.Len(ctx)
	if err != nil {
		return err
	}
	var first []byte
	if n > 0 {
		if first, err = dead.Peek(ctx); err != nil && !errors.Is(err, queue.ErrEmpty) {
			return err
		}
	}
	text, readable := asText(first)
	switch {
	case a.json:
		return a.printJSON(struct {
			Items int    `json:"items"`
			First []byte `json:"first,omitempty"`
		}{n, first})
	case n == 0:
		_, err = fmt.Fprintf(a.out, "%s: no dead letters\n", path)
	case readable:
		_, err = fmt.Fprintf(a.out, "%s: %s, the first is %s\n", path, count(n, "dead letter"), excerpt(strings.TrimSuffix(text, "\n")))
	default:
		_, err = fmt.Fprintf(a.out, "%s: %s, the first has %d bytes\n", path, count(n, "dead letter"), len(first))
	}
	return err
}
