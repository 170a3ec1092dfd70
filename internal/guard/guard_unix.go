//go:build unix

package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The guard and the holder exchange lines of words. The guard reads these:
//
//	until INSTANT   the lease ends at this time, unless it is renewed
//	signal NUMBER   pass a signal on to the command
//	stop            end all processes, with SIGTERM first
//	kill            end all processes at once
//
// The end of the input means stop, because the holder is dead. The guard writes these:
//
//	failed REASON   the command was not started; "missing" is the first word if there is no such program
//	started PID
//	lapsing         the lease was not renewed in time, and the processes are being stopped
//	exited CODE     the command's first process has ended
//	gone            no process is left

// guardMark is the environment variable that makes this program a guard. Its value has four
// parameters: the grace time and the margin in nanoseconds, the first deadline, and the process
// group for the command.
const guardMark = "ZKCOORD_GUARD"

// poll is the interval at which SIGKILL is sent again until no process is left.
const poll = 5 * time.Millisecond

// Work does the guard's work and then ends the process, if Run has started this process as a guard.
// Otherwise Work does nothing. A program that calls Run must call Work first, when it starts.
func Work() {
	value := os.Getenv(guardMark)
	if value == "" {
		return
	}
	os.Unsetenv(guardMark)
	// The kernel kills the command when the thread that started the command ends, so that thread
	// must not end.
	runtime.LockOSThread()
	w := &worker{say: os.NewFile(4, "report")}
	if err := w.work(value, os.NewFile(3, "control"), os.Args[1:]); err != nil {
		fmt.Fprintln(w.say, "failed", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A worker is the state of the guard.
type worker struct {
	plan  plan
	tree  tree
	pid   int // of the command's first process
	own   bool
	say   *os.File
	ended bool // the command's first process has ended
	kills kills
	warned
}

// The type `kills` sends SIGKILL to all processes of a tree, at most once in each interval `poll`.
// The caller of the method `send` repeats the call until no process is left. Without the interval,
// each exit of one process would make the caller send SIGKILL to all the others again.
type kills struct{ next instant }

func (k *kills) send(t tree) {
	if now() >= k.next {
		t.signal(syscall.SIGKILL)
		k.next = now().add(poll)
	}
}

// The type `warned` records which actions the guard has done already.
type warned struct{ terminated, lapsing bool }

func (w *worker) work(setting string, control *os.File, args []string) error {
	var group int
	if _, err := fmt.Sscan(setting, &w.plan.grace, &w.plan.margin, &w.plan.deadline, &group); err != nil {
		return fmt.Errorf("bad setting %q: %w", setting, err)
	}
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	if err := adopt(); err != nil {
		return err
	}
	outlast()
	if err := w.start(args, group); err != nil {
		return err
	}
	letGo()
	fmt.Fprintln(w.say, "started", w.pid)

	lines, exits := make(chan string), make(chan exit)
	go read(control, lines)
	go reap(exits)
	w.attend(lines, exits)
	fmt.Fprintln(w.say, "gone")
	return nil
}

// The function `outlast` lets this process survive signals that are sent to all processes of a
// service or a terminal. It catches these signals instead of ignoring them, because the command
// would inherit ignored signals.
func outlast() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unlessIgnored(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)...)
	go func() {
		for range caught {
		}
	}()
}

// unlessIgnored removes the signals that this process ignores, for example under nohup. If they
// were caught here, the command would no longer ignore them.
func unlessIgnored(signals ...os.Signal) []os.Signal {
	return slices.DeleteFunc(signals, signal.Ignored)
}

// start starts the command's first process.
func (w *worker) start(args []string, group int) error {
	path, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return errors.New("missing no such program")
		}
		return errors.Unwrap(err)
	}
	w.own = group == 0
	w.pid, err = syscall.ForkExec(path, args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attributes(group),
	})
	if err != nil {
		return err
	}
	w.tree = treeOf(w.pid)
	return nil
}

// letGo closes the guard's copies of the command's input and output. Otherwise a process at the
// other end of a pipe would not notice when the command closes the pipe.
func letGo() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	_ = dup2(int(null.Fd()), 0)
	_ = dup2(int(null.Fd()), 1)
}

type exit struct {
	pid    int
	status syscall.WaitStatus
}

// reap waits for children until there are none.
func reap(exits chan<- exit) {
	for {
		var e exit
		var err error
		e.pid, err = syscall.Wait4(-1, &e.status, 0, nil)
		switch {
		case err == nil:
			exits <- e
		case !errors.Is(err, syscall.EINTR):
			close(exits)
			return
		}
	}
}

