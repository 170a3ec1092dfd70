package rules

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The test runs a program of another module. The program works under each Do, Run and Bind of the
// primitives. When the program cancels its own context, all of the work stops, and nothing remains
// held.
func TestProgramInAnotherModuleStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	program := filepath.Join(goElsewhere(ctx, t, "testdata/program", "build", "-o", "program"), "program")
	e := zktest.Start(t, zktest.Options{TCP: true})
	output, err := exec.CommandContext(ctx, program, strings.Join(e.Servers(), ",")).CombinedOutput()
	if err != nil {
		t.Fatalf("the program in another module failed: %v\n%s", err, output)
	}
	source, err := os.ReadFile("testdata/program/main.go")
	if err != nil {
		t.Fatal(err)
	}
	holders := regexp.MustCompile(`"(\w+\.(?:R?Do|Run|Bind))":`).FindAllStringSubmatch(string(source), -1)
	if len(holders) != 11 {
		t.Errorf("got %d kinds of holders in the program, want 11", len(holders))
	}
	for _, m := range holders {
		if !strings.Contains(string(output), m[1]+": going down") {
			t.Errorf("%s did not stop:\n%s", m[1], output)
		}
	}

	s, err := session.Open(ctx, session.Options{Servers: e.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dir := range []string{"/mutex", "/read", "/write", "/semaphore/locks", "/semaphore/leases", "/a", "/b", "/run", "/hand", "/term"} {
		if left, err := s.Children(ctx, dir); err != nil || len(left.Names) > 0 {
			t.Errorf("children of %s: got %v, error %v, want none", dir, left.Names, err)
		}
	}
}

// Another module defines its own scenario, with its own workload, checker and mutant, in fewer than
// 60 lines.
func TestScenarioInAnotherModuleRuns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const dir = "testdata/scenario"
	goElsewhere(ctx, t, dir, "test")
	source, err := os.ReadFile(dir + "/names_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines >= 60 {
		t.Errorf("the scenario has %d lines, want less than 60", lines)
	}
}

// goElsewhere copies `source` to a temporary folder with the function `elsewhere`, and runs a go
// command there. It returns the folder.
func goElsewhere(ctx context.Context, t *testing.T, source, command string, args ...string) (dir string) {
	t.Helper()
	dir = elsewhere(t, source)
	run := exec.CommandContext(ctx, "go", slices.Concat([]string{command, "-mod=mod"}, args, []string{"."})...)
	run.Dir = dir
	run.Env = append(os.Environ(), "GOWORK=off")
	if output, err := run.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", command, err, output)
	}
	return dir
}

// The function `elsewhere` copies `source` to a temporary folder. The copy is a module that uses
// this one through a replace directive. The function returns the folder.
func elsewhere(t *testing.T, source string) (dir string) {
	t.Helper()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	mod := fmt.Sprintf("module elsewhere\n\ngo 1.26\n\nrequire github.com/zkcoord/zkcoord v0.0.0\n\nreplace github.com/zkcoord/zkcoord => %s\n", here)
	for name, data := range map[string][]byte{"go.mod": []byte(mod), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
