package zktest_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var replays = flag.Int("replays", 10, "number of runs of one seed with five sessions")

// A diary records everything that one client received, with times.
type diary struct {
	client int
	start  time.Time
	lines  []string
}

func (d *diary) write(format string, args ...any) {
	line := fmt.Sprintf("client %d at %v: ", d.client, time.Since(d.start)) + fmt.Sprintf(format, args...)
	d.lines = append(d.lines, line)
}

// The function `replayed` runs five clients. Each watches six nodes, and creates and deletes them,
// while servers fail. `replayed` returns everything that was sent over connections and between
// servers, and everything that the clients received. Each client does one thing at a time, because
// the seed does not decide which of two goroutines of a client runs first. A client has two
// goroutines when its session is lost, so breakServers injects only faults that end no session.
func replayed(t *testing.T, seed uint64) []byte {
	var trace bytes.Buffer
	diaries := make([]diary, 5)
	t.Run("", func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Seed: seed, Step: true, Trace: &trace})
			stop := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			var drive, clients sync.WaitGroup
			drive.Go(func() { e.Drive(stop) })
			for i := range diaries {
				diaries[i].client, diaries[i].start = i, time.Now()
				clients.Go(func() { live(ctx, e, seed, &diaries[i]) })
			}
			breakServers(e)
			cancel()
			clients.Wait()
			close(stop)
			drive.Wait()
		})
	})
	for i := range diaries {
		fmt.Fprintln(&trace, strings.Join(diaries[i].lines, "\n"))
	}
	return trace.Bytes()
}

// The function `live` runs one client, in one session after another.
func live(ctx context.Context, e *zktest.Ensemble, seed uint64, d *diary) {
	r := rand.New(rand.NewPCG(seed, uint64(d.client)))
	time.Sleep(time.Duration(d.client) * 7 * time.Millisecond)
	opts := session.Options{
		NoIdleLease: true, // an idle session would send syncs at fixed times, concurrently with the program
		Servers:     e.Servers(), Dial: e.DialContext, Timeout: 6 * time.Second,
		Rand: &lockedReader{r: rand.NewChaCha8([32]byte{byte(seed), byte(d.client)})},
	}
	session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		d.write("session %x", s.ID())
		defer func() { d.write("over: %v", s.Err()) }()
		watches := make([]*session.Watch, 6)
		for ctx.Err() == nil {
			for i, w := range watches {
				watches[i] = look(ctx, s, fmt.Sprintf("/n%d", i), w, d)
			}
			path := fmt.Sprintf("/n%d", r.IntN(len(watches)))
			switch r.IntN(4) {
			case 0:
				name, err := recipe.CreateProtected(ctx, s, "/", "own", nil, session.EphemeralSequential)
				d.write("own node %v: %v", name, err)
			case 1:
				d.write("delete %s: %v", path, s.Delete(ctx, path, session.AnyVersion))
			default:
				_, err := s.Create(ctx, path, nil, session.Ephemeral)
				d.write("create %s: %v", path, err)
			}
			sleep(ctx, time.Duration(1+r.IntN(500))*time.Millisecond)
		}
		return context.Cause(ctx)
	})
}

// The function `look` returns w if w has not fired. If w is nil or has fired, it sets a new watch
// on path and returns that watch.
func look(ctx context.Context, s *session.Session, path string, w *session.Watch, d *diary) *session.Watch {
	if w != nil {
		select {
		case ev := <-w.C:
			d.write("%v of %s", ev.Type, ev.Path)
		default:
			return w
		}
	}
	stat, w, err := s.ExistsWatch(ctx, path)
	if err != nil {
		d.write("%s: %v", path, err)
		return nil
	}
	d.write("%s exists: %v", path, stat != nil)
	return w
}

// A lockedReader is safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// breakServers injects faults for half a minute. No session is lost.
func breakServers(e *zktest.Ensemble) {
	time.Sleep(time.Second)
	e.Lag(1, 5*time.Millisecond)
	e.Inject(zktest.Rule{Op: "create", Skip: 3, Fate: zktest.CloseBeforeReply})
	e.Inject(zktest.Rule{Op: "delete", Skip: 2, Fate: zktest.CloseBeforeRequest})
	time.Sleep(2 * time.Second)
	e.ElectLeader((e.Leader() + 1) % 3)
	time.Sleep(4 * time.Second)
	e.Isolate((e.Leader() + 1) % 3)
	time.Sleep(12 * time.Second)
	e.Mend()
	time.Sleep(time.Second)
	killed := e.Leader()
	e.Kill(killed)
	time.Sleep(10 * time.Second)
	e.Start(killed)
	time.Sleep(5 * time.Second)
}

func TestSameSeedGivesTheSameRunOfSessions(t *testing.T) {
	want := replayed(t, 1)
	for _, part := range []string{"leads epoch 3", "setWatches", "EventNodeDeleted", "own node"} {
		if !bytes.Contains(want, []byte(part)) {
			t.Errorf("trace does not contain %q", part)
		}
	}
	for i := range *replays - 1 {
		if got := replayed(t, 1); !bytes.Equal(got, want) {
			t.Fatalf("run %d differs at byte %d of %d:\n%s", i, differ(got, want), len(want), around(got, want))
		}
	}
	if bytes.Equal(replayed(t, 2), want) {
		t.Error("seed 2 gave the same trace as seed 1")
	}
	t.Logf("%d runs of %d bytes, %d lines", *replays, len(want), bytes.Count(want, []byte("\n")))
}