// The function `read` sends each line to the channel `lines`, and closes the channel at the end.
func read(from io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(from); s.Scan(); {
		lines <- s.Text()
	}
}

// attend follows the plan until no process is left.
func (w *worker) attend(lines <-chan string, exits <-chan exit) {
	timer := time.NewTimer(0)
	for exits != nil || !w.tree.gone() {
		timer.Reset(w.act())
		select {
		case line, ok := <-lines:
			if !ok {
				lines, line = nil, "stop"
			}
			w.obey(line)
		case e, ok := <-exits:
			if !ok {
				exits = nil
				w.plan.stop(now())
				break
			}
			if e.pid == w.pid {
				w.ended = true
				fmt.Fprintln(w.say, "exited", code(e.status))
				w.plan.stop(now()) // end the processes that the command leaves behind
			}
		case <-timer.C:
		}
	}
}

// The method `act` does the action that is due now. It returns how long the caller may wait for
// lines and exits before it calls `act` again.
func (w *worker) act() time.Duration {
	t := now()
	do, next := w.plan.due(t)
	if w.plan.lapsing && !w.lapsing {
		w.lapsing = true
		fmt.Fprintln(w.say, "lapsing")
	}
	switch do {
	case kill:
		w.kills.send(w.tree)
		return poll
	case terminate:
		if !w.terminated {
			w.terminated = true
			w.tree.signal(syscall.SIGTERM)
			w.tree.signal(syscall.SIGCONT) // a stopped process must run to end
		}
	}
	// Timers stop while the machine is suspended, but on Linux the clock of `now` continues. So an
	// action can become due during a suspension. The wait is at most half of the margin, so that
	// such an action is done soon after the resume.
	return min(max(time.Duration(next-t), time.Millisecond), max(w.plan.margin/2, poll))
}

// obey follows an order of the holder.
func (w *worker) obey(line string) {
	word, rest, _ := strings.Cut(line, " ")
	n, _ := strconv.ParseInt(rest, 10, 64)
	switch word {
	case "until":
		w.plan.renew(instant(n))
	case "signal":
		switch {
		case w.ended: // its process id may now belong to another process
		case w.own:
			_ = syscall.Kill(-w.pid, syscall.Signal(n))
		default:
			_ = syscall.Kill(w.pid, syscall.Signal(n))
		}
	case "kill":
		w.plan.killing = true
		w.plan.stop(now())
	case "stop":
		w.plan.stop(now())
	}
}

