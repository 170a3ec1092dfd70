package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The function `start` runs an instance and returns a function that stops it.
func start(t *testing.T, ctx context.Context, opts session.Options, id string) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- serve(ctx, opts, id, l) }()
	return func() {
		cancel()
		<-done
	}
}

// The function `until` waits for the group to have exactly the given members.
func until(t *testing.T, ctx context.Context, s *session.Session, want ...string) {
	t.Helper()
	for change, err := range group.New(s, instances).Changes(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range change.Members {
			names = append(names, m.ID)
		}
		if slices.Equal(names, want) {
			return
		}
	}
}

func TestCallsReachInstancesThatAreThere(t *testing.T) {
	e := zktest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer http.DefaultClient.CloseIdleConnections()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	if _, err := call(ctx, opts, "Ada"); err == nil || !strings.Contains(err.Error(), "no instance") {
		t.Errorf("a call without instances: got error %v, want no instance", err)
	}

	stop1 := start(t, ctx, opts, "greeter-1")
	defer start(t, ctx, opts, "greeter-2")()
	s, err := session.Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	until(t, ctx, s, "greeter-1", "greeter-2")
	if answer, err := call(ctx, opts, "Ada"); err != nil || !strings.HasPrefix(answer, "Hello, Ada, says greeter-") {
		t.Errorf("got answer %q, error %v; want a Hello from a greeter", answer, err)
	}

	if err := configure(ctx, opts, "Good morning"); err != nil {
		t.Fatal(err)
	}
	for !greets(t, ctx, opts, "Good morning") {
	}
	if err := configure(ctx, opts, ""); err == nil {
		t.Error("an empty greeting was stored, want an error")
	}

	stop1()
	until(t, ctx, s, "greeter-2")
	if answer, err := call(ctx, opts, "Ada"); err != nil || answer != "Good morning, Ada, says greeter-2" {
		t.Errorf("got answer %q, error %v; want one of greeter-2", answer, err)
	}
}

// The function `greets` calls an instance, and reports whether it already has the greeting.
func greets(t *testing.T, ctx context.Context, opts session.Options, greeting string) bool {
	t.Helper()
	answer, err := call(ctx, opts, "Ada")
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(answer, greeting)
}

// An instance that has died is listed until its session expires. If a caller picks this instance,
// the call fails, and the caller tries another instance.
func TestCallsPassOverADeadInstance(t *testing.T) {
	e := zktest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer http.DefaultClient.CloseIdleConnections()
	opts := session.Options{Servers: e.Servers(), Dial: e.DialContext}
	s, err := session.Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if _, err := group.New(s, instances).Join(ctx, "greeter-0", []byte(gone.Addr().String())); err != nil {
		t.Fatal(err)
	}
	defer start(t, ctx, opts, "greeter-1")()
	until(t, ctx, s, "greeter-0", "greeter-1")
	members, err := group.New(s, instances).Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ask(ctx, http.DefaultClient, members, group.RoundRobin(), "Ada")
	if err != nil || answer != "Hello, Ada, says greeter-1" {
		t.Errorf("got answer %q, error %v; want one of greeter-1", answer, err)
	}
}
