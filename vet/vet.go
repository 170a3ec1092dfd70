package vet

import (
	"go/ast"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer finds work under locks, terms and claims that does not stop when they are lost. The
// package documentation describes the findings. The analyzer has no flags, needs no other analyzer
// and exports no facts.
var Analyzer = &analysis.Analyzer{
	Name: "zkcoord",
	Doc: `find work that continues after its lock, term or claim was lost

It reports work under a lock that uses the caller's context, grants whose context
and token are not used, grants in structs without their context, and dropped errors
of Unlock, Resign and Ack.`,
	URL: "https://pkg.go.dev/github.com/zkcoord/zkcoord/vet",
	Run: run,
}

func run(pass *analysis.Pass) (any, error) {
	var files []*ast.File
	for _, f := range pass.Files {
		if !strings.HasSuffix(pass.Fset.File(f.FileStart).Name(), "_test.go") {
			files = append(files, f)
		}
	}
	for _, f := range files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				checkFunction(pass, d.Type, d.Body)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool { // function literals in variables of the package
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.FuncLit:
				checkFunction(pass, n.Type, n.Body)
				return false
			}
			return true
		})
	}
	checkFields(pass, files)
	return nil, nil
}
