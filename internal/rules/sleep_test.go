package rules

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// Tests wait for a state or an event. They sleep only in virtual time: in the argument of a
// function that starts a bubble, or in a function that is called only in a bubble. A polling loop
// may pause between checks, and a benchmark may sleep to keep its rate.
func TestNoTestSleepsInRealTime(t *testing.T) {
	dirs := make(map[string][]*ast.File)
	for name, file := range goFiles(t) {
		if isTest(name) {
			dirs[path.Dir(name)] = append(dirs[path.Dir(name)], file)
		}
	}
	for dir, files := range dirs {
		s := sleepers{files: files, starts: make(map[string]bool), virtual: make(map[string]bool)}
		for s.learn() {
		}
		s.visit(func(in string, n ast.Node, virtual bool) {
			if selects(n, "time", "Sleep") && !virtual && !strings.HasPrefix(in, "Benchmark") {
				t.Errorf("%s: %s sleeps outside of virtual time", dir, in)
			}
		})
	}
}

// If a test hangs in a bubble, virtual.Test ends it and synctest.Test does not. So tests use
// virtual.Test. The examples and the tutorial are exempt: they show synctest.Test, because users of
// the module have no virtual.Test.
func TestBubblesHaveALimit(t *testing.T) {
	for name, file := range goFiles(t) {
		if !isTest(name) || within(path.Dir(name), "examples") || within(path.Dir(name), "internal/tutorial") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selects(n, "synctest", "Test") {
				t.Errorf("%s uses synctest.Test, want virtual.Test", name)
			}
			return true
		})
	}
}

// The type `sleepers` describes the functions of one package's tests.
type sleepers struct {
	files   []*ast.File
	starts  map[string]bool // functions that call their argument in a bubble
	virtual map[string]bool // functions that are called only in a bubble
}

// The method `learn` analyzes all functions once and reports whether it found new facts.
func (s *sleepers) learn() (more bool) {
	awake, called := make(map[string]bool), make(map[string]bool)
	s.visit(func(in string, n ast.Node, virtual bool) {
		if call, ok := n.(*ast.CallExpr); ok && s.bubble(call) && !s.starts[in] && !entry(in) {
			s.starts[in], more = true, true
		}
		if id, ok := n.(*ast.Ident); ok {
			called[id.Name] = true
			awake[id.Name] = awake[id.Name] || !virtual
		}
	})
	for name := range called {
		if !awake[name] && !s.virtual[name] {
			s.virtual[name], more = true, true
		}
	}
	return more
}

// The method `visit` calls f for each node in the bodies of all functions. The argument `virtual`
// of f is true if the node may sleep, because it runs only in a bubble or is in a polling loop.
func (s *sleepers) visit(f func(in string, n ast.Node, virtual bool)) {
	for _, file := range s.files {
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			var stack []ast.Node
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if n == nil {
					stack = stack[:len(stack)-1]
					return true
				}
				virtual := s.virtual[fn.Name.Name] || slices.ContainsFunc(stack, func(n ast.Node) bool {
					call, ok := n.(*ast.CallExpr)
					loop, polls := n.(*ast.ForStmt)
					return ok && s.bubble(call) || polls && loop.Cond != nil && loop.Post == nil
				})
				f(fn.Name.Name, n, virtual)
				stack = append(stack, n)
				return true
			})
		}
	}
}

// The method `bubble` reports whether a call runs its argument in virtual time.
func (s *sleepers) bubble(call *ast.CallExpr) bool {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return s.starts[f.Name]
	case *ast.SelectorExpr:
		return selects(f, "synctest", "Test") || selects(f, "virtual", "Test") || selects(f, "recipetest", "") || s.starts[f.Sel.Name]
	}
	return false
}

// The function `entry` reports whether go test calls a function.
func entry(name string) bool {
	return slices.ContainsFunc([]string{"Test", "Benchmark", "Example", "Fuzz"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// The function `selects` reports whether the node is pkg.name. An empty name matches any name.
func selects(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || name != "" && sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}
