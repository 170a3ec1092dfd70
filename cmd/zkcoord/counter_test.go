package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The commands on counters print what their transcript in docs/shell.md shows.
func TestCounterTranscript(t *testing.T) {
	page, err := os.ReadFile("../../docs/shell.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Counters\n")
	section, _, _ = strings.Cut(section, "\n## ")
	counters := onServers(t)
	found := 0
	for _, part := range strings.Split(section, "\n    $ zkcoord ")[1:] {
		command, rest, _ := strings.Cut(part, "\n")
		want := ""
		for line := range strings.Lines(rest) {
			printed, indented := strings.CutPrefix(line, "    ")
			if !indented {
				break
			}
			want += printed
		}
		found++
		if code, out, errs := counters(strings.Fields(command)...); code != exitValid || out != strings.TrimSuffix(want, "\n")+"\n" {
			t.Errorf("%s: got code %d and %q, want 0 and %q; %s", command, code, out, want, errs)
		}
	}
	if found < 5 {
		t.Errorf("got only %d commands in the transcript, want at least 5", found)
	}
}

// onServers returns a function that runs a command against servers of the test.
func onServers(t *testing.T) func(args ...string) (code int, out, errs string) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	t.Setenv("ZKCOORD_SERVERS", strings.Join(e.Servers(), ","))
	return func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(args, strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
}

// The exit code says whether it is safe to repeat the command.
func TestCounterExitCodes(t *testing.T) {
	counters := onServers(t)
	for _, c := range []struct {
		args string
		code int
		errs string
	}{
		{"counter add /n x", exitFailed, `"x" is not an integer`},
		{"counter set /n 9223372036854775808", exitFailed, "is not an integer of 64 bits"},
		{"counter add /n -3", exitFailed, "begins with - after --"},
		{"counter add / 1", exitFailed, "has to be below the root"},
		{"counter get --format roman /n", exitFailed, "decimal or big-endian"},
		{"counter set /n 9223372036854775807", exitValid, ""},
		{"counter add /n", exitFailed, "overflow: the value 9223372036854775807 and 1"},
		{"counter get --format big-endian /n", exitFailed, "no number of this format"},
		{"counter get", exitFailed, "usage: zkcoord counter get PATH"},
	} {
		code, out, errs := counters(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errs, c.errs) || code != exitValid && out != "" {
			t.Errorf("%s: got code %d, %q, %q; want code %d with %q", c.args, code, out, errs, c.code, c.errs)
		}
	}
}

// A read cannot have an unknown outcome, so its help does not mention one.
func TestCounterHelpOfARead(t *testing.T) {
	var out strings.Builder
	run([]string{"counter", "get", "--help"}, strings.NewReader(""), &out, &out)
	if help := out.String(); !strings.Contains(help, "Exit codes: 0 the value was printed, 3 it") || strings.Contains(help, "change") {
		t.Errorf("got help %q, want the exit codes of a read only", help)
	}
}

// If the session ends during a write, the write may have been applied, and the command reports
// that.
func TestCounterOfUnknownOutcome(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	in := e.Inject(zktest.Rule{Op: "multi", Path: "/n/*", Fate: zktest.DelayRequest, Delay: time.Minute})
	done := make(chan int, 1)
	var errs strings.Builder
	go func() {
		done <- run([]string{"counter", "add", "--servers", strings.Join(e.Servers(), ","), "/n"}, strings.NewReader(""), new(strings.Builder), &errs)
	}()
	for in.Fired() == 0 {
		select {
		case code := <-done:
			t.Fatalf("the command ended with %d before the session did: %s", code, errs.String())
		case <-time.After(time.Millisecond):
		}
	}
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	listing, err := s.Children(t.Context(), "/n")
	if err != nil || len(listing.Names) != 1 {
		t.Fatalf("got children %v (%v), want the handle's znode", listing.Names, err)
	}
	stat, err := s.Exists(t.Context(), "/n/"+listing.Names[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Expire(stat.EphemeralOwner); err != nil {
		t.Fatalf("expire session %s: %v", hex(stat.EphemeralOwner), err)
	}
	if code := <-done; code != exitUnknown || !strings.Contains(errs.String(), "counter: add 1 to /n") {
		t.Errorf("got code %d with %s, want %d with %q",
			code, errs.String(), exitUnknown, "counter: add 1 to /n")
	}
}
