package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// These tests check the project's conventions, so that reviewers do not have to.

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const module = "github.com/zkcoord/zkcoord/"

// goFiles returns the syntax trees of the Go files. The key of each is the path of the file from
// the repository's root. goFiles skips directories whose name is testdata or store, or begins with
// a dot.
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

// The list `directions` restricts imports. Each entry covers the directory `from` and everything
// below it. The packages there may import only the standard library and the packages that the entry
// lists. If several entries cover a package, the entry with the longest directory applies.
var directions = []struct{ from, ours, foreign, why string }{
	{"internal/wire", "", "", "the protocol does not depend on a client"},
	{"internal/invalid", "", "", "the check of arguments does not depend on a client"},
	{"internal/txnlog", "internal/wire", "", "the format of a log does not depend on a server or client"},
	{"internal/znode", "internal/invalid", "", "names of znodes do not depend on a client"},
	{"internal/turn", "", "", "waiting for a turn does not depend on a client"},
	{"internal/under", "", "", "working under a grant does not depend on a client"},
	{"session", "internal/wire internal/invalid internal/times internal/znode internal/under internal/engine internal/leasetrace", client, "a session does not depend on its users"},
	{"session/sessionotel", "session", "any", "only programs that use traces link them"},
	{"internal/leasetrace", "internal/wire", "", "the report on a lease does not depend on a session"},
	{"internal/engine", "internal/znode", client, "the inside of a session uses only the client's types"},
	{"recipe", "session internal/engine internal/znode", client, "the support for recipes does not depend on a recipe"},
	{"internal/lockqueue", "recipe session internal/turn internal/znode", client, "code shared by primitives does not depend on one of them"},
	{"lock", underPrimitives, client, whyPrimitives},
	{"election", underPrimitives, client, whyPrimitives},
	{"group", underPrimitives, client, whyPrimitives},
	{"queue", underPrimitives, client, whyPrimitives},
	{"internal/batch", "recipe session", "", "code shared by primitives does not depend on one of them"},
	{"counter", underPrimitives, client, whyPrimitives},
	{"barrier", underPrimitives, client, whyPrimitives},
	{"watch", underPrimitives, client, whyPrimitives},
	{"fence", "internal/times", "", "a fenced resource imports neither a lock nor a driver"},
	{"zktest", "zktest internal/txnlog internal/wire internal/znode", "", "the model of the servers shares only the protocol with its clients"},
	{"vet", "", "golang.org/x/tools", "an analyzer knows the names of the types that it inspects, but links none of them"},
	{"zktest/internal/difftest", "zktest internal/wire internal/znode", "any", "it compares the model with real servers"},
	{"harness", "harness session zktest internal docker", "any", "the harness tests clients of any kind; scenarios bring the primitives"},
	{"harness/checker", "harness/history session", "any", "a verdict is a function of the history alone; session has the type of outcomes"},
	{"scenarios", "scenarios harness recipe session lock election group queue barrier counter watch fence zktest internal", "any", "the command and benchmarks run scenarios, not the reverse"},
	{"examples", "recipe session lock election group queue barrier counter watch fence", client + " golang.org/x/sync github.com/lib/pq", "examples use only packages that programs import"},
}

const (
	client          = "github.com/go-zookeeper/zk"
	underPrimitives = "recipe session internal/batch internal/lockqueue internal/invalid internal/times internal/turn internal/under internal/znode"
	whyPrimitives   = "a program that imports one primitive links only the ZooKeeper client: no other primitive, no harness, no Docker"
)

func TestImportsPointOneWay(t *testing.T) {
	files := goFiles(t)
	for name, file := range files {
		if isTest(name) {
			continue
		}
		dir, rule := path.Dir(name), -1
		for i, d := range directions {
			if within(dir, d.from) && (rule < 0 || len(d.from) > len(directions[rule].from)) {
				rule = i
			}
		}
		for _, imported := range imports(file) {
			inside, ours := strings.CutPrefix(imported, module)
			if inside == "internal/recipetest" || inside == "internal/needs" {
				t.Errorf("%s imports %s, which is only for tests", name, inside)
			}
			if rule < 0 || !ours && !strings.Contains(strings.Split(imported, "/")[0], ".") {
				continue
			}
			allowed := directions[rule].foreign
			if ours {
				allowed = directions[rule].ours
			}
			if allowed != "any" && !slices.ContainsFunc(strings.Fields(allowed), func(to string) bool { return within(inside, to) }) {
				t.Errorf("%s imports %s: %s", name, inside, directions[rule].why)
			}
		}
	}
	for _, d := range directions {
		if info, err := os.Stat(d.from); err != nil || !info.IsDir() {
			t.Errorf("the rule for imports of %s is obsolete: the directory does not exist", d.from)
		}
	}
}

// Only packages session and recipe import internal/engine, which is the inside of a session. This
// rule also holds for tests. All other packages use the exported API of packages session and
// recipe.
func TestOnlyRecipeReachesInsideASession(t *testing.T) {
	const inside = module + "internal/engine"
	for name, file := range goFiles(t) {
		if slices.Contains(imports(file), inside) && !slices.Contains([]string{"session", "recipe", "internal/engine"}, path.Dir(name)) {
			t.Errorf("%s imports %s, which is only for packages session and recipe", name, inside)
		}
	}
}

// The function `within` reports whether the path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func imports(file *ast.File) (paths []string) {
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, imported)
	}
	return paths
}

// If a package or its tests start goroutines, or import a package such as session whose calls start
// goroutines, its TestMain checks for leaked goroutines. A package without tests is exempt.
func TestLeakedGoroutinesFailTests(t *testing.T) {
	starts, looks, tested := make(map[string]string), make(map[string]bool), make(map[string]bool)
	for name, file := range goFiles(t) {
		dir := path.Dir(name)
		tested[dir] = tested[dir] || isTest(name)
		for _, imported := range imports(file) {
			switch imported {
			case "go.uber.org/goleak":
				looks[dir] = true
			case module + "session", module + "zktest", module + "harness", "golang.org/x/sync/errgroup":
				starts[dir] = name
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				starts[dir] = name
			}
			return true
		})
	}
	for dir, name := range starts {
		if tested[dir] && !looks[dir] {
			t.Errorf("%s starts goroutines, but no TestMain of %s checks for leaked ones with goleak", name, dir)
		}
	}
}
