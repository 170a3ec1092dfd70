//go:build linux

package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Regression: if zkcoord lock waited without a limit, it gave up when the servers expired its
// session.
func TestWaitGoesOnInANewSession(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := lock.NewMutex(s, "/l", lock.Options{})
	grant, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The function `waiter` waits until the lock has a second contender whose session is not the
	// given one. It returns the session of this contender.
	waiter := func(not int64) int64 {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			all, err := m.Contenders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(all) < 2 {
				continue
			}
			if stat, err := s.Exists(t.Context(), all[1].Path); err == nil && stat != nil && stat.EphemeralOwner != not {
				return stat.EphemeralOwner
			}
		}
		t.Fatalf("no second contender, other than session %#x, waited within a minute", not)
		return 0
	}
	for _, limit := range []string{"0", "1h"} {
		cmd := exec.CommandContext(t.Context(), "zkcoord", "lock", "--wait", limit, "--servers", strings.Join(e.Servers(), ","), "/l", "--", "echo", "done")
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatalf("--wait %s: %v", limit, err)
		}
		first := waiter(0)
		if err := e.Expire(first); err != nil {
			t.Fatalf("--wait %s: expire session %#x: %v", limit, first, err)
		}
		waiter(first)
		if err := grant.Unlock(t.Context()); err != nil {
			t.Fatalf("--wait %s: %v", limit, err)
		}
		if err := cmd.Wait(); err != nil || out.String() != "done\n" || !strings.Contains(errs.String(), "; trying again") {
			t.Errorf("--wait %s: got error %v, output %q, messages %q; want no error, %q, and a message with %q", limit, err, &out, &errs, "done\n", "; trying again")
		}
		if grant, err = m.Lock(t.Context()); err != nil {
			t.Fatalf("after --wait %s: %v", limit, err)
		}
	}
}
