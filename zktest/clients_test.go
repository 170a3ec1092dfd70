//go:build linux

package zktest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/zktest"
)

// patience is the time limit for everything that a client does. On a quiet
// machine a client needs about ten seconds.
const patience = 4 * time.Minute

// Kazoo, a client in Python, works with an ensemble in the same way as with ZooKeeper. Its
// operations, watches and recipes behave as its manual says, even under contention and when a
// server or a session is lost.
func TestKazoo(t *testing.T) {
	needs.Installed(t, peers.Kazoo.Installed())
	serve(t, []string{"operations", "transactions", "acls", "watches", "chroot", "locks", "queues", "recipes", "another-node", "expiry"},
		peers.Python, "testdata/kazoo_client.py")
}

// Curator and ZooKeeper's own Java client work with an ensemble in the same
// way as with ZooKeeper.
func TestCurator(t *testing.T) {
	needs.Installed(t, peers.Curator.Installed())
	classes := t.TempDir()
	javac := exec.CommandContext(t.Context(), "javac", "-cp", peers.ClassPath(), "-d", classes, filepath.Join("testdata", "CuratorClient.java"))
	if out, err := javac.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	serve(t, []string{"operations", "transactions", "acls", "watches", "locks", "queues", "recipes", "another-node", "expiry"},
		"java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes+":"+peers.ClassPath(), "CuratorClient")
}

// The function `serve` runs a program as a client of an ensemble of three servers. It appends the
// connect string to the program's arguments. After each part of its work, the program prints
// "passed" and the name of the part. The names must be those in `want`. To request a fault, the
// program prints "do" with the fault, and waits for the answer.
func serve(t *testing.T, want []string, name string, args ...string) {
	e := zktest.Start(t, zktest.Options{TCP: true, TickTime: 500 * time.Millisecond, TTLNodes: true})
	cmd := exec.CommandContext(t.Context(), name, append(args, strings.Join(e.Servers(), ","))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer killer.Stop()
	passed, said := follow(t, e, in, out)
	err = cmd.Wait()
	if text, readErr := os.ReadFile(log.Name()); err != nil || said != nil || !slices.Equal(passed, want) {
		t.Errorf("passed %q, want %q; fault error %v, exit error %v\n%s", passed, want, said, err, text[max(0, len(text)-4000):])
	} else if readErr != nil {
		t.Error(readErr)
	}
}

// The function `follow` reads the program's output until the output ends, and injects the faults
// that the program requests.
func follow(t *testing.T, e *zktest.Ensemble, in io.WriteCloser, out io.Reader) (passed []string, err error) {
	lines := bufio.NewScanner(out)
	start := time.Now()
	for lines.Scan() {
		if part, ok := strings.CutPrefix(lines.Text(), "passed "); ok {
			t.Logf("%s after %v", part, time.Since(start).Round(time.Millisecond))
			passed = append(passed, part)
			continue
		}
		answer := "done"
		if failed := fault(e, lines.Text()); failed != nil {
			err, answer = failed, failed.Error()
		}
		if _, err := fmt.Fprintln(in, answer); err != nil {
			return passed, err
		}
	}
	return passed, err
}

// The function `fault` injects the fault that a line requests: "do kill ADDRESS", "do start
// ADDRESS" or "do expire SESSION".
func fault(e *zktest.Ensemble, line string) error {
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != "do" {
		return fmt.Errorf("the program printed %q, want do FAULT ARGUMENT", line)
	}
	if words[1] == "expire" {
		session, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return err
		}
		return e.Expire(session)
	}
	server := slices.Index(e.Servers(), words[2])
	switch {
	case server < 0:
		return fmt.Errorf("the program named server %s, want one of %v", words[2], e.Servers())
	case words[1] == "kill":
		e.Kill(server)
	case words[1] == "start":
		e.Start(server)
	default:
		return fmt.Errorf("the program requested the fault %q, want kill, start or expire", words[1])
	}
	return nil
}
