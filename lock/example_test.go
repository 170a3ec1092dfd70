package lock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// connect opens a session on a new ensemble in this process.
func connect() (s *session.Session, done func()) {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	s, err = session.Open(context.Background(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		panic(err)
	}
	return s, func() {
		s.Close()
		e.Close()
	}
}

func ExampleMutex() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	accounts := lock.NewMutex(s, "/locks/accounts", lock.Options{Label: "nightly job"})
	grant, err := accounts.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Do the protected work with the context grant.Bind(ctx), and pass grant.Token() to the
	// resource.
	fmt.Println("held:", grant.Bind(ctx).Err() == nil)

	_, err = accounts.TryLock(ctx)
	fmt.Println("again:", err)

	fmt.Println("unlock:", grant.Unlock(ctx))
	fmt.Println("ended:", context.Cause(grant.Context()))
	// Output:
	// held: true
	// again: lock: held by somebody else
	// unlock: <nil>
	// ended: lock: released
}

func ExampleMutex_Do() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	var used context.Context
	err := lock.NewMutex(s, "/locks/accounts", lock.Options{}).Do(ctx, func(ctx context.Context, g *lock.Grant) error {
		used = ctx
		fmt.Println("held:", ctx.Err() == nil, g.Token() > 0)
		return nil
	})
	fmt.Println("error:", err)
	fmt.Println("ended:", context.Cause(used))
	// Output:
	// held: true true
	// error: <nil>
	// ended: lock: released
}

// This program calls Lock and Unlock itself, and works with the context of Bind. That context ends
// when the program's context ends, and when the lock is lost.
func ExampleGrant_Bind() {
	s, done := connect()
	defer done()
	ctx, shutDown := context.WithCancel(context.Background())
	defer shutDown()

	grant, err := lock.NewMutex(s, "/locks/accounts", lock.Options{}).Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer grant.Unlock(ctx) // releases even if ctx has ended
	ctx = grant.Bind(ctx)

	shutDown()
	fmt.Println(ctx.Err(), grant.Context().Err())
	// Output: context canceled <nil>
}

func ExampleGrant_Txn() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	grant, err := lock.NewMutex(s, "/locks/config", lock.Options{}).Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = grant.Txn(ctx, session.CreateOp{Path: "/config", Data: []byte("on"), Mode: session.Persistent})
	fmt.Println("while held:", err)
	grant.Unlock(ctx)
	_, err = grant.Txn(ctx, session.SetOp{Path: "/config", Data: []byte("off"), Version: session.AnyVersion})
	fmt.Println("afterwards:", session.OutcomeOf(err), errors.Is(err, lock.ErrReleased))
	// Output:
	// while held: <nil>
	// afterwards: fail true
}

func ExampleRWMutex() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	catalogue := lock.NewRWMutex(s, "/locks/catalogue", lock.Options{})
	writer, err := catalogue.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = catalogue.TryRLock(ctx)
	fmt.Println("reader while a writer holds:", err)

	fmt.Println("downgrade:", writer.Downgrade(ctx))
	reader, err := catalogue.TryRLock(ctx)
	fmt.Println("reader after the downgrade:", err)

	_, err = catalogue.Lock(reader.Context())
	fmt.Println("upgrade:", errors.Is(err, lock.ErrDeadlock))
	reader.Unlock(ctx)
	writer.Unlock(ctx)
	// Output:
	// reader while a writer holds: lock: held by somebody else
	// downgrade: <nil>
	// reader after the downgrade: <nil>
	// upgrade: true
}

func ExampleSemaphore() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	connections := lock.NewSemaphore(s, "/limits/connections", 3, lock.Options{})
	two, err := connections.Acquire(ctx, 2)
	fmt.Println("two of three:", err)
	_, err = connections.TryAcquire(ctx, 2)
	fmt.Println("two more:", err)
	connections.SetCapacity(ctx, 4)
	more, err := connections.TryAcquire(ctx, 2)
	fmt.Println("two of four:", err)
	more.Unlock(ctx)
	two.Unlock(ctx)
	// Output:
	// two of three: <nil>
	// two more: lock: held by somebody else
	// two of four: <nil>
}

