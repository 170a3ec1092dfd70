package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/zkversion"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// In this test, each of three clients holds a lock and waits for the lock of the next client. The
// command must report this deadlock.
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
			t.Fatalf("zkcoord who %q: got exit code %d, want 0: %s", args, code, errs.String())
		}
		return regexp.MustCompile(` of 127\.0\.0\.1:\d+`).ReplaceAllString(out.String(), "")
	}
	if got := show("--under", "/"); strings.Contains(got, "DEADLOCK") || strings.Count(got, "1. holds") != 3 {
		t.Errorf("while no client waits: got\n%s\nwant 3 holders and no deadlock", got)
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
			t.Fatalf("got no deadlock within a minute, want one in\n%s", got)
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
		t.Errorf("got %d waits and %d deadlocks, want 3 and 1, in the JSON\n%s",
			strings.Count(got, `"waits_at"`), strings.Count(got, `"deadlock"`), got)
	}
	if got := show("/locks/1"); !strings.Contains(got, "/locks/1: lock\n  1. holds: \"client 1\", session "+ids[1]) ||
		!strings.Contains(got, "\n  2. waits for 1: session "+ids[0]) || strings.Contains(got, "DEADLOCK") {
		t.Errorf("got\n%s\nwant that session %s holds /locks/1, session %s waits for it, and no "+
			"deadlock", got, ids[1], ids[0])
	}
	stop()
	for range 3 {
		<-waiting
	}
}

// shownBy runs the command on the servers and returns its output without addresses.
func shownBy(t *testing.T, servers []string, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	if code := run(append([]string{"who", "--servers", strings.Join(servers, ",")}, args...), strings.NewReader(""), &out, &errs); code != exitValid {
		t.Fatalf("zkcoord who %q: got exit code %d, want %d: %s", args, code, exitValid, errs.String())
	}
	return regexp.MustCompile(`(session 0x[0-9a-f]+)( of 127\.0\.0\.1:\d+)?, for \ds`).ReplaceAllString(out.String(), "$1")
}

// Regression: the ledger znode of a counter's handle was listed as a member of a group.
func TestCounterIsNoGroup(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := counter.New(s, "/orders", counter.Options{}).Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	children, err := s.Children(t.Context(), "/orders")
	if err != nil || len(children.Names) != 1 {
		t.Fatalf("children of the counter: got %q, error %v, want one znode of the handle", children.Names, err)
	}
	if got, want := shownBy(t, e.Servers(), "--under", "/"), "/: no holders and no waiters\n"; got != want {
		t.Errorf("an ensemble with a counter and nothing else: got %q, want %q", got, want)
	}
}

func TestSemaphoreIsListed(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	labelled := func(label string) *lock.Semaphore {
		return lock.NewSemaphore(s, "/permits", 3, lock.Options{Label: label})
	}
	if _, err := labelled("first").Acquire(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	waiting, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := labelled("second").Acquire(waiting, 2)
		done <- err
	}()
	id := hex(s.ID())
	held := fmt.Sprintf("/permits: semaphore\n  1. holds 2 permits: \"first\", session %s\n", id)
	want := regexp.MustCompile("^" + held + fmt.Sprintf(`  2. waits for permits: "second", session %s, token \d+`, id) + "\n$")
	for _, args := range [][]string{{"/permits"}, {"--under", "/"}} {
		got := shownBy(t, e.Servers(), args...)
		for begun := time.Now(); got == held && time.Since(begun) < time.Minute; { // until the second one waits
			got = shownBy(t, e.Servers(), args...)
		}
		if !want.MatchString(got) {
			t.Errorf("%v: got\n%swant\n%s", args, got, want)
		}
	}
	stop()
	<-done
}

// An unreadAfter is an output of the command "zkcoord who" whose reader closes the pipe early. The
// field `lists` is the number of lists after which the reader closes the pipe.
type unreadAfter struct {
	strings.Builder
	lists int
}

func (u *unreadAfter) Write(p []byte) (int, error) {
	if strings.Count(u.String(), "/locks/a: lock\n") == u.lists {
		return 0, syscall.EPIPE
	}
	return u.Builder.Write(p)
}

