//go:build linux

package peers

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) {
	Work()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := CleanUp(); err != nil {
			panic(err)
		}
		os.Exit(code)
	}))
}

// Close ends the process of a peer, whatever the peer does. A peer that waits for a lock does not
// notice that its input has ended, and a stopped peer notices nothing. Close kills both. Peers that
// are idle or hold something close their sessions themselves.
func TestNoProcessOfAPeerIsLeft(t *testing.T) {
	for _, l := range []Library{Zkcoord, Kazoo, Curator} {
		t.Run(l.String(), func(t *testing.T) {
			needs.Installed(t, l.Installed())
			e := zktest.Start(t, zktest.Options{TCP: true})
			p, err := l.Client(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := func() *client.Client {
				s := client.Setup{Servers: e.Servers(), Timeout: 4 * time.Second, Path: "/locks/a", Recipe: client.Lock}
				c, err := client.Start(t.Context(), p, s, client.Options{Dial: (&net.Dialer{}).DialContext, HelloTime: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			idle, holds, stopped, waits := start(), start(), start(), start()
			if reply, _, err := holds.Grant(t.Context(), client.Request{Op: client.OpAcquire}); err != nil || reply.Token == 0 || reply.Node == "" {
				t.Fatalf("acquire: got %+v, %v; want a token and a znode", reply, err)
			}
			short := int64(100)
			if _, _, err := idle.Grant(t.Context(), client.Request{Op: client.OpAcquire, WaitMS: &short}); err == nil || session.OutcomeOf(err) == session.OK {
				t.Errorf("acquire of a lock that another client holds: got %v, want it to fail", err)
			}
			if err := stopped.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			waiting, giveUp := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, giveUp)
			if _, _, err := waits.Grant(waiting, client.Request{Op: client.OpAcquire}); session.OutcomeOf(err) != session.Indeterminate {
				t.Errorf("acquire with an ended context: got %v (%v), want an error (%v)",
					err, session.OutcomeOf(err), session.Indeterminate)
			}
			for name, c := range map[string]*client.Client{"idle": idle, "holds": holds, "stopped": stopped, "waits": waits} {
				c.Close()
				select {
				case <-c.Ended():
				default:
					t.Errorf("%s: its process has not ended after Close", name)
				}
			}
		})
	}
}
