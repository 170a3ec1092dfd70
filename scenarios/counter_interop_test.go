package scenarios

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/session"
)

// Clients of three languages add to the same counters at the same time, on real servers: kazoo's
// Counter to one of format Decimal, Curator's DistributedAtomicLong to one of format BigEndian.
//
// Covers C2, C7.
func TestInteropCounter(t *testing.T) {
	needs.Installed(t, peers.Kazoo.Installed())
	needs.Installed(t, peers.Curator.Installed())
	const times = 40
	classes := t.TempDir()
	javac := exec.CommandContext(t.Context(), "javac", "-cp", peers.ClassPath(), "-d", classes, filepath.Join("testdata", "CuratorCounter.java"))
	if out, err := javac.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	e, err := options(t, time.Minute).Ensemble(t.Context(), ensemble.Config{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	addresses, err := ensemble.Addresses(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(t.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, peer := range map[string]struct {
		format counter.Format
		args   []string
	}{
		"/zkcoord-kazoo-counter":   {counter.Decimal, []string{peers.Python, filepath.Join("testdata", "kazoo_counter.py")}},
		"/zkcoord-curator-counter": {counter.BigEndian, []string{"java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes + ":" + peers.ClassPath(), "CuratorCounter"}},
	} {
		t.Run(path, func(t *testing.T) {
			args := append(peer.args[1:], strings.Join(addresses, ","), path, strconv.Itoa(times))
			theirs := exec.CommandContext(t.Context(), peer.args[0], args...)
			done := make(chan error, 1)
			var out []byte
			go func() {
				var err error
				out, err = theirs.CombinedOutput()
				done <- err
			}()
			n := counter.New(s, path, counter.Options{Format: peer.format})
			seen := make(map[int64]bool)
			pace := time.NewTicker(5 * time.Millisecond) // they need two requests for each of our one
			defer pace.Stop()
			for over := false; !over; {
				select {
				case err := <-done:
					if over = true; err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				case <-pace.C:
					value, err := n.Add(t.Context(), 1)
					if err != nil {
						t.Fatal(err)
					}
					if seen[value] {
						t.Errorf("%d was returned twice", value)
					}
					seen[value] = true
				}
			}
			if value, err := n.Get(t.Context()); value != int64(len(seen)+times) || err != nil {
				t.Errorf("got %d, %v, want %d of ours and %d of theirs", value, err, len(seen), times)
			}
			t.Logf("%d of ours, %d of theirs, which ended with %s", len(seen), times, out)
			if err := n.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.DeleteAll(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
}
