package group_test

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The group is a service registry. Servers join with their addresses, and a
// client sees them join and leave.
func Example() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	ctx := context.Background()

	servers, err := session.Open(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer servers.Close()
	client, err := session.Open(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	registry := group.New(servers, "/services/api")
	api1, _ := registry.Join(ctx, "api-1", []byte("10.0.0.1:80"))
	for change, err := range group.New(client, "/services/api").Changes(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, m := range change.Joined {
			fmt.Printf("%s at %s came\n", m.ID, m.Data)
		}
		for _, m := range change.Left {
			fmt.Printf("%s went\n", m.ID)
		}
		switch {
		case len(change.Members) == 2:
			api1.Leave(ctx)
		case len(change.Left) > 0:
			return
		default:
			registry.Join(ctx, "api-2", []byte("10.0.0.2:80"))
		}
	}
	// Output:
	// api-1 at 10.0.0.1:80 came
	// api-2 at 10.0.0.2:80 came
	// api-1 went
}

func ExampleView() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	ctx, cancel := context.WithCancel(context.Background())

	joined := make(chan struct{})
	stayed := make(chan error)
	for _, id := range []string{"a", "b"} {
		go func() {
			stayed <- group.Run(ctx, opts, "/services/api", id, nil, func(ctx context.Context, _ *group.Membership) error {
				joined <- struct{}{}
				<-ctx.Done()
				return nil
			})
		}()
		<-joined
	}
	view := group.NewView("/services/api")
	followed := make(chan error)
	go func() { followed <- session.Run(ctx, opts, view.Keep) }()
	<-view.Ready()
	next := group.RoundRobin()
	for range 3 {
		m, _ := view.Pick(next)
		fmt.Println(m.ID)
	}
	cancel()
	<-stayed
	<-stayed
	<-followed
	// Output:
	// a
	// b
	// a
}

func ExampleGroup_Members() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	registry := group.New(s, "/services/api")
	registry.Join(ctx, "api-2", []byte("10.0.0.2:80"))
	registry.Join(ctx, "api-1", []byte("10.0.0.1:80"))
	members, err := registry.Members(ctx)
	for _, m := range members {
		fmt.Printf("%s %s\n", m.ID, m.Data)
	}
	fmt.Println(err)
	// Output:
	// api-1 10.0.0.1:80
	// api-2 10.0.0.2:80
	// <nil>
}

func ExampleMembership() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	registry := group.New(s, "/services/api")
	api, err := registry.Join(ctx, "api-1", []byte("starting"))
	if err != nil {
		fmt.Println(err)
		return
	}
	api.Update(ctx, []byte("ready"))
	members, _ := registry.Members(ctx)
	fmt.Printf("%s is %s\n", members[0].ID, members[0].Data)
	fmt.Println("leave:", api.Leave(ctx))
	<-api.Done()
	fmt.Println("ended:", api.Err())
	// Output:
	// api-1 is ready
	// leave: <nil>
	// ended: group: left already
}

func ExampleGroup_Changes() {
	e, _ := zktest.New(zktest.Options{})
	defer e.Close()
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	workers := group.New(s, "/workers")
	worker, _ := workers.Join(ctx, "w1", []byte("idle"))
	for change, err := range workers.Changes(ctx) {
		switch {
		case err != nil:
			fmt.Println(err)
		case len(change.Joined) > 0:
			fmt.Println("came:", change.Joined[0].ID)
			worker.Update(ctx, []byte("busy"))
		case len(change.Updated) > 0:
			fmt.Printf("is now %s\n", change.Updated[0].Data)
			worker.Leave(ctx)
		case len(change.Left) > 0:
			fmt.Println("went:", change.Left[0].ID)
			return
		}
	}
	// Output:
	// came: w1
	// is now busy
	// went: w1
}

func ExamplePicker() {
	members := []group.Member{{ID: "a"}, {ID: "b"}}
	pick := group.Sticky(group.RoundRobin())
	fmt.Println(pick(members).ID, pick(members).ID)
	fmt.Println("a went:", pick(members[1:]).ID)
	fmt.Println("a came again:", pick(members).ID)
	// Output:
	// a a
	// a went: b
	// a came again: b
}
