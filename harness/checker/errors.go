package checker

import (
	"bufio"
	"bytes"
	"context"
	"regexp"

	"github.com/zkcoord/zkcoord/harness/history"
)

// serverTrouble matches log lines that a node writes only if ZooKeeper itself went wrong: a broken
// invariant, not the consequence of a fault.
var serverTrouble = regexp.MustCompile(`java\.lang\.(AssertionError|OutOfMemoryError|StackOverflowError)|Severe unrecoverable error|digests are not matching|Epoch of (leader|follower) .* is ahead`)

// lostPeer matches the cause that a node logs below "Severe unrecoverable error" if its connection
// to the leader broke while it forwarded a request. A follower logs that as severe, then searches
// for a leader again. A follower that acknowledges a proposal at that moment may find its socket
// gone (ZOOKEEPER-4409), with the same effect.
var lostPeer = regexp.MustCompile(`^java\.(io|net)\.\w*Exception|^java\.lang\.NullPointerException: .*"this\.learner\.sock" is null`)

// CleanLogs judges the nodes' logs: no line says that ZooKeeper itself went wrong. The map has the
// log of each node by the index of the node.
func CleanLogs(logs map[int][]byte) Checker {
	return single{Property{"run/clean-logs", "no server logs an internal error"}, func(_ context.Context, _ *history.History, j *Judge) {
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
				j.Unknown("the log of node %d could not be read to its end: %v", node, err)
			}
		}
		j.NotExercised("no node keeps a log")
	}}
}
