package rules

import (
	"go/ast"
	"path"
	"slices"
	"testing"
)

// An invalid argument of a constructor or a call is an error, not a panic: see docs/decisions/0005.
// There is one exception: session/rand.go panics if the source of random numbers fails. Only tests
// replace this source.
func TestWhatProgramsImportDoesNotPanic(t *testing.T) {
	packages := []string{"session", "recipe", "lock", "election", "queue", "barrier", "counter", "watch", "group", "internal/lockqueue", "internal/batch", "internal/under"}
	for name, file := range goFiles(t) {
		if isTest(name) || !slices.Contains(packages, path.Dir(name)) || name == "session/rand.go" {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
				t.Errorf("%s panics", name)
			}
			return true
		})
	}
}
