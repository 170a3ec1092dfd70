package main

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three schedulers run the job at most once in each period, although the leader's session is lost
// every few minutes.
func TestEachPeriodRunsOnce(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		runs := make(map[int64]string)
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			s := scheduler{name: name, path: "/backup", every: time.Minute, job: func(_ context.Context, period int64) {
				mu.Lock()
				defer mu.Unlock()
				if by, again := runs[period]; again {
					t.Errorf("period %d was run by %s and by %s", period, by, name)
				}
				runs[period] = name
			}}
			all.Go(func() {
				opts := session.Options{Servers: w.Servers(), Dial: w.DialContext, Timeout: recipetest.Timeout}
				if err := session.Run(ctx, opts, s.run); ctx.Err() == nil {
					t.Errorf("scheduler %s ended early: %v", name, err)
				}
			})
		}
		const losses, minutes = 5, 4
		for range losses {
			time.Sleep(minutes * time.Minute)
			leader, err := election.New(w.Admin().Session, "/backup", election.Options{}).Leader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Expire(leader.Session); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		cancel()
		all.Wait()

		leaders := make(map[string]bool)
		for _, by := range runs {
			leaders[by] = true
		}
		if want := (losses + 1) * minutes; len(runs) < want || len(leaders) < 2 {
			t.Errorf("got %d periods, run by %v; want at least %d by more than one scheduler", len(runs), leaders, want)
		}
	})
}

func TestRunEndsWithTheTerm(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		s := scheduler{name: "a", path: "/backup", every: time.Hour, job: func(ctx context.Context, _ int64) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
		}}
		done := make(chan error)
		c := w.Client()
		go func() { done <- s.run(ctx, c.Session) }()
		synctest.Wait()
		leader, err := election.New(w.Admin().Session, "/backup", election.Options{}).Leader(ctx)
		if err != nil || string(leader.Value) != "a" {
			t.Fatalf("got leader %q, error %v; want a", leader.Value, err)
		}
		if err := w.Admin().Delete(ctx, leader.Path, session.AnyVersion); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("cause of the job's context after the term ended: got nil, want an error")
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("run returned nil, want an error")
		}
	})
}
