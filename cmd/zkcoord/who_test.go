package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Each of three clients holds a lock and waits for the lock of the next client.
func TestDeadlockOfThreeIsFound(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waiting := make(chan error, 3)
	var ids []string
	var all []*session.Session
	for i := range 3 {
		s, err := session.Open(ctx, session.Options{Servers: e.Servers()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		all, ids = append(all, s), append(ids, hex(s.ID()))
		if _, err := lock.NewMutex(s, fmt.Sprintf("/locks/%d", i), lock.Options{Label: fmt.Sprintf("client %d", i)}).Lock(ctx); err != nil {
			t.Fatal(err)
		}
	}
	show := func(args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := run(append([]string{"who", "--servers", strings.Join(e.Servers(), ",")}, args...), strings.NewReader(""), &out, &errs); code != exitValid {
			t.Fatalf("got exit code %d, want 0: %s", code, errs.String())
		}
		return regexp.MustCompile(` of 127\.0\.0\.1:\d+`).ReplaceAllString(out.String(), "")
	}
	if got := show("--under", "/"); strings.Contains(got, "DEADLOCK") || strings.Count(got, "1. holds") != 3 {
		t.Errorf("no client waits, but the output is\n%s", got)
	}
	blocked, stop := context.WithCancel(ctx)
	for i, s := range all {
		go func() {
			_, err := lock.NewMutex(s, fmt.Sprintf("/locks/%d", (i+1)%3), lock.Options{}).Lock(blocked)
			waiting <- err
		}()
	}
	var got string
	for !strings.Contains(got, "DEADLOCK") {
		if ctx.Err() != nil {
			t.Fatalf("the output never shows a deadlock:\n%s", got)
		}
		got = show("--under", "/locks")
	}
	for i := range 3 {
		want := fmt.Sprintf("session %s waits at /locks/%d for \"client %d\", session %s", ids[i], (i+1)%3, (i+1)%3, ids[(i+1)%3])
		if !strings.Contains(got, want) {
			t.Errorf("the output does not contain %q:\n%s", want, got)
		}
	}
	if got := show("--under", "/locks", "--json"); strings.Count(got, `"waits_at"`) != 3 || strings.Count(got, `"deadlock"`) != 1 {
		t.Errorf("got JSON with another number of waits or deadlocks than 3 and 1:\n%s", got)
	}
	if got := show("/locks/1"); !strings.Contains(got, "/locks/1: lock\n  1. holds: \"client 1\", session "+ids[1]) ||
		!strings.Contains(got, "\n  2. waits for 1: session "+ids[0]) || strings.Contains(got, "DEADLOCK") {
		t.Errorf("got another output than one holder and one waiter of /locks/1, without a deadlock:\n%s", got)
	}
	stop()
	for range 3 {
		<-waiting
	}
}
