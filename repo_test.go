package zkcoord

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The project's own rules, as tests: what a reviewer would have to look for.

const module = "github.com/zkcoord/zkcoord/"

// goFiles are all Go files, by path from the root, with their syntax.
func goFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "store") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		files[filepath.ToSlash(name)] = file
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := make(map[string][]string)
	for name, file := range goFiles(t) {
		if dir := path.Dir(name); !isTest(name) {
			comments[dir] = append(comments[dir], "")
			if file.Doc != nil {
				comments[dir][len(comments[dir])-1] = name
			}
		}
	}
	for dir, names := range comments {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
		if len(names) != 1 {
			t.Errorf("%s: package comments in %q, want one", dir, names)
		}
	}
}

// primitives are what programs import. They stay light: the ZooKeeper client
// and the standard library.
func primitives() []string {
	return []string{"session", "lock", "election", "queue", "barrier", "watch", "group", "internal/line", "internal/once", "internal/znode", "internal/wire"}
}

func TestImportsPointOneWay(t *testing.T) {
	allowed := []string{"github.com/go-zookeeper/zk"}
	for name, file := range goFiles(t) {
		dir := path.Dir(name)
		if isTest(name) {
			continue
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			inside, ours := strings.CutPrefix(imported, module)
			switch {
			case slices.Contains(primitives(), dir) && ours && !slices.Contains(primitives(), inside):
				t.Errorf("%s imports %s: a primitive imports no more than other primitives", name, inside)
			case slices.Contains(primitives(), dir) && !ours && strings.Contains(strings.Split(imported, "/")[0], ".") && !slices.Contains(allowed, imported):
				t.Errorf("%s imports %s: a primitive depends on the ZooKeeper client alone", name, imported)
			case strings.HasPrefix(dir, "examples/") && ours && !slices.Contains(promising, inside):
				t.Errorf("%s imports %s: examples show what programs import", name, inside)
			case strings.HasPrefix(dir, "zktest") && ours && inside != "internal/wire" && inside != "internal/znode" && !strings.HasPrefix(inside, "zktest"):
				t.Errorf("%s imports %s: zktest knows the protocol and no primitive", name, inside)
			case strings.HasPrefix(dir, "harness") && ours && strings.HasPrefix(inside, "scenarios"):
				t.Errorf("%s imports %s: scenarios import the harness", name, inside)
			}
		}
	}
}

// Tests wait for a state or an event. They sleep only in packages whose tests
// run in virtual time.
func TestNoTestSleepsInRealTime(t *testing.T) {
	files := goFiles(t)
	virtual := make(map[string]bool)
	for name, file := range files {
		for _, s := range file.Imports {
			if s.Path.Value == `"testing/synctest"` || strings.Contains(s.Path.Value, module+"internal/coordtest") {
				virtual[path.Dir(name)] = true
			}
		}
	}
	for name, file := range files {
		if !isTest(name) || virtual[path.Dir(name)] {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s sleeps outside of virtual time", name)
				}
			}
			return true
		})
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)\)`)

func TestLinksInDocumentsResolve(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		more, _ := filepath.Glob(pattern)
		documents = append(documents, more...)
	}
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
	}
}

func TestCommandsOfTheReadmeExist(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^(script/\w+)`).FindAllStringSubmatch(string(text), -1)
	if len(found) == 0 {
		t.Fatal("the README names no command")
	}
	for _, m := range found {
		if info, err := os.Stat(m[1]); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s is no command: %v", m[1], err)
		}
	}
}
