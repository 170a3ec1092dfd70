package rules

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var goFilePattern = regexp.MustCompile(`\w+\.go\b`)

// Two files list the packages of the module. docs/whats-here.md has a row for every package, and no
// row for anything else. The doc.go in the root names every package that programs can import,
// except the examples.
func TestMapsNameEachPackage(t *testing.T) {
	root, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("docs/whats-here.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for name, file := range goFiles(t) {
		if dir := path.Dir(name); dir != "." && !slices.Contains(all, dir) && !isTest(name) {
			all = append(all, dir)
			if !strings.Contains(string(here), "\n| `"+dir+"` |") {
				t.Errorf("docs/whats-here.md has no row for %s", dir)
			}
			public := file.Name.Name != "main" && !slices.Contains(strings.Split(dir, "/"), "internal") && !within(dir, "examples")
			if public && !strings.Contains(string(root), "["+module+dir+"]") {
				t.Errorf("doc.go does not name %s", dir)
			}
		}
	}
	for line := range strings.Lines(string(here)) {
		if row, ok := strings.CutPrefix(line, "| `"); ok {
			dir, _, _ := strings.Cut(row, "`")
			if !slices.Contains(all, dir) {
				t.Errorf("docs/whats-here.md has a row for %s, which is not a package", dir)
			}
			for _, file := range goFilePattern.FindAllString(row, -1) {
				if _, err := os.Stat(path.Join(dir, file)); err != nil {
					t.Errorf("docs/whats-here.md: the row for %s names a missing file: %v", dir, err)
				}
			}
		}
	}
}

// A program that imports the harness links neither package testing nor zktest. The code for crash
// points needs these two and is therefore in a separate package.
func TestHarnessLinksNoTests(t *testing.T) {
	files := goFiles(t)
	linked, todo := make(map[string]bool), []string{"harness"}
	for len(todo) > 0 {
		dir := todo[0]
		todo = todo[1:]
		if linked[dir] {
			continue
		}
		linked[dir] = true
		for name, file := range files {
			if path.Dir(name) != dir || isTest(name) {
				continue
			}
			for _, imported := range imports(file) {
				if ours, ok := strings.CutPrefix(imported, module); ok {
					todo = append(todo, ours)
				}
				if imported == "testing" || imported == "testing/synctest" || imported == module+"zktest" {
					t.Errorf("harness links %s through %s", imported, name)
				}
			}
		}
	}
	if !linked["harness/netfault"] {
		t.Errorf("the imports of harness do not include harness/netfault: %v", linked)
	}
}
