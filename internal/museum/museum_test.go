package museum

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

var (
	exhibits = flag.Bool("exhibits", false, "reproduce the bugs; each takes about half a minute")
	logs     = flag.String("logs", "", "directory to keep the logs of the servers in; empty keeps none")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An exhibit is a bug of ZooKeeper.
type exhibit struct {
	has, lacks []string        // the versions with the bug, and the versions without it
	config     ensemble.Config // of the servers

	// The function `show` performs the steps, and returns what it has observed of the bug, or "" if
	// the bug did not appear.
	show func(*room) (seen string)
}

// The method `run` performs the steps on each version, and checks on which versions the bug
// appears.
func (x exhibit) run(t *testing.T) {
	if !*exhibits {
		t.Skip("takes half a minute for each version: see -exhibits")
	}
	for _, version := range slices.Concat(x.has, x.lacks) {
		want := slices.Contains(x.has, version)
		t.Run(version, func(t *testing.T) {
			_, _, err := process.Find(t.Context(), version)
			needs.Installed(t, err)
			r := open(t, version, x.config)
			seen := x.show(r)
			if appears := seen != ""; appears != want {
				t.Errorf("the bug appears: got %v, want %v", appears, want)
			}
			t.Log(cmp.Or(seen, "the bug does not appear"))
		})
	}
}

// A room is an ensemble of servers of one version of ZooKeeper. If a step in the room fails, the
// test ends.
type room struct {
	*testing.T
	*process.Ensemble
	leader int // at the start
}

func open(t *testing.T, version string, config ensemble.Config) *room {
	config.Version = version
	if *logs != "" {
		config.LogDir = filepath.Join(*logs, t.Name())
	}
	e, err := process.Start(t.Context(), process.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r := &room{T: t, Ensemble: e}
	r.leader = r.leads()
	// Without this transaction, a server would later receive a snapshot (SNAP) from the leader in
	// place of the missing transactions (DIFF).
	r.create(r.leader, "/first", 1)
	for i := range r.Servers() {
		if !r.has(i, "/first0") {
			t.Fatalf("server %d does not have /first0", i)
		}
	}
	return r
}

func (r *room) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// The method `leads` waits until the servers that run have a quorum, and returns their leader.
func (r *room) leads() int {
	r.Helper()
	r.must(r.Ready(r.Context()))
	leader, err := r.Leader(r.Context())
	r.must(err)
	return leader
}

// The method `others` returns all servers except the given ones, the highest number first.
func (r *room) others(but ...int) (all []int) {
next:
	for i := len(r.Servers()) - 1; i >= 0; i-- {
		for _, b := range but {
			if b == i {
				continue next
			}
		}
		all = append(all, i)
	}
	return all
}

func (r *room) kill(nodes ...int) {
	r.Helper()
	for _, i := range nodes {
		r.must(r.Kill(r.Context(), i))
	}
}

// catchUp makes a follower, `behind`, fetch n new znodes from the leader. It kills `behind` and
// then creates the znodes. Next it kills the other follower, so that the leader has no quorum. It
// calls `begin`, starts `behind`, and returns when the leader has a quorum again.
func (r *room) catchUp(path string, n int, begin func(behind int)) (behind, other int) {
	r.Helper()
	followers := r.others(r.leader)
	behind, other = followers[0], followers[1]
	r.kill(behind)
	r.create(r.leader, path, n)
	r.kill(other)
	r.await("the leader has no quorum", func() bool { return !r.serves(r.leader) })
	begin(behind)
	r.start(behind)
	r.await("the leader has a quorum", func() bool { return r.serves(r.leader) })
	return behind, other
}

func (r *room) start(nodes ...int) {
	r.Helper()
	for _, i := range nodes {
		r.must(r.Start(r.Context(), i))
	}
}

func (r *room) await(what string, holds func() bool) {
	r.Helper()
	for end := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(end) {
			r.Fatalf("waited a minute until %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// The method `serves` reports whether a server has a quorum.
func (r *room) serves(node int) bool {
	status, err := ensemble.Ask(r.Context(), r.DialContext, r.Servers()[node])
	return err == nil && status.Serves()
}

// The method `logged` returns how often the log of a server contains a text.
func (r *room) logged(node int, text string) int {
	r.Helper()
	log, err := r.Logs(r.Context(), node)
	r.must(err)
	defer log.Close()
	all, err := io.ReadAll(log)
	r.must(err)
	return bytes.Count(all, []byte(text))
}

// The method `wrote` reports whether the transaction log of a server contains a text.
func (r *room) wrote(node int, text string) bool {
	r.Helper()
	files, err := filepath.Glob(filepath.Join(r.DataDir(node), string(ensemble.StoredLog)+".*"))
	r.must(err)
	return slices.ContainsFunc(files, func(name string) bool {
		log, err := os.ReadFile(name)
		r.must(err)
		return bytes.Contains(log, []byte(text))
	})
}

// The method `snapshots` returns the number of snapshots that a server has stored.
func (r *room) snapshots(node int) int {
	r.Helper()
	files, err := filepath.Glob(filepath.Join(r.DataDir(node), string(ensemble.StoredSnapshot)+".*"))
	r.must(err)
	return len(files)
}

func (r *room) client(node int) *trace.Link {
	r.Helper()
	l, err := trace.Dial(r.Context(), &trace.Servers{Addresses: r.Servers(), Dial: r.DialContext}, node)
	r.must(err)
	session, err := l.Handshake(wire.ConnectRequest{Timeout: 10000, Password: make([]byte, 16)})
	r.must(err)
	if session == nil {
		r.Fatalf("server %d gave no session", node)
	}
	return l
}

func create(path string) []byte {
	return wire.Append(nil, &wire.CreateRequest{Path: path, ACL: []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}})
}

// The method `create` creates n znodes at a server, which acknowledges each of them. They are named
// path0, path1 and so on.
func (r *room) create(node int, path string, n int) {
	r.Helper()
	c := r.client(node)
	defer c.Close()
	for i := range n {
		r.ask(c, wire.OpCreate, create(fmt.Sprint(path, i)), wire.OK)
	}
}

func (r *room) ask(c *trace.Link, op wire.Op, body []byte, wanted ...wire.Code) wire.Code {
	r.Helper()
	frame, err := c.Ask(op, c.NextXid(), body)
	r.must(err)
	if frame == nil {
		r.Fatalf("%v: got a closed connection, want an answer", op)
	}
	h, _, err := wire.CutReply(frame)
	r.must(err)
	for _, w := range wanted {
		if h.Err == w {
			return h.Err
		}
	}
	r.Fatalf("%v: got code %v, want one of %v", op, h.Err, wanted)
	return h.Err
}

// The method `has` reports whether a server shows a znode after a sync.
func (r *room) has(node int, path string) bool {
	r.Helper()
	c := r.client(node)
	defer c.Close()
	r.ask(c, wire.OpSync, wire.Append(nil, &wire.Path{Path: "/"}), wire.OK)
	return r.ask(c, wire.OpExists, wire.Append(nil, &wire.PathWatch{Path: path}), wire.OK, wire.NoNode) == wire.OK
}

// The method `missing` returns the znodes among path0 to path(n-1) that a server does not have.
func (r *room) missing(node int, path string, n int) (none []string) {
	r.Helper()
	for i := range n {
		if p := fmt.Sprint(path, i); !r.has(node, p) {
			none = append(none, p)
		}
	}
	return none
}
