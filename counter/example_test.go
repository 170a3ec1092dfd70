package counter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"sync"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// start opens a session on an ensemble in this process.
func start() (s *session.Session, done func()) {
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

func ExampleCounter() {
	s, done := start()
	defer done()
	ctx := context.Background()

	orders := counter.New(s, "/counters/orders", counter.Options{})
	defer orders.Close(ctx)
	for range 3 {
		n, err := orders.Add(ctx, 1)
		if err != nil {
			log.Fatal(err) // session.OutcomeOf(err) says whether the order was counted
		}
		fmt.Println("order number", n)
	}
	// Output:
	// order number 1
	// order number 2
	// order number 3
}

// Goroutines share one handle: their adds are combined into few writes.
func ExampleCounter_Add() {
	s, done := start()
	defer done()
	ctx := context.Background()

	visits := counter.New(s, "/counters/visits", counter.Options{})
	defer visits.Close(ctx)
	var visitors sync.WaitGroup
	for range 100 {
		visitors.Go(func() {
			if _, err := visits.Add(ctx, 1); err != nil {
				log.Fatal(err)
			}
		})
	}
	visitors.Wait()
	fmt.Println(visits.Get(ctx))
	// Output: 100 <nil>
}

// The example doubles the value. The write succeeds unless another client has changed the value
// since the read.
func ExampleCounter_CompareAndSet() {
	s, done := start()
	defer done()
	ctx := context.Background()

	shards := counter.New(s, "/counters/shards", counter.Options{})
	defer shards.Close(ctx)
	if err := shards.Set(ctx, 8); err != nil {
		log.Fatal(err)
	}
	for {
		n, err := shards.Get(ctx)
		if err != nil {
			log.Fatal(err)
		}
		swapped, err := shards.CompareAndSet(ctx, n, 2*n)
		if err != nil {
			log.Fatal(err)
		}
		if swapped {
			break
		}
	}
	fmt.Println(shards.Get(ctx))
	// Output: 16 <nil>
}

// An add whose sum does not fit changes nothing.
func ExampleCounter_overflow() {
	s, done := start()
	defer done()
	ctx := context.Background()

	full := counter.New(s, "/counters/full", counter.Options{})
	defer full.Close(ctx)
	if err := full.Set(ctx, math.MaxInt64); err != nil {
		log.Fatal(err)
	}
	_, err := full.Add(ctx, 1)
	fmt.Println(errors.Is(err, counter.ErrOverflow), session.OutcomeOf(err))
	// Output: true fail
}

// The counter has the format of Curator's DistributedAtomicLong, so clients that use that class can
// share the counter.
func ExampleOptions() {
	s, done := start()
	defer done()
	ctx := context.Background()

	shared := counter.New(s, "/counters/shared", counter.Options{Format: counter.BigEndian})
	defer shared.Close(ctx)
	if _, err := shared.Add(ctx, 258); err != nil {
		log.Fatal(err)
	}
	node, err := s.Get(ctx, "/counters/shared")
	fmt.Println(node.Data, err)
	// Output: [0 0 0 0 0 0 1 2] <nil>
}

func ExampleFormat() {
	s, done := start()
	defer done()
	ctx := context.Background()

	plain := counter.New(s, "/counters/plain", counter.Options{Format: counter.Decimal})
	defer plain.Close(ctx)
	if _, err := plain.Add(ctx, 258); err != nil {
		log.Fatal(err)
	}
	node, err := s.Get(ctx, "/counters/plain")
	fmt.Printf("%s %v\n", node.Data, err)
	// Output: 258 <nil>
}
