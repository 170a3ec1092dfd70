package rules

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/errors.md lists every exported error with its text, because a user who encounters an error
// searches for its text or its name.
func TestEveryErrorIsOnThePageOfErrors(t *testing.T) {
	page, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	files, found := goFiles(t), 0
	for _, dir := range exporting(t) {
		if within(dir, "examples") {
			continue
		}
		for name, file := range files {
			if path.Dir(name) != dir || isTest(name) {
				continue
			}
			for sentinel, text := range sentinels(file) {
				found++
				if want := "`" + file.Name.Name + "." + sentinel + "`"; !strings.Contains(string(page), want) {
					t.Errorf("docs/errors.md does not list %s of %s", want, name)
				}
				if text != "" && !strings.Contains(string(page), "`"+text+"`") {
					t.Errorf("docs/errors.md does not contain `%s`, the text of %s.%s", text, file.Name.Name, sentinel)
				}
			}
		}
	}
	if found < 25 {
		t.Errorf("found %d errors, want at least 25", found)
	}
}

// The text of an error starts with its package. No two exported error variables have the same value
// or the same text. If a variable's value is an error of an internal package, the test uses that
// error's text. The test ignores the names that package session has for errors of go-zookeeper,
// because those errors do not belong to this module.
func TestSentinelsHaveAPrefixAndTheirOwnValue(t *testing.T) {
	files, exports := goFiles(t), exporting(t)
	// For the keys and values of these maps, see sentinelProblems.
	texts, public := make(map[string]string), make(map[string]string)
	for name, file := range files {
		dir := path.Dir(name)
		if isTest(name) || within(dir, "examples") {
			continue
		}
		for sentinel, value := range sentinelValues(file) {
			if name == "session/zk.go" && strings.HasPrefix(valueName(value), "zk.") {
				continue
			}
			full := file.Name.Name + "." + sentinel
			texts[full] = textOf(value)
			if slices.Contains(exports, dir) {
				public[full] = cmp.Or(valueName(value), full)
			}
		}
	}
	for _, problem := range sentinelProblems(public, texts) {
		t.Error(problem)
	}
	if len(public) < 35 {
		t.Errorf("found %d errors, want at least 35", len(public))
	}
}

// valueName returns the name of a variable of another package, with its package. It returns "" for
// anything else.
func valueName(value ast.Expr) string {
	selector, ok := value.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := selector.X.(*ast.Ident); ok {
		return pkg.Name + "." + selector.Sel.Name
	}
	return ""
}

// sentinelProblems returns the violations among the exported error variables in `public`. Both maps
// contain names of error variables with their packages, such as lock.ErrReleased.
//
//   - `public` maps each exported variable to another variable if it is set to that variable, and
//     otherwise to itself.
//   - `texts` maps error variables to the texts of their errors. An exported variable that is set
//     to another variable needs no text there.
func sentinelProblems(public, texts map[string]string) (problems []string) {
	names := make(map[string]string) // value or text of an error -> the public variable that has it
	for _, full := range slices.Sorted(maps.Keys(public)) {
		value := public[full]
		pkg, _, _ := strings.Cut(full, ".")
		if text := texts[value]; !strings.HasPrefix(text, pkg+": ") {
			problems = append(problems, fmt.Sprintf("the text of %s is %q, want the prefix %q", full, text, pkg+": "))
		}
		for _, key := range []string{value, texts[value]} {
			if other := names[key]; other != "" {
				problems = append(problems, fmt.Sprintf("%s and %s are the same: %s", other, full, key))
			}
			names[key] = full
		}
	}
	return problems
}

func TestBadSentinelsAreFound(t *testing.T) {
	got := sentinelProblems(
		map[string]string{"a.ErrX": "low.Err", "b.ErrX": "low.Err", "b.ErrY": "b.ErrY"},
		map[string]string{"low.Err": "a: x", "b.ErrY": "y"})
	want := []string{
		`the text of b.ErrX is "a: x", want the prefix "b: "`,
		"a.ErrX and b.ErrX are the same: low.Err", "a.ErrX and b.ErrX are the same: a: x",
		`the text of b.ErrY is "y", want the prefix "b: "`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
}

// The function `sentinels` returns the exported error variables of a file with their texts. A text
// that is not a literal in the file is empty.
func sentinels(file *ast.File) map[string]string {
	texts := make(map[string]string)
	for name, value := range sentinelValues(file) {
		texts[name] = textOf(value)
	}
	return texts
}

// sentinelValues returns the exported error variables of a file with their values, which may be
// nil.
func sentinelValues(file *ast.File) map[string]ast.Expr {
	values := make(map[string]ast.Expr)
	for _, decl := range file.Decls {
		vars, ok := decl.(*ast.GenDecl)
		if !ok || vars.Tok != token.VAR {
			continue
		}
		for _, spec := range vars.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				if !strings.HasPrefix(name.Name, "Err") || !name.IsExported() {
					continue
				}
				values[name.Name] = nil
				if i < len(v.Values) {
					values[name.Name] = v.Values[i]
				}
			}
		}
	}
	return values
}

// textOf returns the text of a call of errors.New with a literal. It returns "" for anything else.
func textOf(value ast.Expr) string {
	call, ok := value.(*ast.CallExpr)
	if !ok || !selects(call.Fun, "errors", "New") {
		return ""
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		panic(err) // the parser has accepted it
	}
	return text
}
