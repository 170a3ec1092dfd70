package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each row of docs/reports.md has a report, states the behavior of zkcoord, and names tests that
// exist. The code or the comment of the first of these tests contains the numbers of the report,
// for example 20 and 190 for "samuel#20, #190".
func TestReportsAreNamedByTheirTests(t *testing.T) {
	table, err := os.ReadFile("docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| report |") || strings.HasPrefix(line, "| --- |") {
			continue
		}
		rows++
		for _, problem := range reportProblems(strings.TrimSpace(line), os.ReadFile) {
			t.Error(problem)
		}
	}
	if rows < 50 {
		t.Errorf("read only %d rows, want at least 50", rows)
	}
}

var (
	reportRow  = regexp.MustCompile(`^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	reportLink = regexp.MustCompile(`\[([^]]+)\]\(\.\./([^)]+)\)`)
	anyNumber  = regexp.MustCompile(`\d{1,5}`)
)

// reportProblems returns the problems of a row, which has a report, zkcoord's behavior and links to
// tests. A report in quotes is about zkcoord and has no number.
func reportProblems(row string, read func(name string) ([]byte, error)) (problems []string) {
	cells := reportRow.FindStringSubmatch(row)
	if cells == nil {
		return []string{fmt.Sprintf("not of the form report, what zkcoord does, test: %s", row)}
	}
	links := reportLink.FindAllStringSubmatch(cells[3], -1)
	if len(links) == 0 {
		return []string{fmt.Sprintf("no test: %s", row)}
	}
	for i, link := range links {
		name, file := link[1], filepath.FromSlash(link[2])
		source, err := read(file)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		test := string(source)
		if strings.HasPrefix(name, "Test") {
			_, body, found := strings.Cut(test, "func "+name+"(")
			if !found {
				problems = append(problems, fmt.Sprintf("%s has no %s", file, name))
				continue
			}
			test = commentAbove(test, name) + strings.SplitN(body, "\nfunc ", 2)[0]
		}
		head, _, _ := strings.Cut(cells[1], ":")
		if strings.HasPrefix(head, `"`) || i > 0 {
			continue
		}
		for _, number := range anyNumber.FindAllString(head, -1) {
			if !strings.Contains(test, number) {
				problems = append(problems, fmt.Sprintf("%s in %s does not name %s of %q", name, file, number, head))
			}
		}
	}
	return problems
}

func TestReportsWithoutATestAreFound(t *testing.T) {
	read := func(name string) ([]byte, error) {
		if name != "a_test.go" {
			return nil, fmt.Errorf("no file %s", name)
		}
		return []byte("package a\n\n// kazoo#1: it broke.\nfunc TestA(t *testing.T) {}\n"), nil
	}
	for row, want := range map[string]string{
		"| kazoo#1: it broke | it works | [TestA](../a_test.go) |":                        "",
		"| \"it broke in 7 s\" | it works | [TestA](../a_test.go) |":                      "",
		"| kazoo#2: it broke | it works | [TestA](../a_test.go) |":                        `TestA in a_test.go does not name 2 of "kazoo#2"`,
		"| kazoo#1: it broke | it works | [TestB](../a_test.go) |":                        "a_test.go has no TestB",
		"| kazoo#1: it broke | it works | [TestA](../a_test.go), [TestC](../b_test.go) |": "no file b_test.go",
		"| kazoo#1: it broke | [TestA](../a_test.go) |":                                   "not of the form report, what zkcoord does, test: | kazoo#1: it broke | [TestA](../a_test.go) |",
		"| kazoo#1: it broke | it works | soon |":                                         "no test: | kazoo#1: it broke | it works | soon |",
	} {
		if got := strings.Join(reportProblems(row, read), "; "); got != want {
			t.Errorf("%s: got %q, want %q", row, got, want)
		}
	}
}

func commentAbove(source, name string) string {
	before, _, _ := strings.Cut(source, "\nfunc "+name+"(")
	return before[strings.LastIndex(before, "\n\n"):]
}
