package checker

import (
	"bufio"
	"bytes"
	"context"
	"regexp"

	"github.com/zkcoord/zkcoord/harness/history"
)

// serverTrouble matches log lines of internal errors of ZooKeeper, for example a broken invariant.
var serverTrouble = regexp.MustCompile(`java\.lang\.(AssertionError|OutOfMemoryError|StackOverflowError)|Severe unrecoverable error|digests are not matching|Epoch of (leader|follower) .* is ahead`)

// lostPeer matches a line that directly follows a "Severe unrecoverable error" and shows that this
// error is not internal: a follower lost the connection to its leader, or a leader lost its
// followers. The server then takes part in an election again. The line shows a
// NullPointerException if the follower was acknowledging a proposal (ZOOKEEPER-4409), or if the
// former leader was about to propose a request.
var lostPeer = regexp.MustCompile(`^java\.(io|net)\.\w*Exception|^java\.lang\.NullPointerException: .*("this\.learner\.sock"|LeaderZooKeeperServer\.getLeader\(\)") is null`)

// CleanLogs judges the log of each node. It reports a violation for each internal error of
// ZooKeeper in a log. The keys of the map `logs` are the indexes of the nodes.
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
