// Command program works under everything that can be held. It is in a module of its own. When all
// of the work has begun, the program cancels its own context, as at a shutdown. It fails unless all
// of the work stops.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// The type `work` is what the program does while it holds something. The work lasts until its
// context ends.
type work func(ctx context.Context) error

var errDown = errors.New("going down")

// The constant `bound` is the longest time that all of the work may take to stop.
const bound = 10 * time.Second

func main() {
	log.SetFlags(0)
	starting, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	s, err := session.Open(starting, session.Options{Servers: strings.Split(os.Args[1], ",")})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	jobs := queue.New(s, "/jobs", queue.Options[string]{})
	if err := jobs.Put(starting, "a", "b"); err != nil {
		log.Fatal(err)
	}

	ctx, shutDown := context.WithCancelCause(context.Background())
	all := holders(s, jobs)
	var begun sync.WaitGroup
	begun.Add(len(all))
	type end struct {
		name string
		err  error
	}
	ends := make(chan end)
	for name, hold := range all {
		go func() {
			ends <- end{name, hold(ctx, func(ctx context.Context) error {
				begun.Done()
				<-ctx.Done()
				return context.Cause(ctx)
			})}
		}()
	}
	begun.Wait()
	shutDown(errDown)
	late := time.After(bound)
	for range all {
		select {
		case e := <-ends:
			fmt.Printf("%s: %v\n", e.name, e.err)
			if !errors.Is(e.err, errDown) {
				os.Exit(1)
			}
		case <-late:
			log.Fatal("something goes on")
		}
	}
}

func holders(s *session.Session, jobs *queue.Queue[string]) map[string]func(context.Context, work) error {
	grants := func(do func(context.Context, func(context.Context, *lock.Grant) error) error) func(context.Context, work) error {
		return func(ctx context.Context, w work) error {
			return do(ctx, func(ctx context.Context, _ *lock.Grant) error { return w(ctx) })
		}
	}
	return map[string]func(context.Context, work) error{
		"Mutex.Do":     grants(lock.NewMutex(s, "/mutex", lock.Options{}).Do),
		"RWMutex.RDo":  grants(lock.NewRWMutex(s, "/read", lock.Options{}).RDo),
		"Exclusive.Do": grants(lock.NewExclusive(s, "/exclusive", lock.Options{}).Do),
		"RWMutex.Do": func(ctx context.Context, w work) error {
			return lock.NewRWMutex(s, "/write", lock.Options{}).Do(ctx, func(ctx context.Context, _ *lock.WriteGrant) error { return w(ctx) })
		},
		"Semaphore.Do": func(ctx context.Context, w work) error {
			return lock.NewSemaphore(s, "/semaphore", 3, lock.Options{}).Do(ctx, 2, func(ctx context.Context, _ *lock.Grant) error { return w(ctx) })
		},
		"Multi.Do": func(ctx context.Context, w work) error {
			both := lock.NewMulti(s, []string{"/b", "/a"}, lock.Options{})
			return both.Do(ctx, func(ctx context.Context, _ *lock.MultiGrant) error { return w(ctx) })
		},
		"Queue.Do": func(ctx context.Context, w work) error {
			return jobs.Do(ctx, func(ctx context.Context, _ *queue.Claim[string]) error { return w(ctx) })
		},
		"Election.Run": func(ctx context.Context, w work) error {
			return election.New(s, "/run", election.Options{}).Run(ctx, func(ctx context.Context, _ *election.Term) error { return w(ctx) })
		},
		"Grant.Bind": func(ctx context.Context, w work) error {
			grant, err := lock.NewMutex(s, "/hand", lock.Options{}).Lock(ctx)
			if err != nil {
				return err
			}
			defer grant.Unlock(ctx)
			return w(grant.Bind(ctx))
		},
		"Term.Bind": func(ctx context.Context, w work) error {
			term, err := election.New(s, "/term", election.Options{}).Campaign(ctx)
			if err != nil {
				return err
			}
			defer term.Resign(ctx)
			return w(term.Bind(ctx))
		},
		"Claim.Bind": func(ctx context.Context, w work) error {
			claim, err := jobs.Claim(ctx)
			if err != nil {
				return err
			}
			defer claim.Release(ctx)
			return w(claim.Bind(ctx))
		},
	}
}
