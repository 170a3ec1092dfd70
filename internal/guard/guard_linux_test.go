package guard

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zkcoord/zkcoord/internal/needs"
)

// holderMark is an environment variable that makes a test process a holder. Its value is the
// duration of the lease in milliseconds. A + at the end of the value means that the lease is always
// renewed.
const holderMark = "ZKCOORD_TEST_HOLDER"

func TestMain(m *testing.M) {
	Work()
	if lease := os.Getenv(holderMark); lease != "" {
		os.Unsetenv(holderMark)
		os.Exit(hold(lease))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

const (
	grace  = 400 * time.Millisecond
	margin = 400 * time.Millisecond
)

type lease struct {
	ctx     context.Context
	end     context.CancelCauseFunc
	renewed bool
	at      time.Time
}

func newLease(d time.Duration) *lease {
	l := &lease{at: time.Now().Add(d)}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

func (l *lease) Context() context.Context { return l.ctx }

func (l *lease) Deadline() time.Time {
	if l.renewed {
		return time.Now().Add(3 * time.Second)
	}
	return l.at
}

// The function `hold` does the work of a holder: it runs the arguments of this process as a command
// under a lease, and prints the result.
func hold(text string) int {
	ms, renewed := strings.CutSuffix(text, "+")
	n, _ := strconv.Atoi(ms)
	l := newLease(time.Duration(n) * time.Millisecond)
	l.renewed = renewed
	fmt.Println("ends", l.at.UnixNano())
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM) // zkcoord lock catches these signals too
	warn := func(format string, args ...any) { fmt.Printf("warning "+format+"\n", args...) }
	r, err := Run(context.Background(), l, Command{Args: os.Args[1:], Grace: grace, Margin: margin, Warn: warn})
	fmt.Println("result", r.Code, r.Lost, r.Interrupted, err)
	return r.Code
}

// A holding is a test process that runs as a holder.
type holding struct {
	*exec.Cmd
	mark  string // in the environment of all processes that it starts
	lines *bufio.Scanner
	in    io.WriteCloser
	begun time.Time
}

func holdFor(t *testing.T, lease string, args ...string) *holding {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holding{Cmd: exec.Command(self, args...), mark: fmt.Sprintf("GUARD_TEST=%d %s", os.Getpid(), t.Name()), begun: time.Now()}
	h.Env = append(os.Environ(), holderMark+"="+lease, h.mark)
	h.Stderr = os.Stderr
	h.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
	out, err := h.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if h.in, err = h.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.Process.Kill()
		_ = h.Wait()
		for _, pid := range h.alive(false) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	h.lines = bufio.NewScanner(out)
	return h
}

// The method `until` reads lines, and returns the first one that begins with `prefix`.
func (h *holding) until(t *testing.T, prefix string) string {
	t.Helper()
	line, ok := h.find(prefix)
	if !ok {
		t.Fatalf("the output has no line that begins with %q", prefix)
	}
	return line
}

func (h *holding) find(prefix string) (line string, ok bool) {
	for h.lines.Scan() {
		// A terminal echoes the keys of the test at the beginning of the line.
		if line := strings.TrimLeft(h.lines.Text(), "^CZx"); strings.HasPrefix(line, prefix) {
			return line, true
		}
	}
	return "", false
}

// The method `ends` reads the line in which the holder prints the end of the lease.
func (h *holding) ends(t *testing.T) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimPrefix(h.until(t, "ends"), "ends "), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, n)
}

