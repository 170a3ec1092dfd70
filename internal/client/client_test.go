//go:build linux

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const greeting = `{"type":"hello","protocol":1,"operations":["acquire","release"]}`

// The function `hello` returns a shell command that prints the hello and then runs the command
// `rest`.
func hello(rest string) string { return "echo '" + greeting + "'; " + rest }

// The constant `soon` is far longer than any client in these tests needs. It is half of the default
// time limits of Options, so a test fails if it waits for such a limit.
const soon = 15 * time.Second

func startShell(t *testing.T, command string, o Options) (*Client, error) {
	t.Helper()
	begun := time.Now()
	c, err := Start(t.Context(), Shell(command), Setup{Recipe: Lock}, o)
	if took := time.Since(begun); took > soon {
		t.Errorf("the start took %v, want less than 15s", took)
	}
	return c, err
}

// A client that does not begin correctly is refused. The error says what was wrong.
func TestClientThatDoesNotSayHello(t *testing.T) {
	for name, one := range map[string]struct{ command, want string }{
		"not found":    {"no-such-program-at-all", "exit status 127: .*not found"},
		"exit":         {"echo cannot connect >&2; exit 3", "exit status 3: cannot connect"},
		"returns":      {"exit 0", "the client ended: returned"},
		"silence":      {"sleep 600", "no hello within 200ms"},
		"text":         {"echo starting; cat", `not a JSON object (print for people to standard error): "starting\n"`},
		"array":        {"echo '[1]'; cat", `not a JSON object`},
		"two objects":  {"echo '" + greeting + greeting + "'; cat", "more than one JSON object"},
		"version":      {`echo '{"type":"hello","protocol":2,"operations":[]}'; cat`, "the hello has protocol 2, want 1"},
		"no version":   {`echo '{"type":"hello","operations":[]}'; cat`, "the hello has protocol 0, want 1"},
		"operations":   {`echo '{"type":"hello","protocol":1,"operations":["acquire"]}'; cat`, "does not list release"},
		"wrong type":   {`echo '{"type":"hello","protocol":"1"}'; cat`, `"protocol" must be a whole number, not string`},
		"list":         {`echo '{"type":"hello","protocol":1,"operations":"acquire"}'; cat`, `"operations" must be a list, not string`},
		"unknown":      {`echo '{"type":"hello","version":1}'; cat`, `unknown field "version"`},
		"no type":      {`echo '{"protocol":1}'; cat`, `no "type"`},
		"early":        {`echo '{"type":"ok","id":1}'; cat`, "the first line must be the hello"},
		"long":         {`head -c 70000 /dev/zero | tr '\0' x; cat`, "a line is longer than 65536 bytes"},
		"closed":       {"exec >&-; sleep 600", "the client closed its standard output but did not end"},
		"without line": {`printf '{"type":"he'`, "not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{}
			if name == "silence" {
				o.HelloTime = 200 * time.Millisecond
			}
			c, err := startShell(t, one.command, o)
			if c != nil || err == nil || !matches(err.Error(), one.want) {
				t.Errorf("got a client %v, error %v; want false and an error with %q",
					c != nil, err, one.want)
			}
		})
	}
}

