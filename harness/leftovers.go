package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
)

// runLabel is the profiler label of clients' goroutines. A goroutine inherits the label from the
// goroutine that starts it. So the label marks the goroutines of one run's clients.
const runLabel = "zkcoord-run"

// The method `leftovers` records what clients left behind after they closed everything: ephemeral
// znodes, watches, goroutines. These may take a moment to disappear, so the method waits. For each
// of these three kinds, it then records as a fact how many remain.
func (r *run) leftovers(ctx context.Context) error {
	until := time.Now().Add(r.env.grace / 2)
	znodes, err := settle(ctx, until, func() ([]string, error) { return r.admin.ephemerals(r.env.root) })
	if err != nil {
		return fmt.Errorf("count the ephemeral znodes: %w", err)
	}
	r.left("znodes", znodes)
	watches, err := settle(ctx, until, func() ([]string, error) { return r.env.watches(ctx) })
	if err == nil {
		// If the servers do not answer the command wchp, no number is recorded. The checker then
		// reports that the watches were not counted.
		r.left("watches", watches)
	}
	if r.label != "" {
		goroutines, err := settle(ctx, until, r.goroutines)
		if err != nil {
			return fmt.Errorf("count goroutines: %w", err)
		}
		r.left("goroutines", goroutines)
	}
	return nil
}

func (r *run) left(what string, found []string) {
	r.env.Fact(history.FactLeft, what, strconv.Itoa(len(found)), strings.Join(found[:min(3, len(found))], "; "))
}

// LeftBehind returns the ephemeral znodes of an ensemble, as "/path of 0xsession", and its watches,
// as "/path by 0xsession". It waits until they have disappeared, but not longer than the given
// duration, and returns those that remain.
func LeftBehind(ctx context.Context, e ensemble.Ensemble, within time.Duration) ([]string, error) {
	env := &Env{Ensemble: e, root: "/"}
	admin, err := newAdmin(ctx, env)
	if err != nil {
		return nil, err
	}
	defer admin.close()
	return settle(ctx, time.Now().Add(within), func() ([]string, error) {
		znodes, err := admin.ephemerals("/")
		watches, watchErr := env.watches(ctx)
		return append(znodes, watches...), errors.Join(err, watchErr)
	})
}

// The function `settle` calls the function `find` repeatedly and returns its last result. It stops
// when nothing is found, at the given time, or when ctx ends.
func settle(ctx context.Context, until time.Time, find func() ([]string, error)) (found []string, err error) {
	for {
		found, err = find()
		next := time.Now().Add(50 * time.Millisecond)
		if err == nil && len(found) == 0 || next.After(until) || !sleepUntil(ctx, next) {
			return found, err
		}
	}
}

// idleHTTP marks the goroutines of idle HTTP connections. When a client dials, the ensemble may
// request an address from its container engine by HTTP. The goroutines of that HTTP connection then
// inherit the client's label. But they do not belong to the client, so they are not counted.
const idleHTTP = "net/http.(*persistConn)"

// The method `goroutines` describes the goroutines that clients started and left running.
func (r *run) goroutines() ([]string, error) {
	var text strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		return nil, err
	}
	var found []string
	mark := fmt.Sprintf("%q:%q", runLabel, r.label)
	for stack := range strings.SplitSeq(text.String(), "\n\n") {
		if strings.Contains(stack, mark) && !strings.Contains(stack, idleHTTP) {
			found = append(found, deepest(stack))
		}
	}
	return found, nil
}

// The function `deepest` returns the innermost function of zkcoord or of the client library on a
// stack. If neither has a function on the stack, it returns the innermost function of all.
func deepest(stack string) string {
	name := "unknown"
	for line := range strings.Lines(stack) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "#" || !strings.HasPrefix(fields[1], "0x") {
			continue
		}
		if name == "unknown" || strings.Contains(fields[2], "/zk") {
			name = fields[2]
		}
		if strings.Contains(fields[2], "/zk") {
			break
		}
	}
	return name
}

// The method `watches` lists the watches below the run's root on all servers, by the four-letter
// command wchp.
func (e *Env) watches(ctx context.Context) ([]string, error) {
	var found []string
	for _, server := range e.Servers() {
		text, err := ensemble.FourLetters(ctx, e.Dial, server, "wchp")
		if err == nil && strings.Contains(text, "not in the whitelist") {
			err = fmt.Errorf("%s does not allow wchp: add it to 4lw.commands.whitelist in zoo.cfg",
				server)
		}
		if err != nil {
			return nil, err
		}
		path := ""
		for line := range strings.Lines(text) {
			switch line = strings.TrimRight(line, "\r\n"); {
			case strings.HasPrefix(line, "/"):
				path = line
			case strings.HasPrefix(line, "\t") && strings.HasPrefix(path, e.root):
				found = append(found, path+" by "+strings.TrimSpace(line))
			}
		}
	}
	return found, nil
}
