package session_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-zookeeper/zk"

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

func Example() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	if _, err := s.Create(ctx, "/greeting", []byte("hello"), session.Persistent); err != nil {
		panic(err)
	}
	value, err := s.Get(ctx, "/greeting")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, version %d\n", value.Data, value.Stat.Version)
	// Output: hello, version 0
}

// The program continues after the loss of a session.
func ExampleRun() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	sessions := 0
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	err = session.Run(context.Background(), opts, func(ctx context.Context, s *session.Session) error {
		if sessions++; sessions == 3 {
			return nil // the work is done
		}
		e.Expire(s.ID()) // a long network failure can have the same effect
		<-ctx.Done()
		fmt.Println("lost:", errors.Is(context.Cause(ctx), session.ErrLost))
		return ctx.Err()
	})
	fmt.Println(sessions, "sessions,", err)
	// Output:
	// lost: true
	// lost: true
	// 3 sessions, <nil>
}

func ExampleSession() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/a", nil, session.Ephemeral)
	stat, _ := s.Exists(ctx, "/a")
	fmt.Println("mine:", stat.EphemeralOwner == s.ID())
	s.Close()
	<-s.Done()
	fmt.Println(s.Err(), errors.Is(s.Err(), session.ErrClosed))
	// Output:
	// mine: true
	// session: closed true
}

func ExampleOptions() {
	opts := session.Options{
		Servers: []string{"zk1.example.com", "zk2.example.com:2281"},
		Timeout: 6 * time.Second,
		Chroot:  "/apps/billing",
		Auth:    []session.Auth{{Scheme: "digest", Data: []byte("billing:secret")}},
		ACL:     zk.AuthACL(zk.PermAll),
		TLS:     &tls.Config{MinVersion: tls.VersionTLS12},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	fmt.Println(opts.Auth)
	// Output: [digest:***]
}

func ExampleAuth() {
	fmt.Println(session.Auth{Scheme: "digest", Data: []byte("user:password")})
	// Output: digest:***
}

func ExampleMetrics() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	ctx := context.Background()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	opts.Metrics.State = func(s session.State) { fmt.Println(s) }
	opts.Metrics.Request = func(op string, took time.Duration, err error) { fmt.Println(op, session.OutcomeOf(err)) }
	s, err := session.Open(ctx, opts)
	if err != nil {
		panic(err)
	}
	s.Close()
	s.Delete(ctx, "/a", session.AnyVersion)
	// Output:
	// connected
	// closed
	// delete fail
}

func ExampleState() {
	ctx, s, done := example()
	defer done()
	for state := range s.States(ctx) {
		fmt.Println(state)
		s.Close()
	}
	// Output:
	// connected
	// closed
}

func ExampleMode() {
	ctx, s, done := example()
	defer done()
	path, _ := s.Create(ctx, "/job-", nil, session.PersistentSequential)
	fmt.Println(path)
	// Output: /job-0000000000
}

// One transaction moves a task from one directory to another, or changes nothing.
func ExampleOp() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/todo", nil, session.Persistent)
	s.Create(ctx, "/done", nil, session.Persistent)
	s.Create(ctx, "/todo/1", nil, session.Persistent)
	ops := []session.Op{
		session.DeleteOp{Path: "/todo/1", Version: session.AnyVersion},
		session.CreateOp{Path: "/done/1"},
	}
	_, err := s.Multi(ctx, ops...)
	fmt.Println(err)
	_, err = s.Multi(ctx, ops...)
	fmt.Println(err, session.OutcomeOf(err))
	// Output:
	// <nil>
	// multi /todo/1: op 0 on /todo/1: zk: node does not exist fail
}

func ExampleCreateOp() {
	ctx, s, done := example()
	defer done()
	results, _ := s.Multi(ctx, session.CreateOp{Path: "/a-", Mode: session.PersistentSequential})
	fmt.Println(results[0].Path)
	// Output: /a-0000000000
}

func ExampleSetOp() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/a", nil, session.Persistent)
	results, _ := s.Multi(ctx, session.SetOp{Path: "/a", Data: []byte("x"), Version: 0})
	fmt.Println(results[0].Stat.Version)
	// Output: 1
}

func ExampleDeleteOp() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/a", nil, session.Persistent)
	_, err := s.Multi(ctx, session.DeleteOp{Path: "/a", Version: 0})
	fmt.Println(err)
	// Output: <nil>
}

// A Multi with a CheckOp of a lock's znode writes only while that znode exists. In this way the
// znode fences writes. Here /lock does not exist, so the write fails.
func ExampleCheckOp() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/state", nil, session.Persistent)
	mine := session.CheckOp{Path: "/lock", Version: session.AnyVersion}
	_, err := s.Multi(ctx, mine, session.SetOp{Path: "/state", Data: []byte("x"), Version: session.AnyVersion})
	fmt.Println(errors.Is(err, zk.ErrNoNode), session.OutcomeOf(err))
	// Output: true fail
}

func ExampleOpResult() {
	ctx, s, done := example()
	defer done()
	results, _ := s.Multi(ctx, session.CreateOp{Path: "/a"}, session.SetOp{Path: "/a", Data: []byte("x")})
	fmt.Println(results[0].Path, results[1].Stat.DataLength)
	// Output: /a 1
}

func ExampleMultiError() {
	ctx, s, done := example()
	defer done()
	_, err := s.Multi(ctx, session.CreateOp{Path: "/a"}, session.CreateOp{Path: "/a"})
	var failed *session.MultiError
	if errors.As(err, &failed) {
		fmt.Println(failed.Index, failed.Path, errors.Is(failed, zk.ErrNodeExists))
	}
	// Output: 1 /a true
}

func ExampleRequestError() {
	ctx, s, done := example()
	defer done()
	_, err := s.Set(ctx, "/none", nil, session.AnyVersion)
	var request *session.RequestError
	if errors.As(err, &request) {
		fmt.Println(request.Op, request.Path, request.Outcome)
	}
	// Output: set /none fail
}

// The reaction to an error depends on whether the request was applied.
func ExampleOutcome() {
	ctx, s, done := example()
	defer done()
	_, err := s.Create(ctx, "/a", nil, session.Persistent)
	switch session.OutcomeOf(err) {
	case session.OK:
		fmt.Println("created")
	case session.Failed:
		fmt.Println("not created, and will not be")
	case session.Indeterminate:
		fmt.Println("look whether it was")
	}
	// Output: created
}

func ExampleWatch() {
	ctx, s, done := example()
	defer done()
	_, w, err := s.ExistsWatch(ctx, "/config")
	if err != nil {
		panic(err)
	}
	defer w.Stop()
	s.Create(ctx, "/config", nil, session.Persistent)
	event, err := w.Wait(ctx)
	fmt.Println(event.Type, event.Path, err)
	// Output: EventNodeCreated /config <nil>
}

func ExampleEventType() {
	fmt.Println(session.EventNodeDeleted)
	// Output: EventNodeDeleted
}

func ExampleValue() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/a", []byte("x"), session.Persistent)
	value, _ := s.Get(ctx, "/a")
	_, err := s.Set(ctx, "/a", append(value.Data, 'y'), value.Stat.Version) // fails if another client has changed it since
	fmt.Println(err)
	// Output: <nil>
}

func ExampleListing() {
	ctx, s, done := example()
	defer done()
	s.Create(ctx, "/a", nil, session.Persistent)
	s.Create(ctx, "/a/b", nil, session.Persistent)
	listing, _ := s.Children(ctx, "/a")
	fmt.Println(listing.Names, listing.Stat.NumChildren)
	// Output: [b] 1
}