// The function `matches` reports whether text contains all parts of `want` in order. In `want`, the
// parts are separated by .*
func matches(text, want string) bool {
	for part := range strings.SplitSeq(want, ".*") {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

// If a client breaks the protocol after its hello, the client is killed. The current request fails
// at once, and its error says how the client broke the protocol.
func TestClientThatBreaksTheProtocol(t *testing.T) {
	for name, one := range map[string]struct{ rest, want string }{
		"text":      {`read x; echo granted; cat`, `not a JSON object (print for people to standard error): "granted\n"`},
		"wrong id":  {`read x; echo '{"type":"ok","id":9}'; cat`, "a reply to request 9, but request 1 waits for one"},
		"no id":     {`read x; echo '{"type":"ok"}'; cat`, "a reply without the id of its request"},
		"twice":     {`read x; echo '{"type":"ok","id":1}'; echo '{"type":"ok","id":1}'; cat`, "a reply although no request waits for one"},
		"hello":     {`read x; echo '` + greeting + `'; cat`, "a second hello"},
		"type":      {`read x; echo '{"type":"granted","id":1}'; cat`, `unknown type "granted"`},
		"id":        {`read x; echo '{"type":"ok","id":"1"}'; cat`, `"id" must be a whole number, not string`},
		"lost id":   {`read x; echo '{"type":"lost","id":1}'; cat`, `a line of type "lost" must have no id`},
		"exit":      {`read x; echo it went wrong >&2; exit 5`, "exit status 5: it went wrong"},
		"long":      {`read x; head -c 70000 /dev/zero | tr '\0' x; cat`, "a line is longer"},
		"no answer": {`cat >/dev/null`, "no reply to release within 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{}
			if name == "no answer" {
				o.AnswerTime = 100 * time.Millisecond
			}
			c, err := startShell(t, hello(one.rest), o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begun := time.Now()
			for range 2 { // in the case "twice", the first request may succeed
				if _, err = c.Do(t.Context(), Request{Op: OpRelease}); err != nil {
					break
				}
				select {
				case <-c.over.Done():
				case <-time.After(soon):
					t.Error("the client still runs, want it to be ended")
				}
			}
			if err == nil || !strings.Contains(err.Error(), one.want) || !strings.Contains(c.Err().Error(), one.want) {
				t.Errorf("got %v and %v, want errors with %q", err, c.Err(), one.want)
			}
			if took := time.Since(begun); took > soon {
				t.Errorf("the failure took %v, want less than 15s", took)
			}
			if _, err := c.Do(t.Context(), Request{Op: OpRelease}); session.OutcomeOf(err) != session.Failed {
				t.Errorf("a request after the end: got %v (%v), want an error (%v)",
					err, session.OutcomeOf(err), session.Failed)
			}
		})
	}
}

// The function `echoes` is a client for tests. The value of a request determines the reply. If the
// value begins with "lost ", the client first reports a loss, and removes this prefix from the
// value. If the rest is a number, the client waits for that many seconds and replies OK. Otherwise
// the rest is the type of the reply.
func echoes(_ Setup, in io.Reader, out io.Writer) error {
	return Serve(in, out, Lock.Operations(), func(s *Server, r Request) Reply {
		if rest, found := strings.CutPrefix(r.Value, "lost "); found {
			s.Lost(errors.New("suspended"))
			r.Value = rest
		}
		if n, err := strconv.Atoi(r.Value); err == nil {
			<-time.After(time.Duration(n) * time.Second)
			r.Value = OK
		}
		return Reply{Type: r.Value, Token: 7, Node: "/n", Error: "because", Last: r.Value == Fail}
	})
}

func TestRepliesAreOutcomes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, err := Start(t.Context(), Program{Inside: echoes}, Setup{Recipe: Lock}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		reply, grant, err := c.Grant(t.Context(), Request{Op: OpAcquire, Value: OK})
		if err != nil || reply.Token != 7 || reply.Node != "/n" || grant.Err() != nil {
			t.Errorf("grant: got %+v, %v, context %v; want token 7, node /n and no error", reply, err, grant.Err())
		}
		if _, err := c.Do(t.Context(), Request{Op: OpRelease, Value: Info}); session.OutcomeOf(err) != session.Indeterminate || grant.Err() != nil {
			t.Errorf("release with the reply info: got %v (%v), context %v; want an error (%v) and the grant held",
				err, session.OutcomeOf(err), grant.Err(), session.Indeterminate)
		}
		_, again, err := c.Grant(t.Context(), Request{Op: OpAcquire, Value: "lost ok"})
		if err != nil || again.Err() == nil || grant.Err() != nil || !strings.Contains(context.Cause(again).Error(), "suspended") {
			t.Errorf("a loss before the reply: got %v, cause %v, the earlier grant %v; want no error, the cause suspended, nil",
				err, context.Cause(again), grant.Err())
		}
		wait := int64(5000)
		if _, err = c.Do(t.Context(), Request{Op: OpAcquire, WaitMS: &wait, Value: "34"}); err != nil {
			t.Errorf("a reply within the waiting time and the answer time: got %v, want no error", err)
		}
		if _, err := c.Do(t.Context(), Request{Op: OpAcquire, Value: "600"}); err != nil {
			t.Errorf("a late reply to a request without a limit: got %v, want no error", err)
		}
		if _, err := c.Do(t.Context(), Request{Op: OpRelease, Value: Fail}); session.OutcomeOf(err) != session.Failed || !strings.Contains(err.Error(), "because") {
			t.Errorf("release with the reply fail: got %v (%v), want an error with its reason (%v)",
				err, session.OutcomeOf(err), session.Failed)
		}
		synctest.Wait()
		if err := c.Err(); !errors.Is(err, ErrEnded) {
			t.Errorf("Err after the last reply: got %v, want %v", err, ErrEnded)
		}
	})
}

func TestAnswerThatIsLate(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, err := Start(t.Context(), Program{Inside: echoes}, Setup{Recipe: Lock}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wait := int64(5000)
		_, grant, err := c.Grant(t.Context(), Request{Op: OpAcquire, WaitMS: &wait, Value: "36"})
		if session.OutcomeOf(err) != session.Indeterminate || grant.Err() == nil || !strings.Contains(c.Err().Error(), "no reply to acquire within 35s") {
			t.Errorf("got %v (%v), grant %v, and %v; want an error (%v), an ended grant, and that no reply came within 35s, of which 5s are the wait",
				err, session.OutcomeOf(err), grant.Err(), c.Err(), session.Indeterminate)
		}
	})
}

