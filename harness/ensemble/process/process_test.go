package process

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

func TestMain(m *testing.M) {
	if os.Getenv("ZKCOORD_TEST_ORPHANS") != "" {
		orphans()
	}
	goleak.VerifyTestMain(m)
}

func needJava(t *testing.T) {
	t.Helper()
	_, _, err := Find(t.Context(), "")
	needs.Installed(t, err)
}

func TestContract(t *testing.T) {
	needJava(t)
	dir, logs := t.TempDir(), t.TempDir()
	e, err := Start(t.Context(), Options{Config: ensemble.Config{LogDir: logs, Later: []string{zkversion.Oldest}}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
	empty(t, dir)
	for _, name := range []string{"node0.log", "node1.log", "node2.log"} {
		if text, err := os.ReadFile(filepath.Join(logs, name)); err != nil || !strings.Contains(string(text), "QuorumPeer") {
			t.Errorf("log %s: got %d bytes, %v; want one that contains QuorumPeer", name, len(text), err)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("got entries in %s: %v, %v; want none", dir, left, err)
	}
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer time.AfterFunc(200*time.Millisecond, func() { cancel(interrupted) }).Stop()
	if _, err := Start(ctx, Options{Dir: dir}); !errors.Is(err, interrupted) {
		t.Errorf("got error %v, want %v", err, interrupted)
	}
	empty(t, dir)
}

func TestATakenPortIsSaid(t *testing.T) {
	needJava(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(t.Context(), Options{Config: ensemble.Config{Port: l.Addr().(*net.TCPAddr).Port}, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("got error %v, want one that contains %q", err, "choose another port")
	}
}

func TestADeadNodeIsSaidWithItsLog(t *testing.T) {
	needJava(t)
	_, err := Start(t.Context(), Options{Config: ensemble.Config{JVMFlags: []string{"-XX:+NoSuchFlag"}}, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "NoSuchFlag") {
		t.Errorf("got error %v, want one that contains %q", err, "NoSuchFlag")
	}
}

// The function `orphans` runs in a separate process. It starts an ensemble that nothing closes, and
// then prints the address of a node.
func orphans() {
	e, err := Start(context.Background(), Options{Dir: os.Getenv("ZKCOORD_TEST_ORPHANS")})
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(e.nodes[0].clientAddress())
	select {}
}

func TestAKilledRunLeavesNoProcessAndItsDataAreSwept(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ZKCOORD_TEST_ORPHANS="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 200)
	n, err := out.Read(said)
	address := string(said[:n])
	if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Fatalf("got output %q, %v; want a loopback address", address, err)
	}
	owner.Sweep(dir)
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("got %d directories after the sweep, want the 1 of the live run", len(left))
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(end) {
			t.Fatalf("got a connection to %s 10s after the parent of the node was killed, want "+
				"that the node has ended", address)
		}
	}
	owner.Sweep(dir)
	empty(t, dir)
}

// Regression: Ready queries a node twice. A node that lost its leader between the two queries was
// mistaken for the server of another program, and the run did not recover.
func TestNodeWithoutAQuorumIsNotForeign(t *testing.T) {
	for conf, want := range map[string]error{
		"clientPort=1\ndataDir=/a/node0/data/version-2\n":             nil,
		"This ZooKeeper instance is not currently serving requests\n": errQuorumLost,
		"": errQuorumLost,
	} {
		if err := ours(conf, "/a/node0"); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", conf, err, want)
		}
	}
	for _, conf := range []string{
		"clientPort=1\ndataDir=/b/node0/data/version-2\n", "conf is not executed because it is not in the whitelist.",
	} {
		if err := ours(conf, "/a/node0"); err == nil || errors.Is(err, errQuorumLost) {
			t.Errorf("%q: got %v, want an error about another program", conf, err)
		}
	}
}
