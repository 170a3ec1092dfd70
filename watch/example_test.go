package watch_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `open` starts an ensemble in this process and opens a session for each of n
// programs.
func open(n int) (programs []*session.Session, opts session.Options, end func()) {
	e, err := zktest.New(zktest.Options{})
	check(err)
	opts = session.Options{Servers: e.Servers(), Dial: e.DialContext}
	for range n {
		s, err := session.Open(context.Background(), opts)
		check(err)
		programs = append(programs, s)
	}
	return programs, opts, func() {
		for _, s := range programs {
			s.Close()
		}
		e.Close()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Servers register an ephemeral znode with their address, and a client keeps the list of the
// servers that are up.
func ExampleNewChildrenData() {
	ctx := context.Background()
	programs, _, end := open(3)
	defer end()
	client, one, two := programs[0], programs[1], programs[2]

	_, err := client.Create(ctx, "/servers", nil, session.Persistent)
	check(err)
	_, err = one.Create(ctx, "/servers/one", []byte("10.0.0.1:80"), session.Ephemeral)
	check(err)

	for c, err := range watch.NewChildrenData("/servers").Changes(ctx, client) {
		check(err)
		for _, e := range c.Added {
			fmt.Printf("up: %s at %s\n", e.Path, e.Data)
		}
		for _, e := range c.Removed {
			fmt.Printf("down: %s at %s\n", e.Path, e.Data)
		}
		switch {
		case len(c.Children) == 0:
			return
		case len(c.Children) == 1 && len(c.Added) == 1:
			_, err := two.Create(ctx, "/servers/two", []byte("10.0.0.2:80"), session.Ephemeral)
			check(err)
		case len(c.Children) == 2:
			one.Close() // a crash has the same effect once the session expires
		default:
			two.Close()
		}
	}
	// Output:
	// up: /servers/one at 10.0.0.1:80
	// up: /servers/two at 10.0.0.2:80
	// down: /servers/one at 10.0.0.1:80
	// down: /servers/two at 10.0.0.2:80
}

// A backup waits until the master is gone, and then takes its place. (Package
// election does this for any number of candidates, with an epoch that fences
// the old leader.)
func ExampleNewData() {
	ctx := context.Background()
	programs, _, end := open(2)
	defer end()
	master, backup := programs[0], programs[1]

	_, err := master.Create(ctx, "/master", []byte("host-1"), session.Ephemeral)
	check(err)

	for c, err := range watch.NewData("/master").Changes(ctx, backup) {
		check(err)
		switch {
		case c.Stat == nil:
			fmt.Println("no master: I try to become it")
			_, err := backup.Create(ctx, "/master", []byte("host-2"), session.Ephemeral)
			check(err) // a real program continues after session.ErrNodeExists, because another backup was first
		case c.Stat.EphemeralOwner == backup.ID():
			fmt.Printf("%v: I am the master, %s\n", c.Kind, c.Data)
			return
		default:
			fmt.Printf("%v: the master is %s\n", c.Kind, c.Data)
			master.Close()
		}
	}
	// Output:
	// initial: the master is host-1
	// no master: I try to become it
	// created: I am the master, host-2
}

// Configuration is pushed to clients. Each client can read the newest valid
// value at any time, also after its session was lost.
func ExampleValue() {
	type Limits struct{ Rate int }
	ctx, cancel := context.WithCancel(context.Background())
	programs, opts, end := open(1)
	defer end()
	admin := programs[0]

	limits := watch.NewValue("/config/limits", watch.ValueOptions[Limits]{
		Default: Limits{Rate: 10},
		Validate: func(l Limits) error {
			if l.Rate < 1 {
				return fmt.Errorf("rate %d is below 1", l.Rate)
			}
			return nil
		},
	})
	done := make(chan error)
	go func() { done <- session.Run(ctx, opts, limits.Keep) }()

	turn := 0
	for s, err := range limits.Changes(ctx) {
		check(err)
		fmt.Println(limits.Load(), s.Err)
		switch turn++; turn {
		case 1:
			_, err := limits.Update(ctx, admin, func(l Limits) (Limits, error) { l.Rate *= 2; return l, nil })
			check(err)
			continue
		case 2:
			_, err := admin.Set(ctx, "/config/limits", []byte(`{"Rate": 0}`), session.AnyVersion)
			check(err)
			continue
		}
		break
	}
	cancel()
	<-done
	// Output:
	// {10} watch: no such znode
	// {20} <nil>
	// {20} watch: invalid value: rate 0 is below 1
}

// The program prints each child that was created or deleted, the data, and the
// event.
func ExampleNewNode() {
	ctx := context.Background()
	programs, _, end := open(2)
	defer end()
	s, admin := programs[0], programs[1]

	steps := []func() error{
		func() error { _, err := admin.Create(ctx, "/app", []byte("v1"), session.Persistent); return err },
		func() error { _, err := admin.Create(ctx, "/app/a", nil, session.Persistent); return err },
		func() error { _, err := admin.Set(ctx, "/app", []byte("v2"), session.AnyVersion); return err },
		func() error { return admin.Delete(ctx, "/app/a", session.AnyVersion) },
		func() error { return admin.Delete(ctx, "/app", session.AnyVersion) },
	}
	for c, err := range watch.NewNode("/app").Changes(ctx, s) {
		check(err)
		if c.Stat == nil {
			fmt.Println(c.Kind, "no such znode", c.Event)
		} else {
			fmt.Printf("%v %q version %d, %d bytes, %d children, +%v -%v %v\n",
				c.Kind, c.Data, c.Stat.Version, c.Stat.DataLength, c.Stat.NumChildren, c.Added, c.Removed, c.Event)
		}
		if len(steps) == 0 {
			break
		}
		check(steps[0]())
		steps = steps[1:]
	}
	// Output:
	// initial no such znode Unknown
	// created "v1" version 0, 2 bytes, 0 children, +[] -[] EventNodeCreated
	// same "v1" version 0, 2 bytes, 1 children, +[a] -[] EventNodeChildrenChanged
	// changed "v2" version 1, 2 bytes, 1 children, +[] -[] EventNodeDataChanged
	// same "v2" version 1, 2 bytes, 0 children, +[] -[a] EventNodeChildrenChanged
	// deleted no such znode EventNodeDeleted
}

func ExampleNewChildren() {
	ctx := context.Background()
	programs, _, end := open(2)
	defer end()
	s, admin := programs[0], programs[1]

	_, err := admin.Create(ctx, "/jobs", nil, session.Persistent)
	check(err)
	for c, err := range watch.NewChildren("/jobs").Changes(ctx, s) {
		check(err)
		fmt.Println(c.Names, "came", c.Added, "went", c.Removed)
		if len(c.Names) == 2 {
			break
		}
		_, err := admin.Create(ctx, "/jobs/j", nil, session.PersistentSequential)
		check(err)
	}
	// Output:
	// [] came [] went []
	// [j0000000000] came [j0000000000] went []
	// [j0000000000 j0000000001] came [j0000000001] went []
}

func ExampleNewTree() {
	ctx := context.Background()
	programs, _, end := open(2)
	defer end()
	s, admin := programs[0], programs[1]

	create := func(path, data string) {
		_, err := admin.Create(ctx, path, []byte(data), session.Persistent)
		check(err)
	}
	create("/app", "")
	create("/app/eu", "on")
	turn := 0
	for c, err := range watch.NewTree("/app", watch.TreeOptions{}).Changes(ctx, s) {
		check(err)
		for _, e := range c.Changes {
			fmt.Printf("%v %s %q\n", e.Kind, e.Path, e.Data)
		}
		switch turn++; turn {
		case 1:
			create("/app/eu/db", "url")
		case 2:
			check(admin.Delete(ctx, "/app/eu/db", session.AnyVersion))
		default:
			return
		}
	}
	// Output:
	// initial /app ""
	// initial /app/eu "on"
	// created /app/eu/db "url"
	// deleted /app/eu/db ""
}

// When its session is lost, a Watcher continues in a new session from the state that it reported
// last.
func ExampleWatcher_Run() {
	ctx := context.Background()
	programs, opts, end := open(1)
	defer end()
	admin := programs[0]

	turn := 0
	for c, err := range watch.NewData("/motd").Run(ctx, opts) {
		check(err)
		fmt.Printf("%v %q\n", c.Kind, c.Data)
		if turn++; turn == 2 {
			break
		}
		_, err := admin.Create(ctx, "/motd", []byte("hello"), session.Persistent)
		check(err)
	}
	// Output:
	// initial ""
	// created "hello"
}

func ExampleTree() {
	programs, opts, end := open(1)
	defer end()
	_, err := programs[0].Create(context.Background(), "/app", []byte("1"), session.Persistent)
	check(err)

	app := watch.NewTree("/app", watch.TreeOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- session.Run(ctx, opts, app.Keep) }()
	<-app.Ready()
	e, ok := app.Get("/app")
	fmt.Println(string(e.Data), ok, app.Len())
	cancel()
	<-done
	// Output: 1 true 1
}

// The value is stored as text, not as JSON.
func ExampleValueOptions() {
	ctx := context.Background()
	programs, _, end := open(1)
	defer end()
	s := programs[0]

	level := watch.NewValue("/config/level", watch.ValueOptions[slog.Level]{
		Decode: func(data []byte) (l slog.Level, err error) { return l, l.UnmarshalText(data) },
		Encode: func(l slog.Level) ([]byte, error) { return l.MarshalText() },
	})
	_, err := level.Update(ctx, s, func(slog.Level) (slog.Level, error) { return slog.LevelWarn, nil })
	check(err)
	stored, err := s.Get(ctx, "/config/level")
	check(err)
	fmt.Printf("%s\n", stored.Data)
	// Output:
	// WARN
}

// The program acts on each change of its configuration.
func ExampleValue_Changes() {
	ctx, cancel := context.WithCancel(context.Background())
	programs, opts, end := open(1)
	defer end()
	admin := programs[0]

	workers := watch.NewValue("/config/workers", watch.ValueOptions[int]{Default: 1})
	done := make(chan error)
	go func() { done <- session.Run(ctx, opts, workers.Keep) }()
	for setting, err := range workers.Changes(ctx) {
		check(err)
		fmt.Println("run", setting.Value, "workers, stored:", setting.Err == nil)
		if setting.Err == nil {
			break
		}
		_, err := workers.Update(ctx, admin, func(int) (int, error) { return 4, nil })
		check(err)
	}
	cancel()
	<-done
	// Output:
	// run 1 workers, stored: false
	// run 4 workers, stored: true
}
