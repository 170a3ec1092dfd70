package rules

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// Somebody who meets an error searches for its text or its name.
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
					t.Errorf("docs/errors.md does not have %s of %s", want, name)
				}
				if text != "" && !strings.Contains(string(page), "`"+text+"`") {
					t.Errorf("docs/errors.md does not have `%s`, the text of %s.%s", text, file.Name.Name, sentinel)
				}
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d errors were found", found)
	}
}

// sentinels are the exported variables of a file that are errors, by their names, with their texts where they are given there.
func sentinels(file *ast.File) map[string]string {
	texts := make(map[string]string)
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
				texts[name.Name] = ""
				if i < len(v.Values) {
					texts[name.Name] = textOf(v.Values[i])
				}
			}
		}
	}
	return texts
}

// textOf is the text of errors.New with a literal; empty for anything else.
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
		panic(err) // the parser has read it
	}
	return text
}
