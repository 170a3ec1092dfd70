package museum

import (
	"fmt"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// ZOOKEEPER-4925: a server that was behind receives transactions to catch up, but does not keep
// them for servers that are further behind. If this server later leads, the servers that are
// further behind never get these transactions.
func TestZooKeeper4925LosesData(t *testing.T) {
	exhibit{has: []string{"3.9.3"}, lacks: []string{"3.9.6"}, config: ensemble.Config{Nodes: 5}, show: func(r *room) string {
		followers := r.others(r.leader)
		behind, further := followers[0], followers[1]
		r.kill(further)
		r.create(r.leader, "/kept", 3)
		r.kill(behind)
		r.create(r.leader, "/lost", 3)
		r.start(behind)
		r.leads()
		r.create(r.leader, "/after", 3)
		r.kill(r.leader)
		if now := r.leads(); now != behind {
			r.Fatalf("server %d leads, want %d, which has the highest number", now, behind)
		}
		r.start(further)
		r.leads()
		if none := append(r.missing(further, "/kept", 3), r.missing(further, "/after", 3)...); len(none) > 0 {
			r.Errorf("server %d does not have %v", further, none)
		}
		if none := r.missing(behind, "/lost", 3); len(none) > 0 {
			r.Errorf("the leader does not have %v", none)
		}
		if none := r.missing(further, "/lost", 3); len(none) > 0 {
			return fmt.Sprintf("server %d follows, and never gets %v, which the leader has", further, none)
		}
		return ""
	}}.run(t)
}

// ZOOKEEPER-4643, -4646 and -4785: a follower stores the epoch of a new leader before the
// transactions that it has received are on its disk. Suppose that the follower then loses these
// transactions in a crash. The stored epoch still makes the follower the next leader, and the other
// servers drop the transactions too.
func TestZooKeeper4646LosesData(t *testing.T) {
	const slow = 4 * time.Second
	config := ensemble.Config{Syncs: true, InitLimit: 100}
	exhibit{has: []string{"3.8"}, lacks: []string{"3.9.6"}, config: config, show: func(r *room) string {
		behind, other := r.catchUp("/lost", 3, func(behind int) { r.must(r.SlowSync(r.Context(), behind, slow)) })
		r.kill(behind, r.leader)
		lost, err := r.LoseUnsynced(r.Context(), behind)
		r.must(err)
		r.must(r.SlowSync(r.Context(), behind, 0))
		r.start(behind, other)
		r.leads()
		for _, i := range []int{behind, other} {
			switch none := r.missing(i, "/lost", 3); len(none) {
			case 0:
				return ""
			case 3:
			default:
				r.Errorf("server %d does not have %v", i, none)
			}
		}
		return fmt.Sprintf("a quorum does not have /lost0, which was acknowledged; the disk of server %d lost %d bytes", behind, lost)
	}}.run(t)
}

// ZOOKEEPER-4394: a follower that joins gets the commit of a transaction that was proposed before
// the join. The follower then ends its connection with a NullPointerException.
func TestZooKeeper4394EndsAFollower(t *testing.T) {
	const slow = 3 * time.Second
	config := ensemble.Config{SyncLimit: 100, InitLimit: 100}
	exhibit{has: []string{"3.8"}, lacks: []string{"3.9.6"}, config: config, show: func(r *room) string {
		followers := r.others(r.leader)
		joining, other := followers[0], followers[1]
		c := r.client(r.leader)
		defer c.Close()
		r.kill(joining)
		late := ensemble.Edge{From: r.leader, To: other}
		r.must(r.Cut(r.Context(), late))
		r.must(c.Write(&wire.RequestHeader{Xid: c.NextXid(), Op: wire.OpCreate}, create("/x")))
		r.await("the leader logs it", func() bool { return r.wrote(r.leader, "/x") })
		r.must(r.SetPace(r.Context(), ensemble.Pace{Delay: slow}, ensemble.Edge{From: joining, To: r.leader}))
		const joins = "Learner received NEWLEADER message"
		before := r.logged(joining, joins)
		r.start(joining)
		r.await("the follower joins", func() bool { return r.logged(joining, joins) > before })
		r.must(r.Mend(r.Context(), late)) // the other follower acknowledges /x, which commits it
		r.await("the follower serves", func() bool { return r.serves(joining) })
		if !r.has(joining, "/x") {
			r.Errorf("the follower does not have /x")
		}
		if r.logged(joining, "java.lang.NullPointerException") > 0 {
			return "NullPointerException in the log of the follower, which then joins again"
		}
		return ""
	}}.run(t)
}

// ZOOKEEPER-4685: a follower first acknowledges the transactions that it has received, and then the
// leader's message NEWLEADER. The leader mistakes the acknowledgement of a transaction for the
// acknowledgement of NEWLEADER, and gives up its leadership.
func TestZooKeeper4685DelaysAnElection(t *testing.T) {
	config := ensemble.Config{InitLimit: 10, JVMFlags: []string{"-Dzookeeper.maxBatchSize=1"}}
	exhibit{has: []string{"3.8"}, lacks: []string{"3.9.6"}, config: config, show: func(r *room) string {
		var began time.Time
		r.catchUp("/x", 400, func(int) { began = time.Now() })
		if r.logged(r.leader, "is from a different epoch") > 0 {
			return fmt.Sprintf("the leader rejects the follower's acknowledgement; they serve after %v", time.Since(began).Round(time.Millisecond))
		}
		return ""
	}}.run(t)
}

// ZOOKEEPER-4837: a server that was about to lead stores a snapshot with a transaction that no
// quorum has. Later the server drops the transaction from its log, but not from the snapshot. So
// the server shows a znode that no other server has.
func TestZooKeeper4837ShowsADroppedNode(t *testing.T) {
	const slow = 3 * time.Second
	config := ensemble.Config{SyncLimit: 40, InitLimit: 40}
	exhibit{has: []string{"3.9.6"}, config: config, show: func(r *room) string {
		followers := r.others(r.leader)
		a, b := followers[0], followers[1]
		c := r.client(r.leader)
		defer c.Close()
		r.must(r.Pause(r.Context(), a))
		r.must(r.Pause(r.Context(), b))
		before := r.snapshots(r.leader)
		r.must(c.Write(&wire.RequestHeader{Xid: c.NextXid(), Op: wire.OpCreate}, create("/dropped")))
		r.await("the leader logs it", func() bool { return r.wrote(r.leader, "/dropped") })
		r.kill(r.leader, a, b)

		// The leader has the longest log, so the server `a` votes for the leader. The leader stores
		// a snapshot and waits for the packets of `a`, which are late.
		r.must(r.SetPace(r.Context(), ensemble.Pace{Delay: slow}, ensemble.Edge{From: a, To: r.leader}))
		r.start(r.leader, a)
		r.await("it stores a snapshot", func() bool { return r.snapshots(r.leader) > before })
		r.kill(a)
		r.kill(r.leader)
		r.must(r.SetPace(r.Context(), ensemble.Pace{}, ensemble.Edge{From: a, To: r.leader}))

		// The old leader must cut back its log when it joins as a follower of the new leader. The
		// new leader requests this only before the first transaction of the new epoch. After that
		// transaction, it would send a snapshot instead. So the old leader has to join before that
		// transaction. No client connects before the old leader has joined, because a new session
		// is a transaction.
		r.start(a, b)
		r.leads()
		r.start(r.leader)
		r.leads()
		var have []int
		for i := range r.Servers() {
			if r.has(i, "/dropped") {
				have = append(have, i)
			}
		}
		if len(have) == 1 && have[0] == r.leader {
			return fmt.Sprintf("server %d shows /dropped, which the other two do not have", r.leader)
		}
		if len(have) > 0 {
			r.Errorf("servers %v show /dropped, want none or server %d alone", have, r.leader)
		}
		return ""
	}}.run(t)
}
