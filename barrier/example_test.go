package barrier_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `start` starts an ensemble in this process and opens a session.
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

func ExampleBarrier() {
	s, done := start()
	defer done()
	ctx := context.Background()

	b := barrier.New(s, "/maintenance")
	if err := b.Set(ctx); err != nil {
		log.Fatal(err)
	}
	passed := make(chan error)
	go func() { passed <- b.Wait(ctx) }()
	fmt.Println("working behind the barrier")
	if err := b.Remove(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("passed:", <-passed)
	// Output:
	// working behind the barrier
	// passed: <nil>
}

func ExampleDouble() {
	s, done := start()
	defer done()
	ctx := context.Background()

	var members sync.WaitGroup
	for range 3 {
		members.Go(func() {
			round, err := barrier.NewDouble(s, "/step", 3).Enter(ctx)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("in round", round.Number())
			if err := round.Leave(ctx); err != nil {
				log.Fatal(err)
			}
		})
	}
	members.Wait()
	// Output:
	// in round 0
	// in round 0
	// in round 0
}

// Enter returns a Round. The members of this round also leave together.
func ExampleRound() {
	s, done := start()
	defer done()
	ctx := context.Background()

	alone := barrier.NewDouble(s, "/alone", 1)
	for range 2 {
		round, err := alone.Enter(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(round.Number(), round.Leave(ctx))
	}
	// Output:
	// 0 <nil>
	// 1 <nil>
}
