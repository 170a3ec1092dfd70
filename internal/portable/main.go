// Command portable checks that all packages of this module, tests included, compile on each system
// and architecture that the README names, and on linux/386, where an int has 32 bits. It only
// type-checks the sources. A cross-compilation would take minutes of processor time, because it
// would also compile every dependency for each target.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

var targets = []string{
	"linux/amd64", "linux/arm64", "linux/386", "darwin/amd64", "darwin/arm64",
	"windows/amd64", "windows/arm64", "freebsd/amd64", "freebsd/arm64",
}

func main() {
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	failed := false
	for _, target := range targets {
		problems, err := check(root, target)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, p := range problems {
			failed = true
			fmt.Fprintf(os.Stderr, "%s: %s\n", target, p)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// The function `check` type-checks the module at root for the target, and returns the errors in its
// sources.
func check(root, target string) (problems []string, err error) {
	system, architecture, _ := strings.Cut(target, "/")
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedModule | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes,
		Dir:   root,
		Env:   append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0"),
		Tests: true,
		ParseFile: func(set *token.FileSet, name string, text []byte) (*ast.File, error) {
			f, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
			if f != nil && !strings.HasPrefix(name, root+string(filepath.Separator)) {
				dropBodies(f)
			}
			return f, err
		},
	}, "./...")
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if len(loaded) == 0 {
		return nil, fmt.Errorf("load: no packages in %s", root)
	}
	for _, p := range loaded {
		if strings.HasSuffix(p.PkgPath, ".test") {
			continue // the main package of a test, which the go command wrote
		}
		for _, e := range p.Errors {
			problems = append(problems, e.Error())
		}
	}
	return problems, nil
}

// dropBodies removes the bodies of the functions in f, because packages that import f's package do
// not depend on them. Afterwards f may have an unused import. The function `check` does not report
// that error, because f's package is outside of the module.
func dropBodies(f *ast.File) {
	for _, d := range f.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			f.Body = nil
		}
	}
}
