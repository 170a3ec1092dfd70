package lock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// cycles returns three functions. The first one acquires and releases a Mutex. The second one does
// the same with the lock of go-zookeeper. The third one sends only the three requests that both
// locks make.
func cycles(tb testing.TB, servers []string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (mutex, zkLock, requests func() error) {
	s := recipetest.Must(session.Open(tb.Context(), session.Options{Servers: servers, Dial: dial}))
	tb.Cleanup(func() { s.Close() })
	client, events, err := zk.Connect(servers, 10*time.Second, zk.WithLogInfo(false),
		zk.WithDialer(func(network, address string, _ time.Duration) (net.Conn, error) {
			if dial == nil {
				return net.Dial(network, address)
			}
			return dial(context.Background(), network, address)
		}))
	recipetest.Check(tb, err)
	tb.Cleanup(client.Close)
	go func() {
		for range events {
		}
	}()
	m := lock.NewMutex(s, "/mutex", lock.Options{})
	mutex = func() error {
		g, err := m.Lock(tb.Context())
		if err != nil {
			return err
		}
		return g.Unlock(tb.Context())
	}
	acl := zk.WorldACL(zk.PermAll)
	l := zk.NewLock(client, "/zklock", acl)
	zkLock = func() error {
		if err := l.Lock(); err != nil {
			return err
		}
		return l.Unlock()
	}
	path := "/mutex/" + strings.Repeat("x", 32) + "-lock-"
	requests = func() error {
		created, err := client.Create(path, nil, zk.FlagEphemeralSequential, acl)
		if err != nil {
			return err
		}
		if _, _, err := client.Children("/mutex"); err != nil {
			return err
		}
		return client.Delete(created, -1)
	}
	recipetest.Check(tb, mutex()) // creates /mutex
	return mutex, zkLock, requests
}

// A client that acquires and releases a lock without contention makes 60 allocations, and 62 with
// the race detector. Of these, 39 are made by go-zookeeper itself, for the three requests that
// acquire and release the lock.
func TestCycleAllocatesLittle(t *testing.T) {
	mutex, _, _ := cycles(t, serversApart(t), nil)
	if n := testing.AllocsPerRun(1000, func() { recipetest.Check(t, mutex()) }); n > 62 {
		t.Errorf("got %v allocations, want at most 62", n)
	}
}

// serversEnv is an environment variable. If it is set, TestServersApart runs servers.
const serversEnv = "ZKCOORD_LOCK_TEST_SERVERS"

// serversApart starts servers in another process, so that their allocations do not count. It
// returns their addresses.
func serversApart(t *testing.T) []string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersApart$")
	cmd.Env = append(os.Environ(), serversEnv+"=1")
	life := recipetest.Must(cmd.StdinPipe())
	out := recipetest.Must(cmd.StdoutPipe())
	recipetest.Check(t, cmd.Start())
	t.Cleanup(func() {
		life.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("process of the servers: got %v, want no error", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	recipetest.Check(t, err)
	return strings.Split(strings.TrimSpace(line), ",")
}

// TestServersApart runs in the process that serversApart starts, and prints the addresses of its
// servers. It ends when the process that called serversApart closes the pipe or exits.
func TestServersApart(t *testing.T) {
	if os.Getenv(serversEnv) == "" {
		t.Skip("only for other tests")
	}
	fmt.Println(strings.Join(zktest.Start(t, zktest.Options{TCP: true}).Servers(), ","))
	_, err := io.Copy(io.Discard, os.Stdin)
	recipetest.Check(t, err)
}

// BenchmarkCycle compares a Mutex with the lock of go-zookeeper, and with the bare requests that
// both locks make. To measure only the client, run the servers in another process:
//
//	zkcoord ensemble --port 31810
//	ZKCOORD_BENCH_SERVERS=127.0.0.1:31810 go test ./lock -run '^$' -bench Cycle -benchtime 10000x
func BenchmarkCycle(b *testing.B) {
	servers, dial := recipetest.Ensemble(b)
	mutex, zkLock, requests := cycles(b, servers, dial)
	for _, c := range []struct {
		name  string
		cycle func() error
	}{{"mutex", mutex}, {"zk.Lock", zkLock}, {"requests", requests}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				recipetest.Check(b, c.cycle())
			}
		})
	}
}
