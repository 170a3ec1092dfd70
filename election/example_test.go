package election_test

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func ExampleElection() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	scheduler := election.New(s, "/scheduler", election.Options{Label: "10.0.0.7:80"})
	term, err := scheduler.Campaign(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Lead with the context term.Bind(ctx), and pass term.Epoch() to the resources that the leader
	// writes to.
	leader, _ := scheduler.Leader(ctx)
	fmt.Printf("%s leads: %v\n", leader.Value, leader.Epoch == term.Epoch())

	fmt.Println("resign:", term.Resign(ctx))
	fmt.Println("ended:", context.Cause(term.Context()))
	// Output:
	// 10.0.0.7:80 leads: true
	// resign: <nil>
	// ended: election: resigned
}

func ExampleElection_Observe() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	scheduler := election.New(s, "/scheduler", election.Options{Label: "starting"})
	term, _ := scheduler.Campaign(ctx)
	for leader, err := range scheduler.Observe(ctx) {
		switch {
		case err != nil:
			fmt.Println(err)
		case leader.Epoch == 0:
			fmt.Println("nobody leads")
			return
		case string(leader.Value) == "starting":
			fmt.Printf("%s\n", leader.Value)
			term.Proclaim(ctx, []byte("ready"))
		default:
			fmt.Printf("%s\n", leader.Value)
			term.Resign(ctx)
		}
	}
	// Output:
	// starting
	// ready
	// nobody leads
}

func ExampleRun() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}

	terms := 0
	err := election.Run(context.Background(), opts, "/scheduler", election.Options{},
		func(ctx context.Context, term *election.Term) error {
			if terms++; terms < 3 {
				return election.ErrAgain // gives other candidates a turn
			}
			return nil
		})
	fmt.Println(terms, "terms,", err)
	// Output:
	// 3 terms, <nil>
}

// A resource that compares epochs refuses an earlier leader.
func ExampleEpoch() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	scheduler := election.New(s, "/scheduler", election.Options{})
	first, _ := scheduler.Campaign(ctx)
	first.Resign(ctx)
	second, _ := scheduler.Campaign(ctx)
	fmt.Println("grows:", second.Epoch() > first.Epoch())
	second.Resign(ctx)
	// Output:
	// grows: true
}

// A transaction of a leader is applied only while its term lasts.
func ExampleTerm_Txn() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	term, _ := election.New(s, "/scheduler", election.Options{Label: "10.0.0.7:80"}).Campaign(ctx)
	plan := session.CreateOp{Path: "/plan", Data: []byte("a, b, c"), Mode: session.Persistent}
	_, err = term.Txn(ctx, plan)
	fmt.Println("while leading:", err)
	term.Resign(ctx)
	_, err = term.Txn(ctx, session.SetOp{Path: "/plan", Version: session.AnyVersion})
	fmt.Println("afterwards:", session.OutcomeOf(err))
	// Output:
	// while leading: <nil>
	// afterwards: fail
}