// The method `alive` returns the processes of the command that have not ended. If `ours` is set, it
// returns instead the processes that run the holder's own program, except the holder. One of these
// is the guard.
func (h *holding) alive(ours bool) (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environs {
		text, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(text, []byte(h.mark+"\x00")) {
			continue // a zombie has no environment
		}
		program, _ := os.Readlink(filepath.Join(filepath.Dir(name), "exe"))
		pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
		if (program == h.Path) == ours && pid != h.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (h *holding) guardOf(t *testing.T) int {
	t.Helper()
	for _, pid := range h.alive(true) {
		if p, _ := processOf(strconv.Itoa(pid)); p.parent == h.Process.Pid {
			return pid
		}
	}
	t.Fatal("the holder has no guard process")
	return 0
}

func (h *holding) allGone(t *testing.T) {
	t.Helper()
	for {
		left := h.alive(false)
		if len(left) == 0 {
			return
		}
		if time.Since(h.begun) > time.Minute {
			t.Fatalf("%d processes are left after a minute, want none", len(left))
		}
		<-time.After(poll)
	}
}

// The constant `family` is a command whose processes ignore SIGTERM: a child, a grandchild that is
// an orphan, and a process in its own session.
const family = `trap "" TERM
sleep 1000 &
(sleep 1000 &)
setsid sh -c 'sleep 1000 & sleep 1000' &
echo ready
sleep 1000`

// No process of the command outlives the lease, even if the holder or the guard is killed or
// stopped. Regression: after the loss of a lock, consul killed the child process 90 s too late
// (consul#9788).
func TestNoProcessOutlivesTheLease(t *testing.T) {
	for _, c := range []struct {
		name string
		hurt func(t *testing.T, h *holding)
		says string // the result
	}{
		{name: "not renewed", says: "result 137 true false <nil>"},
		{name: "the holder is killed", hurt: func(t *testing.T, h *holding) { signalTo(t, h.Process.Pid, syscall.SIGKILL) }},
		{name: "the holder is stopped", hurt: func(t *testing.T, h *holding) { signalTo(t, h.Process.Pid, syscall.SIGSTOP) }},
		{name: "the guard is killed", says: "result 137 false false <nil>",
			hurt: func(t *testing.T, h *holding) { signalTo(t, h.guardOf(t), syscall.SIGKILL) }},
		{name: "the guard is stopped", says: "result 137 true false <nil>",
			hurt: func(t *testing.T, h *holding) { signalTo(t, h.guardOf(t), syscall.SIGSTOP) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h *holding
			var ends time.Time
			for lease, ready := 2500, false; !ready; lease *= 2 { // on a busy machine, the lease can end before the command begins
				if lease > 60_000 {
					t.Fatal("no command was ready before the end of its lease")
				}
				h = holdFor(t, strconv.Itoa(lease), "sh", "-c", family)
				ends = h.ends(t)
				_, ready = h.find("ready")
			}
			if c.hurt != nil {
				c.hurt(t, h)
			}
			h.allGone(t)
			if late := time.Since(ends); late > 0 {
				t.Errorf("the last process was gone %v after the end of the lease, want before it", late)
			}
			if c.says == "" {
				return
			}
			if got := h.until(t, "result"); got != c.says {
				t.Errorf("got %q, want %q", got, c.says)
			}
		})
	}
}

func signalTo(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// While the list of processes is read, a process may start a new process and then end. The new
// process may then be missing in the list. The signal to its process group must still kill it. In
// this test the new process is missing for another reason: it is no descendant of the test any
// more, because its parent has ended and the test is no subreaper.
func TestProcessThatIsMissingInTheListIsKilled(t *testing.T) {
	cmd := exec.Command("sh", "-c", "(sleep 1000 & echo $!); exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	text, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	second, _ := strconv.Atoi(strings.TrimSpace(text))
	defer syscall.Kill(second, syscall.SIGKILL)
	listed := func(p process) bool { return p.pid == second }
	for slices.ContainsFunc(descendants(os.Getpid()), listed) { // until its parent has ended
		<-time.After(poll)
	}
	treeOf(cmd.Process.Pid).signal(syscall.SIGKILL)
	_ = out.(*os.File).SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, lines); err != nil { // both processes have the pipe open until they end
		t.Errorf("a process is left: %v", err)
	}
	_ = cmd.Wait()
}

// A command with many processes ends soon. Regression: whenever the guard noticed the end of a
// process, it listed and killed all processes again. The end of a command with 1500 processes took
// 40 s.
func TestManyProcessesEndSoon(t *testing.T) {
	const many = 300
	h := holdFor(t, "60000+", "sh", "-c", fmt.Sprintf("trap '' TERM; i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; echo ready; read x; exit 3", many))
	h.until(t, "ready")
	guard := h.guardOf(t)
	var list time.Duration // how long reading a list takes
	for n := 0; n < many; {
		begun := time.Now()
		n = len(descendants(guard))
		list = time.Since(begun)
	}
	h.in.Close()
	begun := time.Now()
	h.until(t, "result 3 false")
	if took := time.Since(begun); took > grace+many/3*list {
		t.Errorf("the end of %d processes took %v, and the list of them takes %v; want at most %v",
			many, took, list, grace+many/3*list)
	}
}

// If the guard and the holder are both killed, the kernel kills the command's first process.
func TestFirstProcessEndsWithBoth(t *testing.T) {
	h := holdFor(t, "0+", "sh", "-c", "echo ready; exec sleep 1000")
	h.until(t, "ready")
	guard := h.guardOf(t)
	signalTo(t, h.Process.Pid, syscall.SIGSTOP) // so that the holder does not notice the end of the guard
	signalTo(t, guard, syscall.SIGKILL)
	signalTo(t, h.Process.Pid, syscall.SIGKILL)
	h.allGone(t)
}

func TestTermComesBeforeKill(t *testing.T) {
	h := holdFor(t, "2000", "sh", "-c", `trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	ends := h.ends(t)
	h.until(t, "ready")
	h.until(t, "term")
	if left := time.Until(ends); left < grace {
		t.Errorf("SIGTERM arrived when %v were left, want at least %v", left, grace)
	}
	if got, want := h.until(t, "result"), "result 3 true false <nil>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatTheCommandLeavesBehindIsStopped(t *testing.T) {
	h := holdFor(t, "0+", "sh", "-c", "trap '' TERM; sleep 1000 & setsid sleep 1000 & exit 5")
	if got, want := h.until(t, "result"), "result 5 false false <nil>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if left := h.alive(false); len(left) > 0 {
		t.Errorf("%d processes are left, want none", len(left))
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1} {
		if signal.Ignored(s) {
			continue // under nohup, this test and all processes that it starts ignore the signal
		}
		h := holdFor(t, "0+", "sh", "-c", `trap 'exit 42' TERM INT HUP USR1; echo ready; while :; do sleep 0.01; done`)
		h.until(t, "ready")
		signalTo(t, h.Process.Pid, s)
		want := fmt.Sprintf("result 42 false %v <nil>", s != syscall.SIGUSR1)
		if got := h.until(t, "result"); got != want {
			t.Errorf("%v: got %q, want %q", s, got, want)
		}
	}
}

func run(t *testing.T, l *lease, c Command) (Result, error) {
	t.Helper()
	c.Grace, c.Margin = grace, margin
	return Run(t.Context(), l, c)
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 7", 7}, {"kill -TERM $$", 143}, {"kill -KILL $$", 137}} {
		l := newLease(time.Minute)
		if r, err := run(t, l, Command{Args: []string{"sh", "-c", c.script}}); r != (Result{Code: c.want}) || err != nil {
			t.Errorf("%s: got %+v, error %v; want code %d", c.script, r, err, c.want)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"no-such-program": 127, "/no/such/program": 127, script: 126} {
		_, err := run(t, newLease(time.Minute), Command{Args: []string{name}})
		if start := (*StartError)(nil); !errors.As(err, &start) || start.Code() != want {
			t.Errorf("%s: got error %v, want code %d", name, err, want)
		}
	}
}

// The user is not warned when a guard ends normally, even if the guard's exit is noticed before the
// guard's last line is read. Regression: in one of ten runs the exit was noticed first, and the
// user was warned that the guard was dead.
func TestEndOfTheGuardIsNoAlarm(t *testing.T) {
	report, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, control, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	guard, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	l := newLease(time.Minute)
	h := &holder{held: l, deadline: l.Deadline(), guard: guard, child: 1 << 30, report: report, control: control}
	h.command = Command{
		Args: []string{"x"}, Grace: grace, Margin: margin,
		Warn: func(format string, args ...any) {
			t.Errorf("got the warning %q, want none", fmt.Sprintf(format, args...))
		},
	}
	defer h.close()
	time.AfterFunc(margin, func() { // the guard's exit is noticed long before this
		fmt.Fprintln(theirs, "exited 0\ngone")
		theirs.Close()
	})
	if r, err := h.attend(t.Context(), nil); err != nil || r != (Result{}) {
		t.Errorf("got %+v, error %v; want code 0 and no error, because the command exited 0", r, err)
	}
}

func TestLossEndsTheCommandAtOnce(t *testing.T) {
	l := newLease(time.Minute)
	time.AfterFunc(300*time.Millisecond, func() { l.end(errors.New("revoked")) })
	begun := time.Now()
	r, err := run(t, l, Command{Args: []string{"sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000"}})
	if !r.Lost || err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("after the loss of the lease: got %+v, error %v after %v; want Lost within 10s", r, err, time.Since(begun))
	}
	if _, err := run(t, l, Command{Args: []string{"true"}}); !errors.Is(err, ErrLost) {
		t.Errorf("under a lost lease: got error %v, want %v", err, ErrLost)
	}
}

// Run does not start the command while too little time is left until the deadline of the lease. Too
// little time may be left just after the grant, if the last renewal of the lease was long ago. Run
// then waits until the session renews the lease. In this test, the lease ends before it is renewed,
// so Run fails.
func TestCommandWaitsForEnoughOfTheLease(t *testing.T) {
	l := newLease(grace + margin)
	time.AfterFunc(200*time.Millisecond, func() { l.end(errors.New("lapsed")) })
	if _, err := run(t, l, Command{Args: []string{"true"}}); !errors.Is(err, ErrLost) {
		t.Errorf("got error %v, want %v", err, ErrLost)
	}
}

func TestInputAndEnvironment(t *testing.T) {
	t.Setenv("ZKCOORD_TOKEN", "1") // of an outer command
	out := filepath.Join(t.TempDir(), "out")
	item := strings.Repeat("0123456789", 30000) // more than a pipe holds
	r, err := run(t, newLease(time.Minute), Command{
		Args: []string{"sh", "-c", `cat > "$0"; env | grep ^ZKCOORD_TOKEN= >> "$0"`, out}, Env: []string{"ZKCOORD_TOKEN=2"}, Stdin: []byte(item)})
	if err != nil || r.Code != 0 {
		t.Fatalf("got %+v, error %v; want code 0", r, err)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != item+"ZKCOORD_TOKEN=2\n" {
		t.Errorf("got %d bytes that end with %q, error %v; want the input and ZKCOORD_TOKEN=2", len(text), text[max(0, len(text)-60):], err)
	}
	// It is no error if a command does not read its input.
	if r, err := run(t, newLease(time.Minute), Command{Args: []string{"true"}, Stdin: []byte(item)}); err != nil || r.Code != 0 {
		t.Errorf("got %+v, error %v; want code 0", r, err)
	}
}

// On a terminal, the keys send signals to the command, and the command can read its input.
func TestTerminal(t *testing.T) {
	for _, c := range []struct{ name, script, keys, want string }{
		{"reads", `echo ready; read x; echo "got $x"; exit 9`, "hello\n", "result 9 false false <nil>"},
		{"interrupt", `trap 'echo int; exit 42' INT; echo ready; while :; do sleep 0.01; done`, "\x03", "result 42 false true <nil>"},
		{"interrupt that kills", `echo ready; exec sleep 1000`, "\x03", "result 130 false true <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openTerminal(t, "0+", "sh", "-c", c.script)
			p.until(t, "ready")
			if _, err := io.WriteString(p.terminal, c.keys); err != nil {
				t.Fatal(err)
			}
			if got := p.until(t, "result"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Ctrl-Z stops the command and the holder, so the lease is not renewed. If the two continue before
// the lease lapses, nothing is lost.
func TestSuspend(t *testing.T) {
	for _, resumed := range []bool{true, false} {
		t.Run(fmt.Sprint("resumed ", resumed), func(t *testing.T) {
			p := openTerminal(t, "0+", "sh", "-c", `echo ready; read x; exit 9`)
			p.until(t, "ready")
			if _, err := io.WriteString(p.terminal, "\x1a"); err != nil {
				t.Fatal(err)
			}
			p.stopped(t)
			// A process group becomes an orphan when none of its processes has a parent in another
			// group of the same session any more. In the holder's group, only the command has such
			// a parent: the guard. The holder has none, because no shell has started it from this
			// terminal. So the group becomes an orphan when the command ends. If the holder is
			// still stopped at that time, the kernel sends SIGHUP to it. This signal may set
			// Interrupted in the result.
			want := regexp.MustCompile("result 143 true (true|false) <nil>$")
			if resumed {
				want = regexp.MustCompile("result 9 false false <nil>$")
			} else {
				p.allGone(t)
			}
			signalTo(t, -p.Process.Pid, syscall.SIGCONT)
			if _, err := io.WriteString(p.terminal, "x\n"); err != nil {
				t.Fatal(err)
			}
			if got := p.until(t, "result"); !want.MatchString(got) {
				t.Errorf("got %q, want %v", got, want)
			}
		})
	}
}

// The type `terminal` is a holder that runs on a terminal, together with the master end of this
// terminal.
type terminal struct {
	*holding
	terminal *os.File
}

// openTerminal starts a holder with a terminal, like the foreground process of a shell.
func openTerminal(t *testing.T, lease string, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	needs.Installed(t, err)
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holding{Cmd: exec.Command(self, args...), mark: fmt.Sprintf("GUARD_TEST=%d %s", os.Getpid(), t.Name()), begun: time.Now()}
	h.Env = append(os.Environ(), holderMark+"="+lease, h.mark)
	h.Stdin, h.Stdout, h.Stderr = slave, slave, slave
	h.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.Process.Kill()
		_ = h.Wait()
		h.allGone(t)
	})
	h.lines = bufio.NewScanner(master)
	return &terminal{h, master}
}

func (p *terminal) stopped(t *testing.T) {
	t.Helper()
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), ") T ") {
			return
		}
		if time.Since(p.begun) > time.Minute {
			t.Fatalf("the holder was not stopped within a minute: %s", text)
		}
		<-time.After(poll)
	}
}
