package recipe_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `example` opens a session on a new ensemble.
func example() (context.Context, *session.Session, func()) {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		panic(err)
	}
	return ctx, s, func() { s.Close(); e.Close() }
}

// A lock has three parts: a znode of the client, the check that this znode is the first in order,
// and a hold, whose context ends before anybody else can be granted the lock.
func ExampleHold() {
	ctx, s, done := example()
	defer done()
	node, err := recipe.CreateProtected(ctx, s, "/lock", "lock", nil, session.EphemeralSequential)
	if err != nil {
		panic(err)
	}
	h := recipe.NewHold(s, node)
	// ... wait until node is the first of the directory ...
	if err := h.Grant(ctx); err != nil {
		panic(err)
	}
	fmt.Println("held, token is set:", h.Node().Czxid != 0)
	// Work with h.Context(). This context ends before anybody else can be granted the lock.
	h.End(errors.New("released"))
	recipe.Remove(ctx, s, node)
	fmt.Println(context.Cause(h.Context()))
	// Output:
	// held, token is set: true
	// released
}

// Two requests need one round trip, because the client sends the second request, for the list,
// without waiting for the reply to the create.
func ExampleCreation() {
	ctx, s, done := example()
	defer done()
	recipe.CreateParents(ctx, s, "/queue/x")
	creation := recipe.StartProtected(s, "/queue", "lock", nil, session.EphemeralSequential)
	creation.Sent(ctx)
	listing, _ := s.Children(ctx, "/queue")
	node, err := creation.Wait(ctx)
	fmt.Println(len(listing.Names), listing.Names[0] == node.Name(), err)
	// Output: 1 true <nil>
}

func ExampleNode() {
	n := recipe.Node{Path: "/locks/9f-lock-0000000007", Czxid: 0x100000002}
	fmt.Println(n.Name(), n.Czxid)
	// Output: 9f-lock-0000000007 4294967298
}

// One goroutine waits for many watches.
func ExampleWatches() {
	ctx, s, done := example()
	defer done()
	w := recipe.NewWatches(s)
	defer w.Stop()
	for _, path := range []string{"/a", "/b", "/c"} {
		if _, err := w.Exists(ctx, path); err != nil {
			panic(err)
		}
	}
	s.Create(ctx, "/b", nil, session.Persistent)
	fired, err := w.Wait(ctx)
	fmt.Println(len(fired), fired[0].Path, err)
	// Output: 1 /b <nil>
}

func ExampleFired() {
	f := recipe.Fired{Path: "/a", Children: true, Type: session.EventNodeChildrenChanged}
	fmt.Println(f.Type, f.Path, f.Children)
	// Output: EventNodeChildrenChanged /a true
}

func ExampleLedger() {
	ctx, s, done := example()
	defer done()
	ledger := recipe.NewLedger(s, "/ledgers", "put")
	defer ledger.Remove(ctx)
	for range 2 { // each transaction is applied once, whichever replies are lost
		_, err := ledger.Do(ctx, session.CreateOp{Path: "/item-", Mode: session.PersistentSequential})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
}
