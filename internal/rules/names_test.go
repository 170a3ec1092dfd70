package rules

import (
	"go/ast"
	"go/doc"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const namesDocument = "docs/decisions/0005-names-of-0.1.0.md"

// TestTableOfNamesIsTrue compares the packages with the tables of names in decision 5
// (docs/decisions/0005). Every exported name must have a row in a table, except methods such as
// String. No row may have a name that does not exist.
func TestTableOfNamesIsTrue(t *testing.T) {
	text, err := os.ReadFile(namesDocument)
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]map[string]bool{}
	for _, dir := range []string{"session", "recipe", "lock", "election", "queue", "barrier", "watch", "group"} {
		exported[dir] = exportedNames(documentation(t, dir))
		_, section, _ := strings.Cut(string(text), "\n## "+dir+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		listed := namesOfTable(section)
		for _, name := range slices.Sorted(maps.Keys(exported[dir])) {
			_, last, _ := strings.Cut(name, ".")
			if !listed[name] && !slices.Contains(wellKnown, last) {
				t.Errorf("%s: the table of %s has no row for %s", namesDocument, dir, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(listed)) {
			if !exported[dir][name] {
				t.Errorf("%s: the table of %s has a row for %s, which does not exist", namesDocument, dir, name)
			}
		}
	}
}

// exportedNames returns the exported names of a package: N for a name of the package, T.M for a
// method, a field or a constant of the type T.
func exportedNames(p *doc.Package) map[string]bool {
	names := map[string]bool{}
	values := func(all []*doc.Value, of string) {
		for _, v := range all {
			for _, name := range v.Names {
				if ast.IsExported(name) {
					names[of+name] = true
				}
			}
		}
	}
	values(p.Consts, "")
	values(p.Vars, "")
	for _, f := range p.Funcs {
		names[f.Name] = true
	}
	for _, typ := range p.Types {
		names[typ.Name] = true
		values(typ.Consts, typ.Name+".")
		values(typ.Vars, typ.Name+".")
		for _, f := range typ.Funcs {
			names[f.Name] = true
		}
		for _, m := range typ.Methods {
			names[typ.Name+"."+m.Name] = true
		}
		for _, field := range fields(typ.Decl) {
			names[typ.Name+"."+field] = true
		}
	}
	return names
}

// The function `fields` returns the exported fields of a struct, or the methods of an interface.
func fields(decl *ast.GenDecl) (names []string) {
	ast.Inspect(decl, func(n ast.Node) bool {
		var list *ast.FieldList
		switch n := n.(type) {
		case *ast.StructType:
			list = n.Fields
		case *ast.InterfaceType:
			list = n.Methods
		default:
			return true
		}
		for _, field := range list.List {
			for _, name := range field.Names {
				if name.IsExported() {
					names = append(names, name.Name)
				}
			}
		}
		return false
	})
	return names
}

var (
	argumentsPattern = regexp.MustCompile(`\([^()]*\)`)
	bracesPattern    = regexp.MustCompile(`(\w+)\{([^{}]*)\}`)
	// namePattern matches N and T.N. It also matches session.Options as a whole. Such a match is no
	// exported name, because it begins with a lower-case letter.
	namePattern = regexp.MustCompile(`[\w.]+`)
)

// namesOfTable returns the exported names in the column "now" of a section, without arguments. If a
// cell of this column begins with the sign "=", the names of the column "before" also belong to
// this cell. In both columns, T{A, B} stands for T, T.A and T.B.
func namesOfTable(section string) map[string]bool {
	names := map[string]bool{}
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		cell := cells[2]
		if strings.HasPrefix(cell, " =") {
			cell = cells[1] + cell
		}
		cell = argumentsPattern.ReplaceAllString(cell, "")
		cell = bracesPattern.ReplaceAllStringFunc(cell, func(text string) string {
			of := bracesPattern.FindStringSubmatch(text)
			return of[1] + " " + of[1] + "." + strings.ReplaceAll(of[2], ", ", " "+of[1]+".")
		})
		for _, name := range namePattern.FindAllString(cell, -1) {
			typ, _, _ := strings.Cut(name, ".")
			if ast.IsExported(name) {
				names[name], names[typ] = true, true
			}
		}
	}
	return names
}
