package group_test

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A service registry: servers join with their addresses, a client sees them
// come and go.
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
			stayed <- group.Stay(ctx, opts, "/services/api", id, nil, func(ctx context.Context, _ *group.Membership) error {
				joined <- struct{}{}
				<-ctx.Done()
				return nil
			})
		}()
		<-joined
	}
	view := group.NewView("/services/api")
	followed := make(chan error)
	go func() { followed <- session.Run(ctx, opts, view.Follow) }()
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
