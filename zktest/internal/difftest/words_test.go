package difftest

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// In the four-letter words, zktest and ZooKeeper report the same watches of one client. All words
// except mntr count only watches on data.
func TestWordsCountTheSameWatches(t *testing.T) {
	onEachVersion(t, func(t *testing.T, version string) {
		real, release := startReal(t, version, 1)
		e := zktest.Start(t, options(1, release))
		model := from(e.Servers(), 0, e.DialContext)
		if want, got := watchWords(t, real), watchWords(t, model); want != got {
			t.Errorf("got from zktest:\n%s\nwant, from ZooKeeper:\n%s", got, want)
		}
	})
}

func watchWords(t *testing.T, s *trace.Servers) string {
	t.Helper()
	l, err := trace.Dial(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	session, err := l.Handshake(wire.ConnectRequest{Timeout: int32(time.Minute.Milliseconds()), Password: make([]byte, 16)})
	if err != nil || session == nil {
		t.Fatalf("got no session: error %v", err)
	}
	for i, ask := range []struct {
		op   wire.Op
		path string
	}{{wire.OpGetData, "/"}, {wire.OpGetChildren, "/"}, {wire.OpGetChildren2, "/zookeeper"}, {wire.OpExists, "/none"}} {
		if _, err := l.Ask(ask.op, int32(i+1), wire.Append(nil, &wire.PathWatch{Path: ask.path, Watch: true})); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	for _, word := range []string{"wchs", "wchp", "wchc", "mntr"} {
		said, err := ensemble.FourLetters(t.Context(), s.Dial, s.Addresses[0], word)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.Collect(strings.Lines(said))
		if word == "mntr" {
			lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "zk_watch_count\t") })
		} else {
			slices.Sort(lines) // ZooKeeper's lines have the order of a hash table
		}
		fmt.Fprintf(&b, "%s: %q\n", word, lines)
	}
	return strings.ReplaceAll(b.String(), fmt.Sprintf("0x%x", session.SessionID), "the session")
}

// zktest and ZooKeeper answer the four-letter words in the same way, with and without a quorum. In
// both, killed servers refuse connections, and children are not listed in the order of creation.
func TestWordsWithAndWithoutAQuorum(t *testing.T) {
	config := ensemble.Config{TickTime: 500 * time.Millisecond}
	model, err := embedded.Start(embedded.Options{Config: config, Model: zktest.Options{TCP: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close(context.Background()) })
	want := loseQuorum(t, model)
	onEachVersion(t, func(t *testing.T, version string) {
		config.Version = version
		real, err := process.Start(t.Context(), process.Options{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { real.Close(context.Background()) })
		answers := loseQuorum(t, real)
		for what, got := range want {
			zookeeper := answers[what]
			if strings.HasPrefix(what, "mntr") && len(zookeeper) > len(got) {
				// ZooKeeper has several hundred lines more.
				zookeeper = slices.DeleteFunc(zookeeper, func(line string) bool { return !slices.Contains(got, line) })
			}
			if !slices.Equal(got, zookeeper) {
				t.Errorf("%s: got from zktest %q; want, from ZooKeeper: %q", what, got, zookeeper)
			}
		}
	})
}

// loseQuorum returns the leader's replies to the words, first with a quorum, and then after all
// other servers were killed. It leaves out numbers that differ between the two kinds of ensembles.
func loseQuorum(t *testing.T, e breakable) map[string][]string {
	ctx, said := t.Context(), map[string][]string{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(e.Ready(ctx))
	leader, err := e.Leader(ctx)
	must(err)
	say := func(when string, words ...string) {
		for _, word := range words {
			text, err := ensemble.FourLetters(ctx, e.DialContext, e.Servers()[leader], word)
			must(err)
			lines := strings.Split(text, "\n")
			for i, line := range lines {
				key, _, valued := strings.Cut(line, "=")
				switch {
				case word == "conf" && strings.HasPrefix(line, "server."):
					lines[i] = key
				case word == "conf" && valued && !slices.Contains(shared, key):
					lines[i] = key
				case word == "mntr":
					lines[i], _, _ = strings.Cut(line, "\t")
				}
			}
			if word == "mntr" {
				slices.Sort(lines)
			}
			said[fmt.Sprintf("%.4s %s", word, when)] = lines
		}
	}
	const mask = "stmk\x00\x00\x00\x00\x00\x00\x01\x02"
	say("of a new leader", "gtmk", "stmk", mask, "hash", "isro", "mntr", "conf")

	s := &stage{T: t, ctx: ctx, e: e}
	a := s.client("a", leader)
	var created []string
	for i := range 12 {
		name := fmt.Sprintf("%x", sha1.Sum([]byte{byte(i)}))
		created = append(created, name)
		a.create("/"+name, wire.ModePersistent)
	}
	frame, err := a.link.Ask(wire.OpGetChildren, a.link.NextXid(), wire.Append(nil, &wire.PathWatch{Path: "/"}))
	must(err)
	var list wire.Strings
	_, err = wire.Decode(frame, &wire.ReplyHeader{}, &list)
	must(err)
	list.Strings = slices.DeleteFunc(list.Strings, func(name string) bool { return name == "zookeeper" })
	said["children"] = []string{fmt.Sprintf("sorted %v", slices.IsSorted(list.Strings)), fmt.Sprintf("as created %v", slices.Equal(list.Strings, created))}
	a.link.Close()

	addresses, err := ensemble.Addresses(ctx, e)
	must(err)
	for i, address := range addresses {
		if i == leader {
			continue
		}
		must(e.Kill(ctx, i))
		_, err := net.Dial("tcp", address)
		said[fmt.Sprintf("dial a killed server %d", len(said))] = []string{fmt.Sprintf("refused %v", errors.Is(err, syscall.ECONNREFUSED))}
	}
	for { // until the leader has noticed that the quorum is lost
		status, err := ensemble.Ask(ctx, e.DialContext, e.Servers()[leader])
		if err == nil && !status.Serves() {
			break
		}
		s.pause()
	}
	say("without a quorum", "gtmk", mask, "hash", "isro", "mntr", "conf", "ruok", "srvr", "stat", "cons", "dump",
		"dirs", "srst", "crst", "wchs", "wchp", "wchc")
	return said
}

// The variable `shared` lists settings that the four-letter word conf shows. They have the same
// values on both ensembles.
var shared = []string{
	"secureClientPort", "tickTime", "minSessionTimeout", "maxSessionTimeout", "clientPortListenBacklog",
	"initLimit", "syncLimit", "electionAlg", "peerType", "version",
}
