package difftest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The four-letter words report the watches of one client. All of them except
// mntr count only watches on data.
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
			slices.Sort(lines) // they have the order of a hash table
		}
		fmt.Fprintf(&b, "%s: %q\n", word, lines)
	}
	return strings.ReplaceAll(b.String(), fmt.Sprintf("0x%x", session.SessionID), "the session")
}
