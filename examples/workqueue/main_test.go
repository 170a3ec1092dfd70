package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/recipetest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m, goleak.Cleanup(os.Exit))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each job has one output, although workers lose their sessions in the middle of jobs and one job
// is put twice. A job that always fails becomes a dead letter.
func TestEveryJobHasOneOutput(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx, cancel := context.WithCancel(t.Context())
		const jobs = 30
		producer := open(w.Client().Session, "/thumbnails")
		for i := range jobs {
			ok(t, producer.put(ctx, []string{fmt.Sprintf("%d=in%d", i, i)}))
		}
		ok(t, producer.put(ctx, []string{"0=in0", "poison=poison"}))

		var mu sync.Mutex
		begun := make(map[string]int)
		var all sync.WaitGroup
		for worker := range 6 {
			c := w.Client()
			do := func(ctx context.Context, input string) ([]byte, error) {
				mu.Lock()
				begun[input]++
				mu.Unlock()
				if input == "poison" {
					return nil, errors.New("cannot be done")
				}
				time.Sleep(time.Second)
				if worker < 3 {
					c.Lose()
					<-ctx.Done()
				}
				return []byte("out of " + input), nil
			}
			all.Go(func() {
				if err := open(c.Session, "/thumbnails").work(ctx, do); err == nil {
					t.Errorf("worker %d: work returned nil, want an error", worker)
				}
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()

		twice := 0
		for i := range jobs {
			output, err := producer.output(ctx, fmt.Sprint(i))
			if want := fmt.Sprintf("out of in%d", i); err != nil || string(output) != want {
				t.Errorf("job %d: got output %q, error %v; want %q", i, output, err, want)
			}
			if begun[fmt.Sprintf("in%d", i)] > 1 {
				twice++
			}
		}
		if twice < 3 {
			t.Errorf("got %d jobs that were started twice, want at least 3: the workers did not die in the middle", twice)
		}
		n, err := producer.jobs.Len(ctx)
		if err != nil || n != 0 {
			t.Errorf("got %d jobs, error %v; want none left", n, err)
		}
		dead, err := producer.jobs.DeadLetters().TryTake(ctx)
		if err != nil || dead.ID != "poison" || begun["poison"] != attempts {
			t.Errorf("got dead letter %q after %d attempts, error %v; want poison after %d",
				dead.ID, begun["poison"], err, attempts)
		}
		cancel()
		all.Wait()
	})
}

// A worker stops when its program shuts down, and another worker gets its job.
func TestWorkerStopsWithItsProgram(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx, shutDown := context.WithCancel(t.Context())
		queue := open(w.Client().Session, "/thumbnails")
		ok(t, queue.put(ctx, []string{"7=cat.jpg"}))
		time.AfterFunc(time.Minute, shutDown)
		err := queue.work(ctx, func(ctx context.Context, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("work: got error %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		if job, err := queue.jobs.TryTake(t.Context()); err != nil || job.ID != "7" {
			t.Errorf("got job %q, error %v; want job 7", job.ID, err)
		}
	})
}

func TestJobsNeedAnID(t *testing.T) {
	for _, arg := range []string{"", "cat.jpg", "=cat.jpg", "a/b=cat.jpg"} {
		err := workqueue{}.put(t.Context(), []string{arg})
		if err == nil || !strings.Contains(err.Error(), "ID=INPUT") {
			t.Errorf("put of %q: got error %v, want one that names ID=INPUT", arg, err)
		}
	}
}
