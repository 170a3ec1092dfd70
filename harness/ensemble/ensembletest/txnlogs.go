package ensembletest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/witness"
)

// txnLogs compares the logs of all nodes, one of which is down, with the replies that a client got.
func (c contract) txnLogs(t *testing.T) {
	source := capability[ensemble.TxnLogs](t, c)
	c.ready(t)
	conn := c.connect(t)
	before := time.Now()
	path, err := conn.Create("/witness", []byte("data"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	must(t, err)
	_, stat, err := conn.Get(path)
	must(t, err)
	session := conn.SessionID()
	conn.Close()
	if k, able := c.Ensemble.(ensemble.Killer); able {
		must(t, k.Kill(t.Context(), len(c.Servers())-1))
	}
	var servers []witness.Server
	for node := range c.Servers() {
		dir := t.TempDir()
		must(t, source.CopyTxnLogs(t.Context(), node, dir))
		server, err := witness.Read(fmt.Sprintf("n%d", node), os.DirFS(dir))
		must(t, err)
		servers = append(servers, server)
	}
	log := witness.Merge(servers...)
	life := log.Life(stat.Czxid, "witness")
	if life == nil || life.Path != path || life.Session != session || !life.Closed {
		t.Errorf("the logs of %d transactions have %+v for zxid 0x%x, want %s of session 0x%x, deleted when the session closed",
			len(log.Txns), life, stat.Czxid, path, session)
	} else if d := life.DeletedAt.Sub(before); d < -time.Second || d > patience {
		t.Errorf("got a deletion %v after the create, want from -1s to %v", d, patience)
	}
	if len(log.Differ) > 0 || log.Gaps > 0 {
		t.Errorf("got %d differences and %d gaps in the logs of %d nodes, want none",
			len(log.Differ), log.Gaps, len(servers))
	}
}