// code returns the exit code of a process in the form that shells use.
func code(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// Run runs the command as long as the hold lasts. If ctx ends, Run stops the processes of the
// command. If the command exits by itself, Run stops the processes that the command leaves behind.
// Run returns when no process is left.
//
// While the command runs, Run passes on signals that this process receives. On a terminal, the
// kernel itself sends the signals of keys, such as Ctrl-C, to the command, so Run does not pass
// them on.
//
// If the error is not nil, the command was not started. The error is ErrLost, a *StartError, the
// cause of ctx, or the reason why the guard could not be started.
func Run(ctx context.Context, held Held, c Command) (Result, error) {
	if err := adopt(); err != nil {
		return Result{}, err
	}
	h := &holder{command: c, held: held}
	group := groupFor()
	h.keys = group != 0
	passed := make(chan os.Signal, 16)
	signal.Notify(passed, unlessIgnored(syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH)...)
	defer signal.Stop(passed)
	if c.Passing != nil {
		c.Passing()
	}
	if err := c.ready(ctx, held); err != nil {
		return Result{}, err
	}
	if err := h.start(group); err != nil {
		return Result{}, err
	}
	defer h.close()
	return h.attend(ctx, passed)
}

// A holder is the state of one call of Run in the holder's process.
type holder struct {
	command  Command
	held     Held
	keys     bool // the command receives the signals of the terminal's keys from the kernel
	guard    int  // process id of the guard; 0 after its end
	child    int  // process id of the command's first process
	control  *os.File
	report   *os.File
	deadline time.Time // the deadline that was sent to the guard
	lost     time.Time // when the hold was lost; zero before
	result   Result
	exited   bool // the command's first process has exited, and the result has its code
	swept    bool
	kills    kills
}

// The function `until` converts t to an instant. It calls `now` before time.Until reads the time,
// so the result is never later than t.
func until(t time.Time) instant {
	at := now()
	return at.add(time.Until(t))
}

// start starts the guard.
func (h *holder) start(group int) error {
	program, err := self()
	if err != nil {
		return err
	}
	theirs := make([]*os.File, 0, 3)
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	in, err := h.command.input()
	if err != nil {
		return err
	}
	if in != nil {
		theirs = append(theirs, in)
	} else {
		in = os.Stdin
	}
	control, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	theirs, h.control = append(theirs, control), ours
	ours, report, err := os.Pipe()
	if err != nil {
		h.control.Close()
		return err
	}
	theirs, h.report = append(theirs, report), ours

	h.deadline = h.held.Deadline()
	setting := fmt.Sprintf("%s=%d %d %d %d", guardMark, h.command.Grace, h.command.Margin, until(h.deadline), group)
	h.guard, err = syscall.ForkExec(program, append([]string{filepath.Base(os.Args[0])}, h.command.Args...), &syscall.ProcAttr{
		// Environ keeps only the last value of each variable.
		Env:   (&exec.Cmd{Env: append(append(os.Environ(), h.command.Env...), setting)}).Environ(),
		Files: []uintptr{in.Fd(), os.Stdout.Fd(), os.Stderr.Fd(), control.Fd(), report.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		h.close()
		return fmt.Errorf("start the guard: %w", err)
	}
	return nil
}

func (h *holder) close() {
	h.control.Close()
	h.report.Close()
}

// attend keeps the guard informed until no process is left.
func (h *holder) attend(ctx context.Context, passed <-chan os.Signal) (Result, error) {
	lines, exits := make(chan string), make(chan exit)
	go read(h.report, lines)
	go reap(exits)
	tick := time.NewTicker(h.command.tick())
	defer tick.Stop()
	ended, lost := ctx.Done(), h.held.Context().Done()
	var failed error
	for exits != nil || lines != nil {
		select {
		case line, ok := <-lines:
			if !ok {
				// The channel is closed when the guard has ended. All lines of the guard have been
				// read by now, even if its exit was reported before its last lines.
				lines, h.guard = nil, 0
				break
			}
			if err := h.note(line); err != nil {
				failed = err
			}
		case _, ok := <-exits:
			if !ok {
				exits = nil
			}
		case s := <-passed:
			h.pass(s)
		case <-ended:
			ended = nil
			h.tell("stop")
		case <-lost:
			lost = nil
			h.result.Lost, h.lost = true, time.Now()
			h.tell("kill")
		case <-tick.C:
			h.inform()
		}
		h.sweep()
	}
	return h.result, failed
}

// note handles a line of the guard.
func (h *holder) note(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	n, _ := strconv.Atoi(rest)
	switch word {
	case "failed":
		why, missing := strings.CutPrefix(rest, "missing ")
		return &StartError{Name: h.command.Args[0], Missing: missing, Reason: why}
	case "started":
		h.child = n
	case "lapsing":
		h.result.Lost = true
		h.command.warn("the lease is not being renewed: stopping %s", h.command.Args[0])
	case "exited":
		h.result.Code, h.exited = n, true
	case "gone":
		h.child = 0
	}
	return nil
}

func (h *holder) pass(s os.Signal) {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP:
		h.result.Interrupted = true
	}
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
		if h.keys {
			return
		}
	}
	h.tell("signal %d", s)
}

// inform sends the deadline if it has changed.
func (h *holder) inform() {
	if d := h.held.Deadline(); d.After(h.deadline) && h.held.Context().Err() == nil {
		h.deadline = d
		h.tell("until %d", until(d))
	}
}

// The method `tell` sends a line to the guard. It ignores errors, because the method `sweep`
// handles the case that the guard is dead or stopped.
func (h *holder) tell(format string, args ...any) {
	_ = h.control.SetWriteDeadline(time.Now().Add(h.command.Margin / 4))
	_, _ = fmt.Fprintf(h.control, format+"\n", args...)
}

// sweep kills the processes of the command if the guard is dead or too late. The guard is too late
// if processes are left in one of these cases:
//
//   - Less than half of the margin is left before the deadline that was sent to the guard.
//   - The hold was lost, and more than a quarter of the margin has passed since then.
func (h *holder) sweep() {
	half := h.command.Margin / 2
	late := !h.lost.IsZero() && time.Since(h.lost) > half/2
	switch over := late || time.Until(h.deadline) < half; {
	case h.child == 0:
		return
	case h.guard != 0 && !over:
		return
	case !h.swept:
		h.swept = true
		h.result.Lost = h.result.Lost || over
		h.command.warn("the guard of %s is dead, stopped or late: killing its processes", h.command.Args[0])
		if !h.exited {
			h.result.Code = 128 + int(syscall.SIGKILL)
		}
	}
	h.kills.send(treeOf(h.child))
}
