package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `open` opens a session with an ensemble in this process.
func open() (s *session.Session, done func()) {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	s, err = session.Open(context.Background(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		log.Fatal(err)
	}
	return s, func() {
		s.Close()
		e.Close()
	}
}

type Job struct {
	ID   int
	Task string
}

func ExampleQueue() {
	s, done := open()
	defer done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	q := queue.New(s, "/jobs", queue.Options[Job]{})
	if err := q.Put(ctx, Job{1, "resize"}, Job{2, "publish"}); err != nil {
		log.Fatal(err)
	}
	for job, err := range q.Items(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.ID, job.Task)
		if job.ID == 2 {
			break
		}
	}
	// Output:
	// 1 resize
	// 2 publish
}

// An item stays in the queue until it is acked. The Ack also writes the result of the work, in the
// same transaction.
func ExampleClaim() {
	s, done := open()
	defer done()
	ctx := context.Background()

	q := queue.New(s, "/jobs", queue.Options[Job]{MaxAttempts: 3})
	if err := q.Put(ctx, Job{1, "resize"}); err != nil {
		log.Fatal(err)
	}
	claim, err := q.Claim(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer claim.Release(ctx) // gives the item back unless it was acked
	// Use claim.Bind(ctx) as the context of the work. This context ends before any other consumer
	// gets the item.
	result := fmt.Sprintf("%s done, attempt %d", claim.Value().Task, claim.Attempt())
	if err := claim.Ack(ctx, session.CreateOp{Path: "/result-1", Data: []byte(result)}); err != nil {
		log.Fatal(err)
	}
	value, err := s.Get(ctx, "/result-1")
	fmt.Println(string(value.Data), err)
	// Output: resize done, attempt 1 <nil>
}

// A resource refuses the write of a late worker: another consumer has claimed the item meanwhile,
// so the worker's token is not the largest one any more.
func ExampleToken() {
	s, done := open()
	defer done()
	ctx := context.Background()

	var largest queue.Token // kept by the resource
	write := func(token queue.Token) bool {
		largest = max(largest, token)
		return token == largest
	}
	q := queue.New(s, "/jobs", queue.Options[Job]{})
	if err := q.Put(ctx, Job{1, "resize"}); err != nil {
		log.Fatal(err)
	}
	first, err := q.Claim(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := first.Release(ctx); err != nil {
		log.Fatal(err)
	}
	second, err := q.Claim(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer second.Release(ctx)
	fmt.Println("second:", write(second.Token()))
	fmt.Println("first, late:", write(first.Token()))
	// Output:
	// second: true
	// first, late: false
}

// One item fails once and is tried again. Another item cannot be done at all.
func ExampleQueue_Do() {
	s, done := open()
	defer done()
	ctx := context.Background()

	q := queue.New(s, "/jobs", queue.Options[Job]{})
	if err := q.Put(ctx, Job{1, "resize"}, Job{2, "impossible"}); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		err := q.Do(ctx, func(ctx context.Context, claim *queue.Claim[Job]) error {
			switch job := claim.Value(); {
			case job.Task == "impossible":
				return fmt.Errorf("job %d: %w", job.ID, queue.ErrReject)
			case claim.Attempt() == 1:
				return fmt.Errorf("job %d: no network", job.ID)
			}
			return nil
		})
		fmt.Println(err)
	}
	dead, err := q.DeadLetters().Take(ctx)
	fmt.Println("dead:", dead.Task, err)
	// Output:
	// job 1: no network
	// job 2: queue: item rejected
	// <nil>
	// dead: impossible <nil>
}

func ExampleCodec() {
	s, done := open()
	defer done()
	ctx := context.Background()

	q := queue.New(s, "/raw", queue.Options[[]byte]{Codec: queue.Bytes()})
	if err := q.Put(ctx, []byte("as it is")); err != nil {
		log.Fatal(err)
	}
	item, err := q.Take(ctx)
	fmt.Printf("%s %v\n", item, err)
	// Output: as it is <nil>
}

func ExampleDecodeError() {
	s, done := open()
	defer done()
	ctx := context.Background()

	raw := queue.New(s, "/jobs", queue.Options[[]byte]{Codec: queue.Bytes()})
	if err := raw.Put(ctx, []byte("no JSON")); err != nil {
		log.Fatal(err)
	}
	jobs := queue.New(s, "/jobs", queue.Options[Job]{})
	_, err := jobs.Take(ctx)
	var bad *queue.DecodeError
	if errors.As(err, &bad) {
		fmt.Printf("not an item: %s\n", bad.Data)
	}
	letter, err := raw.DeadLetters().Take(ctx)
	fmt.Printf("dead letter: %s %v\n", letter, err)
	// Output:
	// not an item: no JSON
	// dead letter: no JSON <nil>
}

// An item that cannot be done is tried three times, and then moved to the dead letters.
func ExampleOptions() {
	s, done := open()
	defer done()
	ctx := context.Background()

	q := queue.New(s, "/jobs", queue.Options[Job]{Priorities: 2, MaxAttempts: 3})
	if err := q.PutPriority(ctx, 1, Job{1, "resize"}); err != nil {
		log.Fatal(err)
	}
	if err := q.Put(ctx, Job{2, "impossible"}); err != nil {
		log.Fatal(err)
	}
	for claim, err := range q.Claims(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		job := claim.Value()
		fmt.Println(job.Task, claim.Attempt())
		if job.Task == "resize" {
			claim.Ack(ctx)
			break
		}
		claim.Release(ctx)
	}
	dead, err := q.DeadLetters().Take(ctx)
	fmt.Println("dead:", dead.Task, err)
	// Output:
	// impossible 1
	// impossible 2
	// impossible 3
	// resize 1
	// dead: impossible <nil>
}
