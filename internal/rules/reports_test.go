package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each report in docs/reports.md is named by the test that the table says.
func TestReportsAreNamedByTheirTests(t *testing.T) {
	table, err := os.ReadFile("docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (.*) \| \[(Test\w+)\]\(\.\./(.*)\) \|$`).FindAllStringSubmatch(string(table), -1)
	if len(rows) == 0 || len(rows) != strings.Count(string(table), "\n| ")-2 {
		t.Fatalf("%d rows could be read", len(rows))
	}
	numbers := regexp.MustCompile(`\d{1,5}`)
	for _, row := range rows {
		report, name, file := row[1], row[2], filepath.FromSlash(row[3])
		source, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		_, body, found := strings.Cut(string(source), "func "+name+"(")
		if !found {
			t.Errorf("%s has no %s", file, name)
			continue
		}
		head, _, _ := strings.Cut(report, ":")
		test := commentAbove(string(source), name) + strings.SplitN(body, "\nfunc ", 2)[0]
		for _, number := range numbers.FindAllString(head, -1) {
			if !strings.Contains(test, number) {
				t.Errorf("%s in %s does not name %s of %q", name, file, number, head)
			}
		}
	}
}

// commentAbove is the comment of a function.
func commentAbove(source, name string) string {
	before, _, _ := strings.Cut(source, "\nfunc "+name+"(")
	return before[strings.LastIndex(before, "\n\n"):]
}
