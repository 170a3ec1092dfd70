//go:build linux

package peers

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/needs"
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

// The benchmark took one that came with an error for one that runs, and wrote to it.
func TestProgramThatCannotBeStartedIsNone(t *testing.T) {
	p, err := Program{Library: Zkcoord}.Start(t.Context(), nil, "no argument has a zero byte: \x00")
	if err == nil || p != nil {
		t.Errorf("%v, %v", p, err)
	}
}

// A peer that waits for a lock does not see that its input has ended, and one that is stopped sees nothing: they are
// killed. Those that are idle or hold something close their sessions.
func TestNoProcessOfAPeerIsLeft(t *testing.T) {
	for _, l := range []Library{Zkcoord, Kazoo, Curator} {
		t.Run(l.String(), func(t *testing.T) {
			needs.Installed(t, l.Installed())
			e := zktest.Start(t, zktest.Options{TCP: true})
			start := func() *Peer {
				p, err := Start(t.Context(), l, e.Servers(), (&net.Dialer{}).DialContext, 4*time.Second, "/locks/a", Mutex)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			idle, holds, stopped, waits := start(), start(), start(), start()
			if _, _, err := holds.Acquire(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if err := stopped.Process().Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := waits.process.in.Write([]byte("acquire\n")); err != nil {
				t.Fatal(err)
			}
			for name, p := range map[string]*Peer{"idle": idle, "holds": holds, "stopped": stopped, "waits": waits} {
				pid := p.process.child.Pid()
				p.Close()
				if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("%s: there still is a process %d: %v", name, pid, err)
				}
				if _, err := os.Stat(p.process.dir); !os.IsNotExist(err) {
					t.Errorf("%s: its directory: %v", name, err)
				}
			}
			select {
			case <-idle.Lost().Done():
			default:
				t.Error("a peer that was closed is not lost")
			}
		})
	}
}
