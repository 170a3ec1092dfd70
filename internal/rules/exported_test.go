package rules

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The function `exporting` returns the packages that other modules can import.
func exporting(t *testing.T) []string {
	var dirs []string
	for name, file := range goFiles(t) {
		dir := path.Dir(name)
		if file.Name.Name != "main" && !isTest(name) && !slices.Contains(strings.Split(dir, "/"), "internal") && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// documentation returns the documentation of a package as go doc shows it, with its examples.
func documentation(t *testing.T, dir string) *doc.Package {
	t.Helper()
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, module+dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func functions(p *doc.Package) []*doc.Func {
	all := slices.Clone(p.Funcs)
	for _, of := range p.Types {
		all = append(append(all, of.Funcs...), of.Methods...)
	}
	return all
}

// wellKnown are methods whose meaning is defined by interfaces of the standard library.
var wellKnown = []string{"Close", "Error", "Format", "LogValue", "MarshalJSON", "MarshalText", "String", "UnmarshalJSON", "UnmarshalText", "Unwrap"}

func TestEverythingExportedIsDocumented(t *testing.T) {
	for _, dir := range exporting(t) {
		p := documentation(t, dir)
		for _, f := range functions(p) {
			if f.Doc == "" && (f.Recv == "" || !slices.Contains(wellKnown, f.Name)) {
				t.Errorf("%s: %s %s has no comment", dir, f.Recv, f.Name)
			}
		}
		for _, of := range p.Types {
			if of.Doc == "" && !groupHasDoc(of.Decl) {
				t.Errorf("%s: type %s has no comment", dir, of.Name)
			}
		}
		for _, v := range slices.Concat(p.Consts, p.Vars) {
			if v.Doc == "" && !eachHasDoc(v.Decl) {
				t.Errorf("%s: %v have no comment", dir, v.Names)
			}
		}
	}
}

func groupHasDoc(d *ast.GenDecl) bool { return d.Doc != nil }

// eachHasDoc reports whether each exported constant or variable of a group has a separate comment,
// in the lines above it or after it on the same line.
func eachHasDoc(d *ast.GenDecl) bool {
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok && v.Doc == nil && v.Comment == nil && v.Names[0].IsExported() {
			return false
		}
	}
	return true
}

// A program that uses a public package does not need to import go-zookeeper, because package
// session has its own names for the types of go-zookeeper.
func TestNoExportedSignatureNamesGoZookeeper(t *testing.T) {
	for _, dir := range promising {
		p := documentation(t, dir)
		for _, name := range clientNames(p) {
			t.Errorf("%s: an exported signature uses %s, want the name in package session", dir, name)
		}
	}
}

// clientNames returns the names of go-zookeeper in the exported signatures of a package, except in
// aliases. Values of constants and variables do not count. Unexported names cannot occur, because
// the documentation does not contain them.
func clientNames(p *doc.Package) (names []string) {
	inspect := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if expr, ok := n.(ast.Expr); ok && strings.HasPrefix(valueName(expr), "zk.") {
				names = append(names, valueName(expr))
			}
			return true
		})
	}
	for _, f := range functions(p) {
		inspect(f.Decl.Type)
	}
	for _, of := range p.Types {
		for _, spec := range of.Decl.Specs {
			if !spec.(*ast.TypeSpec).Assign.IsValid() {
				inspect(spec)
			}
		}
	}
	for _, v := range slices.Concat(p.Consts, p.Vars) {
		for _, spec := range v.Decl.Specs {
			if of := spec.(*ast.ValueSpec).Type; of != nil {
				inspect(of)
			}
		}
	}
	return names
}

// Every exported type T of the packages that programs import has an example: an example of T, of a
// function with T in its signature, or of another type that contains T.
func TestEveryTypeHasAnExample(t *testing.T) {
	for _, dir := range promising {
		p := documentation(t, dir)
		shown := make(map[string]bool)
		show := func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					shown[id.Name] = true
				}
				return true
			})
		}
		for _, f := range functions(p) {
			if len(f.Examples) > 0 {
				show(f.Decl.Type)
				shown[strings.TrimLeft(f.Recv, "*")] = true
			}
		}
		for _, of := range p.Types {
			shown[of.Name] = shown[of.Name] || len(of.Examples) > 0
		}
		for range p.Types { // repeated, because a type can be part of a type that is part of another one
			for _, of := range p.Types {
				if shown[of.Name] {
					for _, spec := range of.Decl.Specs {
						show(spec)
					}
				}
			}
		}
		for _, of := range p.Types {
			if !shown[of.Name] {
				t.Errorf("%s: no example shows %s", dir, of.Name)
			}
		}
	}
}
