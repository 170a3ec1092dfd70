package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/conform"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// conformTo runs zkcoord conform on servers of zktest, and checks that the command leaves no znodes
// behind.
func conformTo(t *testing.T, opts zktest.Options, args ...string) (code int, out, errs string) {
	t.Helper()
	opts.TCP = true
	e := zktest.Start(t, opts)
	var o, w bytes.Buffer
	code = run(conformArgs(e, args...), strings.NewReader(""), &o, &w)
	nothingLeft(t, e)
	return code, o.String(), w.String()
}

func conformArgs(e *zktest.Ensemble, args ...string) []string {
	return append([]string{"conform", "--servers", strings.Join(e.Servers(), ","), "--traces", "30"}, args...)
}

func nothingLeft(t *testing.T, e *zktest.Ensemble) {
	t.Helper()
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers(), UnsafeAnyServer: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	left, err := s.Children(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(left.Names, " "); got != "zookeeper" {
		t.Errorf("znodes left: got %s, want zookeeper", got)
	}
}

func TestConformOnZooKeeper(t *testing.T) {
	for _, v := range []zktest.Version{zktest.V38, zktest.V39} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			code, out, errs := conformTo(t, zktest.Options{Version: v, Servers: 2})
			// On a busy machine, the result of the requirement "kept" may be unknown.
			busy := code == exitUnknown && strings.Count(out, "\nunknown ") == 1 && strings.Contains(out, "the machine is too busy")
			if code != exitValid && !busy {
				t.Errorf("got exit code %d, want 0\n%s%s", code, out, errs)
			}
			for _, line := range []string{"these guarantees depend on it: S2, L1, E3, Q7; recipes: lock, election, queue", "\nok       trace/multi: "} {
				if !strings.Contains(out, line) {
					t.Errorf("the output does not contain %q:\n%s", line, out)
				}
			}
		})
	}
}

// ClickHouse Keeper resumes no session, and gives no session a password. The option NoResume of
// zktest models this.
func TestConformOnServersThatAreNotZooKeeper(t *testing.T) {
	t.Parallel()
	code, out, errs := conformTo(t, zktest.Options{NoResume: true, Servers: 2})
	if code != exitInvalid {
		t.Errorf("got exit code %d, want %d\n%s%s", code, exitInvalid, out, errs)
	}
	for _, line := range []string{
		"FAILS    password: a session has a password, with which it can be resumed\n",
		": another session\n           expected: the same session\n",
		"         these guarantees do not hold: S2, L1, E3, Q7, W6; recipes: lock, election, queue, watch\n",
		"unknown  moved: ",
		"ok       token: ",
		"FAILS    trace/resume: ",
		"Do not rely on the guarantees that do not hold.",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("the output does not contain %q:\n%s", line, out)
		}
	}
	if lock := line(out, "lock "); !strings.HasPrefix(strings.Join(strings.Fields(lock), " "), "lock L2 L3 L4 L6 L1") {
		t.Errorf("summary: got %q, want lock with L2 L3 L4 L6 and without L1", lock)
	}
}

func line(text, prefix string) string {
	for one := range strings.Lines(text) {
		if strings.HasPrefix(one, prefix) {
			return strings.TrimSpace(one)
		}
	}
	return ""
}

func TestConformInJSON(t *testing.T) {
	t.Parallel()
	code, out, errs := conformTo(t, zktest.Options{NoResume: true, Servers: 1}, "--json")
	if code != exitInvalid {
		t.Errorf("got exit code %d, want %d\n%s%s", code, exitInvalid, out, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	passwords := 0
	for _, one := range lines[:len(lines)-1] {
		var f conform.Finding
		if err := json.Unmarshal([]byte(one), &f); err != nil || f.Requirement == "" || f.What == "" {
			t.Fatalf("got %s (%v), want a finding in JSON", one, err)
		}
		if f.Requirement != "password" {
			continue
		}
		passwords++
		if f.Verdict != checker.Invalid || f.Steps[0].Expected != "a password" || f.Steps[0].OK {
			t.Errorf("got %+v, want invalid because no password was given", f)
		}
	}
	if passwords != 1 {
		t.Errorf("got %d findings of the requirement password, want 1", passwords)
	}
	var sum conformSummary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || sum.Verdict != checker.Invalid || len(sum.Recipes) != 9 {
		t.Errorf("got the summary %+v (%v), want invalid with 9 packages", sum, err)
	}
}

// If a flag has a wrong value, the command reports an error and leaves no znode behind.
func TestConformRefuses(t *testing.T) {
	t.Parallel()
	for _, of := range []struct {
		args []string
		want string
	}{
		{[]string{"--zookeeper", "2.0"}, "--zookeeper: "},
		{[]string{"--traces", "-1"}, "--traces -1: it must not be negative"},
		{[]string{"--chroot", "/nowhere"}, "the chroot /nowhere does not exist"},
	} {
		code, _, errs := conformTo(t, zktest.Options{Servers: 1}, of.args...)
		if code != exitFailed || !strings.Contains(errs, of.want) {
			t.Errorf("%v: got exit code %d (%s), want %d with %q", of.args, code, errs, exitFailed, of.want)
		}
	}
}

// cancelling is a writer that cancels a context at each write, like an interrupt of the command
// that writes.
type cancelling struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	c.cancel()
	return c.Buffer.Write(p)
}

func TestConformInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	e := zktest.Start(t, zktest.Options{TCP: true})
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &cancelling{cancel: cancel}, &bytes.Buffer{}
	a := &app{out: &output{Writer: out}, errs: &output{Writer: errs}}
	if code := a.exit(a.root().execute(ctx, conformArgs(e))); code != exitUnknown {
		t.Errorf("got exit code %d, want %d: %s", code, exitUnknown, errs)
	}
	if want := "interrupted: only the requirements above were checked"; !strings.Contains(errs.String(), want) {
		t.Errorf("got the message %q, want one that contains %q", errs, want)
	}
	nothingLeft(t, e)
}