// A truncated list of sessions does not count, because a living session that is missing from it
// would be reported as dead.
func TestOnlyAWholeListOfSessionsCounts(t *testing.T) {
	t.Parallel()
	const whole = "SessionTracker dump:\nSession Sets (2)/(3):\n1 expire at Mon Nov 30 08:00:00 UTC 2026:\n\t0x100000a\n" +
		"2 expire at Mon Nov 30 08:00:02 UTC 2026:\n\t0x2ff0000b\n\t0xff00000000000001\nephemeral nodes dump:\nSessions with Ephemerals (1):\n0x300000c:\n\t/lock\n"
	for name, c := range map[string]struct {
		dump string
		want int // -1 means no list
	}{
		"a leader":                  {whole, 3},
		"a leader without sessions": {"Session Sets (0)/(0):\nephemeral nodes dump:\n", 0},
		"cut off in the list":       {whole[:strings.Index(whole, "0xff")], -1},
		"a follower":                {"SessionTracker dump:\nGlobal Sessions(1):\n0x100000a\t4000ms\nephemeral nodes dump:\n", -1},
		"no answer":                 {"", -1},
	} {
		got := livingIn(c.dump)
		if (got == nil) != (c.want < 0) || got != nil && len(got) != c.want {
			t.Errorf("%s: got %v, want %d sessions (-1 is no list)", name, got, c.want)
		}
	}
	if !livingIn(whole)[-0xffffffffffffff] {
		t.Errorf("got %v, want also the session 0xff00000000000001", livingIn(whole))
	}
}

// With --watch the list is repeated until nobody reads it any more.
func TestListIsRepeated(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := lock.NewMutex(s, "/locks/a", lock.Options{}).Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, errs := unreadAfter{lists: 2}, strings.Builder{}
	code := run([]string{"who", "--servers", strings.Join(e.Servers(), ","), "/locks/a", "--watch"}, strings.NewReader(""), &out, &errs)
	if code != 128+int(syscall.SIGPIPE) || errs.String() != "" {
		t.Errorf("who --watch without a reader: got exit code %d, want %d and no message: %s", code, 128+int(syscall.SIGPIPE), errs.String())
	}
}

// The command queries real servers for the addresses of clients and for living sessions.
func TestSessionsOfRealServersAreKnown(t *testing.T) {
	_, _, err := process.Find(t.Context(), zkversion.Default)
	needs.Installed(t, err)
	e, err := process.Start(t.Context(), process.Options{Config: ensemble.Config{Nodes: 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the ensemble: got error %v, want none", err)
		}
	}()
	servers, err := ensemble.Addresses(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make(map[string]bool) // from which this process connects
	open := func() *session.Session {
		s, err := session.Open(t.Context(), session.Options{Servers: servers, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				addresses[conn.LocalAddr().String()] = true
			}
			return conn, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, gone := open(), open()
	defer s.Close()
	if _, err := lock.NewMutex(s, "/locks/a", lock.Options{Label: "real"}).Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := func() shownPlace {
		var p shownPlace
		if err := json.Unmarshal([]byte(shownBy(t, servers, "/locks/a", "--json")), &p); err != nil || len(p.Contenders) != 1 {
			t.Fatalf("got %+v, error %v, want one contender", p, err)
		}
		return p
	}()
	if c := out.Contenders[0]; !addresses[c.Client] || c.Dead || c.Label != "real" || c.Session != hex(s.ID()) || time.Since(c.Since).Abs() > time.Minute {
		t.Errorf("got the contender %+v, want the living session %s at one of %v, with the label "+
			"%q and a time within the last minute", c, hex(s.ID()), addresses, "real")
	}
	w := &whoRun{connect: &connectFlags{servers: servers}}
	if k := w.ask(t.Context()); k.dead(s.ID()) || k.dead(gone.ID()) || k.living == nil {
		t.Errorf("got living sessions %q, want %s and %s",
			idsOf(k.living), hex(s.ID()), hex(gone.ID()))
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if k := w.ask(t.Context()); k.dead(s.ID()) || !k.dead(gone.ID()) {
		t.Errorf("got living sessions %q, want %s and not %s, which is closed",
			idsOf(k.living), hex(s.ID()), hex(gone.ID()))
	}
}

func idsOf(living map[int64]bool) (ids []string) {
	for id := range living {
		ids = append(ids, hex(id))
	}
	return ids
}
