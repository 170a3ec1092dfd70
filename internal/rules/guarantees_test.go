package rules

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/scenarios"
)

var rewrite = flag.Bool("rewrite", false, "write docs/guarantees.md")

const guaranteesFile = "docs/guarantees.md"

// The list `promising` has the packages whose documentation contains numbered guarantees. It is in
// the order in which docs/guarantees.md describes them.
var promising = []string{"session", "lock", "election", "group", "queue", "barrier", "counter", "watch", "fence"}

// A promise is a numbered guarantee of a package, or an unnumbered summary that begins with "In
// other words, ".
type promise struct{ number, dir, text string }

// A citation is a test or a scenario that covers a guarantee. The file is empty for a scenario.
type citation struct{ file, name string }

var (
	guarantee = regexp.MustCompile(`^([A-Z]+[0-9]+)\. (.+)\n`)
	covers    = regexp.MustCompile(`(?m)^Covers ([A-Z0-9, and\n]+)\.`)
	number    = regexp.MustCompile(`[A-Z]+[0-9]+`)
)

// The function `promises` returns the guarantees and the summaries in the comments of the packages.
func promises(t *testing.T, files map[string]*ast.File) []promise {
	var all []promise
	for _, dir := range promising {
		for name, file := range files {
			if path.Dir(name) == dir && !isTest(name) && file.Doc != nil {
				all = append(all, promisesOf(t, dir, file.Doc.Text())...)
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("no guarantees found")
	}
	return all
}

func promisesOf(t *testing.T, dir, text string) (all []promise) {
	parser := comment.Parser{LookupSym: func(string, string) bool { return true }}
	printer := comment.Printer{DocLinkURL: func(l *comment.DocLink) string {
		return "https://pkg.go.dev/" + module + dir + "#" + strings.TrimPrefix(l.Recv+"."+l.Name, ".")
	}}
	inside := false
	for _, block := range parser.Parse(text).Content {
		one := &comment.Doc{Content: []comment.Block{block}}
		if _, ok := block.(*comment.Heading); ok {
			inside = string(printer.Text(one)) == "# Guarantees\n"
			continue
		}
		if inside {
			text := printer.Markdown(one)
			if bytes.HasPrefix(text, []byte("In other words, ")) {
				all = append(all, promise{dir: dir, text: string(bytes.TrimSpace(text))})
				continue
			}
			m := guarantee.FindSubmatch(text)
			if m == nil {
				t.Fatalf("%s: this guarantee has no number: %s", dir, printer.Text(one))
			}
			all = append(all, promise{number: string(m[1]), dir: dir, text: string(m[2])})
		}
	}
	return all
}

// The function `citations` returns, for each number of a guarantee, the tests and scenarios that
// cover it.
func citations(t *testing.T, files map[string]*ast.File) map[string][]citation {
	cited := make(map[string][]citation)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isTest(name) {
			continue
		}
		for _, decl := range files[name].Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Doc == nil {
				continue
			}
			m := covers.FindStringSubmatch(f.Doc.Text())
			if m == nil {
				continue
			}
			if !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
				t.Errorf("%s: %s covers a guarantee, but is not a test", name, f.Name.Name)
			}
			for _, n := range number.FindAllString(m[1], -1) {
				cited[n] = append(cited[n], citation{name, f.Name.Name})
			}
		}
	}
	for _, s := range scenarios.All() {
		for _, n := range s.Guarantees {
			cited[n] = append(cited[n], citation{name: s.Name})
		}
	}
	return cited
}

// At least one test cites each numbered guarantee. No number is used twice, and no test or scenario
// cites a guarantee that does not exist.
func TestGuaranteesAreCovered(t *testing.T) {
	files := goFiles(t)
	cited := citations(t, files)
	known := make(map[string]bool)
	for _, p := range promises(t, files) {
		if p.number == "" {
			continue
		}
		if known[p.number] {
			t.Errorf("%s uses the number %s, which another guarantee has", p.dir, p.number)
		}
		known[p.number] = true
		if !slices.ContainsFunc(cited[p.number], func(c citation) bool { return c.file != "" }) {
			t.Errorf("%s promises %s, but no test covers it", p.dir, p.number)
		}
	}
	for n, by := range cited {
		if !known[n] {
			t.Errorf("%v covers %s, which no package promises", by, n)
		}
	}
}

func TestGuaranteesDocumentIsUpToDate(t *testing.T) {
	files := goFiles(t)
	want := guaranteesDocument(promises(t, files), citations(t, files))
	if *rewrite {
		if err := os.WriteFile(guaranteesFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(guaranteesFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; rewrite it with: go test ./internal/rules -run Guarantees -rewrite (%v)", guaranteesFile, err)
	}
}

// The README shows some guarantees, each with a test that covers it.
func TestGuaranteesOfTheReadmeAreCovered(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	cited := citations(t, goFiles(t))
	rows := regexp.MustCompile(`(?m)^\| ([A-Z]+[0-9]+) \|.*\| \[(\w+)\]\(([^)]+)\) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		t.Fatal("the README shows no guarantees")
	}
	for _, row := range rows {
		if !slices.Contains(cited[row[1]], citation{file: row[3], name: row[2]}) {
			t.Errorf("the README lists %s in %s for %s, which does not cover it", row[2], row[3], row[1])
		}
	}
}

func guaranteesDocument(promised []promise, cited map[string][]citation) []byte {
	var b bytes.Buffer
	b.WriteString("# Guarantees\n\nThese are the guarantees in the packages' documentation, with the tests and scenarios that cover them. " +
		"This page is generated by `go test ./internal/rules -run Guarantees -rewrite`.\n")
	dir := ""
	for _, p := range promised {
		if p.dir != dir {
			dir = p.dir
			fmt.Fprintf(&b, "\n## %s\n", dir)
		}
		if p.number == "" {
			fmt.Fprintf(&b, "\n%s\n", p.text)
			continue
		}
		fmt.Fprintf(&b, "\n**%s.** %s\n\n", p.number, p.text)
		for _, c := range cited[p.number] {
			if c.file == "" {
				fmt.Fprintf(&b, "- scenario `%s`\n", c.name)
			} else {
				fmt.Fprintf(&b, "- [%s](../%s)\n", c.name, c.file)
			}
		}
	}
	return b.Bytes()
}
