package vet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/zkcoord/zkcoord/vet"
)

// The analyzer reports exactly the findings that the files in testdata expect. Each case is a
// function or a struct there, and uses the real types of locks, elections and queues.
func TestFindings(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	analysistest.Run(t, root, vet.Analyzer, "./vet/testdata/work", "./vet/testdata/unused", "./vet/testdata/stored", "./vet/testdata/dropped")
}

// The files in testdata have at least 20 cases with a finding, and at least 20 without one.
func TestCasesAreManyOfBothKinds(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found, silent := 0, 0
	for _, name := range files {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, isFunc := d.(*ast.FuncDecl)
			g, isGen := d.(*ast.GenDecl)
			if isFunc && (filepath.Base(name) == "stored.go" || len(f.Body.List) < 2 && !holds(f.Body)) || isGen && (g.Tok != token.TYPE || filepath.Base(name) != "stored.go") {
				continue
			}
			wants := false
			for _, c := range file.Comments {
				wants = wants || d.Pos() < c.Pos() && c.Pos() < d.End() && strings.Contains(c.Text(), "want `")
			}
			if wants {
				found++
			} else {
				silent++
			}
		}
	}
	t.Logf("%d cases with a finding, %d without", found, silent)
	if found < 20 || silent < 20 {
		t.Errorf("got %d cases with a finding and %d without, want at least 20 of each", found, silent)
	}
}

// The function `holds` reports whether body contains a function literal, for example in a call
// of Do or Run.
func holds(body *ast.BlockStmt) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		_, ok := n.(*ast.FuncLit)
		found = found || ok
		return true
	})
	return found
}
