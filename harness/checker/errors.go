package checker

import (
	"bufio"
	"bytes"
	"context"
	"regexp"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
)

// noUnexpectedError judges what clients were told: each error of an operation or
// of a client's life is of a kind that the scenario expects. Others may be bugs of
// what is tested, so they are violations.
func noUnexpectedError(expected ...*regexp.Regexp) Checker {
	return New("run/no-unexpected-error", "no error but those that are expected", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind.Completion() || e.Kind == history.Crash {
				j.Checked(1)
				if e.Error != "" && !slices.ContainsFunc(expected, func(p *regexp.Regexp) bool { return p.MatchString(e.Error) }) {
					j.Violation([]history.Event{*e}, "%s got an error that nobody expects at %v, from %s: %s", e.Who(), e.Time, e.Op, e.Error)
				}
			}
		}
	})
}

// serverTrouble is what the log of a node does not say unless ZooKeeper itself
// went wrong: its invariants, not the consequences of faults.
var serverTrouble = regexp.MustCompile(`java\.lang\.(AssertionError|OutOfMemoryError|StackOverflowError)|Severe unrecoverable error|digests are not matching|Epoch of (leader|follower) .* is ahead`)

// lostPeer is the cause that a node gives below "Severe unrecoverable error" if
// its connection to the leader broke while it forwarded a request: a follower
// calls that severe, and looks for a leader again. One that acknowledges a proposal
// just then may find its socket gone already (ZOOKEEPER-4409), to the same effect.
var lostPeer = regexp.MustCompile(`^java\.(io|net)\.\w*Exception|^java\.lang\.NullPointerException: .*"this\.learner\.sock" is null`)

// CleanLogs judges the nodes' logs, by index: nothing in them says that ZooKeeper
// itself went wrong.
func CleanLogs(logs map[int][]byte) Checker {
	return single{Property{"run/clean-logs", "no node reports that it went wrong"}, func(_ context.Context, _ *history.History, j *Judge) {
		for node, log := range sorted(logs) {
			lines := bufio.NewScanner(bytes.NewReader(log))
			lines.Buffer(nil, 1<<20)
			severe := ""
			report := func(cause []byte) {
				if severe != "" && !lostPeer.Match(cause) {
					j.Violation(nil, "node %d: %s", node, severe)
				}
				severe = ""
			}
			for lines.Scan() {
				j.Checked(1)
				report(lines.Bytes())
				if serverTrouble.Match(lines.Bytes()) {
					severe = lines.Text()
				}
			}
			report(nil)
			if err := lines.Err(); err != nil {
				j.Unknown("the log of node %d was not read to its end: %v", node, err)
			}
		}
		j.NotExercised("no node keeps a log")
	}}
}