func ExampleMulti() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	transfer := lock.NewMulti(s, []string{"/accounts/7", "/accounts/3"}, lock.Options{})
	grant, err := transfer.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = lock.NewMutex(s, "/accounts/3", lock.Options{}).TryLock(ctx)
	fmt.Println("one of them:", err)
	fmt.Println("unlock:", grant.Unlock(ctx))
	// Output:
	// one of them: lock: held by somebody else
	// unlock: <nil>
}

func ExampleExclusive() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	migration := lock.NewExclusive(s, "/migration", lock.Options{Label: "host a"})
	grant, err := migration.TryLock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	holder, _, _ := migration.Holder(ctx)
	fmt.Println("held by", holder.Label)
	_, err = migration.TryLock(ctx)
	fmt.Println(err)
	grant.Unlock(ctx)
	// Output:
	// held by host a
	// lock: held by somebody else
}

// A resource that checks tokens refuses a holder that was paused and comes too late.
func ExampleToken() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	var newest lock.Token // the resource stores it with its data
	write := func(token lock.Token) bool {
		if token < newest {
			return false
		}
		newest = token
		return true
	}

	invoices := lock.NewMutex(s, "/locks/invoices", lock.Options{})
	first, _ := invoices.Lock(ctx)
	paused := first.Token()
	fmt.Println("holder writes:", write(paused))
	first.Unlock(ctx)

	second, _ := invoices.Lock(ctx)
	fmt.Println("next holder writes:", write(second.Token()))
	fmt.Println("first one wakes up and writes:", write(paused))
	second.Unlock(ctx)
	// Output:
	// holder writes: true
	// next holder writes: true
	// first one wakes up and writes: false
}

func ExampleMutex_Contenders() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	accounts := lock.NewMutex(s, "/locks/accounts", lock.Options{Label: "nightly job"})
	grant, _ := accounts.Lock(ctx)
	contenders, err := accounts.Contenders(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range contenders {
		fmt.Println(c.Label)
	}
	grant.Unlock(ctx)
	// Output:
	// nightly job
}

func ExampleMultiGrant() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	grant, err := lock.NewMulti(s, []string{"/accounts/7", "/accounts/3"}, lock.Options{}).Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The transaction is applied only while all the locks are held.
	_, err = grant.Txn(ctx,
		session.CreateOp{Path: "/accounts/3/balance", Data: []byte("50"), Mode: session.Persistent},
		session.CreateOp{Path: "/accounts/7/balance", Data: []byte("150"), Mode: session.Persistent})
	fmt.Println("transfer:", err)
	fmt.Println("unlock:", grant.Unlock(ctx))
	fmt.Println("ended:", context.Cause(grant.Context()))
	// Output:
	// transfer: <nil>
	// unlock: <nil>
	// ended: lock: released
}

func ExampleWriteGrant() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	catalogue := lock.NewRWMutex(s, "/locks/catalogue", lock.Options{})
	grant, err := catalogue.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Write, and then let other readers in. No other writer gets in between.
	fmt.Println("downgrade:", grant.Downgrade(ctx))
	fmt.Println("still held:", grant.Context().Err() == nil)
	grant.Unlock(ctx)
	// Output:
	// downgrade: <nil>
	// still held: true
}

// A resource that cannot compare tokens gets time to finish the requests of a holder that vanished.
func ExampleOptions() {
	s, done := connect()
	defer done()
	ctx := context.Background()

	printer := lock.NewMutex(s, "/locks/printer", lock.Options{Label: "host a", Delay: 30 * time.Second})
	grant, err := printer.Lock(ctx) // the previous holder did not vanish, so there is no delay
	fmt.Println(err)
	grant.Unlock(ctx)
	// Output:
	// <nil>
}
