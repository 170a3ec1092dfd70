package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/session"
)

func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"zkcoord": main})
}

// leakless fails the tests if goroutines remain. It does not check the commands that scripts run.
// Their goroutines end with their processes.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	// One script sends SIGHUP to a command, and expects that the command ends. Under nohup, this
	// process ignores SIGHUP. Each command that it starts would inherit that, and would ignore
	// SIGHUP too. A command does not inherit a handler, so this process catches SIGHUP instead.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var only = flag.String("script", "", "run only the script of this name")

// TestScripts runs the commands like a user. The directory testdata/script has a file for each
// command.
func TestScripts(t *testing.T) {
	p := testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			// With the race detector, each command would wait for a second before it exits.
			e.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rc": rc, "await": await, "freeports": freePorts, "takeport": takePort, "tlsport": tlsPort, "forbid": forbid,
		},
	}
	p.Condition = func(what string) (bool, error) {
		if what != "tmpfs" {
			return false, fmt.Errorf("no condition %q", what)
		}
		return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", t.TempDir()).Run() == nil, nil
	}
	if *only != "" {
		p.Dir, p.Files = "", []string{filepath.Join("testdata/script", *only+".txtar")}
	}
	testscript.Run(t, p)
}

// rc is a command of scripts: rc CODE COMMAND... It runs the command, which must end with the code.
func rc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rc CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("got exit code %s, want %s\n%s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// await is a command of scripts: await FILE REGEXP. It waits until the content of the file matches
// the expression.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	pattern := regexp.MustCompile(args[1])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // if the file does not exist yet, text is empty
		if pattern.Match(text) {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s did not match %s in time:\n%s", args[0], args[1], text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freePorts is a command of scripts: freeports NAME COUNT. It sets the variable NAME to the first
// of COUNT consecutive free ports.
func freePorts(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	for {
		first := 20000 + (os.Getpid()%100*100+int(portsGiven.Add(int64(count)))-count)%12000 // below the ports that the kernel assigns
		if free(first, count) {
			ts.Setenv(args[0], strconv.Itoa(first))
			return
		}
	}
}

// portsGiven counts the ports given to scripts. Scripts run in parallel, and no two of them may get
// the same port.
var portsGiven atomic.Int64

func free(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// forbid is a command of scripts: forbid ADDRESS PATH. It changes the ACL of a znode, so that only
// a client with a certain password can read it.
func forbid(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := session.Open(ctx, session.Options{Servers: args[:1]})
	ts.Check(err)
	defer s.Close()
	ts.Check(s.SetACL(ctx, args[1], zk.DigestACL(zk.PermAll, "admin", "secret"), session.AnyVersion))
}

// takePort is a command of scripts: takeport NAME. It occupies a port until the script ends, and
// sets the variable NAME to that port.
func takePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}
