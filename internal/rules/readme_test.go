package rules

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// The program of the README runs and ends when it is interrupted. If no server answers, the program
// soon reports why it waits. Regression: a newcomer who gave a wrong address got no output.
func TestReadmeProgramRuns(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/readme").CombinedOutput(); err != nil {
		t.Fatalf("build the program of the README: %v: %s", err, out)
	}
	start := func(servers ...string) (lines *bufio.Scanner, interrupt func()) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		c := exec.CommandContext(ctx, program, servers...)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stderr = c.Stdout
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Wait() }) // it was interrupted
		return bufio.NewScanner(out), func() {
			if err := c.Process.Signal(os.Interrupt); err != nil {
				t.Errorf("interrupt the program of the README: %v", err)
			}
		}
	}
	await := func(lines *bufio.Scanner, what string) {
		t.Helper()
		var seen []string
		for lines.Scan() {
			if seen = append(seen, lines.Text()); strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Errorf("the program does not print %q:\n%s", what, strings.Join(seen, "\n"))
	}

	e := zktest.Start(t, zktest.Options{TCP: true})
	lines, interrupt := start(e.Servers()...)
	await(lines, "sending invoices, token ")
	interrupt()
	await(lines, "interrupt signal received")

	lines, interrupt = start("127.0.0.1:1")
	await(lines, "no zookeeper server takes the session: trying again")
	interrupt()
	await(lines, "127.0.0.1:1: dial tcp 127.0.0.1:1: connect")
}

// The README shows the code of testdata/readme/main.go.
func TestReadmeShowsTheProgram(t *testing.T) {
	source, err := os.ReadFile("testdata/readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "\n)\n")
	code, _, _ = strings.Cut(code, "\nfunc sendInvoices")
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "```go\n" + strings.TrimLeft(code, "\n") + "```"; !strings.Contains(string(readme), want) {
		t.Errorf("the README does not contain this code:\n%s", want)
	}
}