// The harness gives a client its setup in environment variables.
func TestEnvironmentOfAClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log strings.Builder
	s := Setup{Servers: []string{"zoo1:2181", "zoo2:2181"}, Timeout: 4 * time.Second, Path: "/l", Recipe: Lock, Permits: 3, Number: 2}
	c, err := Start(t.Context(), Shell(hello("env >&2; cat >/dev/null")), s, Options{Log: &log, Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	near := []string{c.ways[0].Address(), c.ways[1].Address()}
	c.Close()
	for _, want := range []string{"ZKCOORD_PROTOCOL=1", "ZKCOORD_SERVERS=" + strings.Join(near, ","), "ZKCOORD_SESSION_TIMEOUT_MS=4000", "ZKCOORD_PATH=/l",
		"ZKCOORD_RECIPE=lock", "ZKCOORD_PERMITS=3", "ZKCOORD_CLIENT=2"} {
		if !strings.Contains("\n"+log.String(), "\n"+want+"\n") {
			t.Errorf("the environment does not contain %s:\n%s", want, log.String())
		}
	}
}

// A client that is a shell command may have several processes. All of them stop, continue and end
// together.
func TestAllProcessesOfAClientAreStoppedAndKilled(t *testing.T) {
	var log strings.Builder
	c, err := Start(t.Context(), Shell("sleep 600 & echo $! >&2; "+hello("cat >/dev/null; wait")), Setup{Recipe: Lock}, Options{Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	below := c.process.(*child).text.String()
	pid, err := strconv.Atoi(below)
	if err != nil {
		t.Fatal(err)
	}
	if shell := c.process.(*child).Pid(); !procs.Stopped(pid) || !procs.Stopped(shell) {
		t.Errorf("stopped: got the shell %v, its child %v; want true, true",
			procs.Stopped(shell), procs.Stopped(pid))
	}
	if err := c.Continue(); err != nil || procs.Stopped(pid) {
		t.Errorf("after Continue: got error %v, the child stopped %v; want nil, false",
			err, procs.Stopped(pid))
	}
	_ = c.Stop(t.Context())
	c.Kill() // it must also kill stopped processes
	<-c.Ended()
	for begun := time.Now(); syscall.Kill(pid, 0) == nil && !zombie(pid); <-time.After(time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatalf("process %d still exists %v after Kill, want it gone", pid, soon)
		}
	}
	c.Close()
}

// zombie reports whether the process has ended but its parent has not waited for it yet.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestSessionIsObserved(t *testing.T) {
	answer := []byte{0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 15, 160, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 16,
		'p', 'a', 's', 's', 'w', 'o', 'r', 'd', 'p', 'a', 's', 's', 'w', 'o', 'r', 'd', 0, 'm', 'o', 'r', 'e'}
	for n := range len(answer) {
		s, found, more := answered(answer[:n])
		if n < 41 && (found || !more) || n >= 41 && (!found || s.ID != 1<<56+7 || s.Timeout != 4*time.Second || string(s.Password) != "passwordpassword") {
			t.Errorf("%d bytes: got found %t, more %t, session %#x, timeout %v, password %q; below 41 bytes want false, true; else true, session %#x, 4s, \"passwordpassword\"",
				n, found, more, s.ID, s.Timeout, s.Password, int64(1<<56+7))
		}
	}
	if _, found, more := answered([]byte("Zookeeper version: 3.9.6")); found || more {
		t.Errorf("answer to a four-letter command: got found %t, more %t; want neither", found, more)
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	c, err := Start(t.Context(), Program{Args: []string{"/no/such/program"}}, Setup{}, Options{})
	if err == nil || c != nil {
		t.Errorf("Start: got a client %v, error %v; want false and an error", c != nil, err)
	}
}

// The first bytes that a server sends on a connection are not always the answer to a connect
// request. They can also be a reply to a four-letter command, or a record of TLS. In these cases
// there is no session.
func TestFirstBytesThatAreNoSession(t *testing.T) {
	for _, first := range []string{"imok", "\x16\x03\x01\x02", "\x80\x00\x00\x00", "\xff\xff\xff\xff", "\xff\xff\xff\xfc\x00\x00\x00\x00"} {
		if s, found, more := answered([]byte(first)); found || more {
			t.Errorf("%q: got session %#x, found %v, more %v; want none", first, s.ID, found, more)
		}
	}
}
