package vet

import (
	"go/ast"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
)

// A use is the way in which a program uses a hold.
type use int

const (
	nothing use = iota // released, compared, or described
	context            // the end of the hold can be detected
	fenced             // late requests can be refused
	passed             // other code has the hold
)

// The function `used` returns how the program uses the hold that the last node of `path` denotes.
// In `path`, each node is followed by one of its children.
func used(info *types.Info, k *kind, path []ast.Node) use {
	at := path[len(path)-1].(ast.Expr)
	above := func(n int) ast.Node {
		if len(path) <= n {
			return nil
		}
		return path[len(path)-1-n]
	}
	switch parent := above(1).(type) {
	case *ast.SelectorExpr:
		call, ok := above(2).(*ast.CallExpr)
		name := parent.Sel.Name
		switch {
		case !ok || call.Fun != parent:
			return passed
		case name == "Ack" && len(call.Args) > 1, slices.Contains(fencing, name):
			return fenced
		case slices.Contains(k.releases, name) && !dropped(above(3)), !slices.Contains(k.releases, name) && !slices.Contains(looking, name):
			return context
		}
		return nothing
	case *ast.BinaryExpr:
		if info.Types[parent.Y].IsNil() || info.Types[parent.X].IsNil() {
			return nothing
		}
	case *ast.AssignStmt:
		if slices.Contains(parent.Lhs, at) {
			return nothing
		}
	case *ast.ValueSpec:
		if !slices.Contains(parent.Values, at) {
			return nothing
		}
	case *ast.CallExpr:
		if pkg, _, name := callee(info, parent); pkg == module+"fence" && name == "TokenOf" {
			return fenced
		}
	}
	return passed
}

// The function `dropped` reports whether the statement drops the error of a release that it
// contains.
func dropped(s ast.Node) bool {
	switch s := s.(type) {
	case *ast.ExprStmt, *ast.DeferStmt, *ast.GoStmt:
		return true
	case *ast.AssignStmt:
		return !slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool { return !isBlank(e) })
	}
	return false
}

// The function `walk` calls `visit` for each node, with the path from the root to that node.
func walk(root ast.Node, visit func(path []ast.Node)) {
	var path []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return true
		}
		path = append(path, n)
		visit(path)
		return true
	})
}

// The method `finish` reports the findings about holds after the whole function was analyzed.
func (f *function) finish(body *ast.BlockStmt) {
	uses := make(map[types.Object][]use)
	byObject := make(map[types.Object]*kind)
	for _, h := range f.holds {
		if h.obj != nil {
			byObject[h.obj] = h.kind
		}
	}
	walk(body, func(path []ast.Node) {
		id, ok := path[len(path)-1].(*ast.Ident)
		if !ok {
			return
		}
		obj := f.info.Uses[id]
		if k := byObject[obj]; k != nil {
			uses[obj] = append(uses[obj], used(f.info, k, path))
		} else if obj != nil && isContext(obj.Type()) {
			uses[obj] = append(uses[obj], context)
		}
	})
	for _, h := range f.holds {
		all := slices.Concat(uses[h.obj], uses[h.inside])
		if h.obj == nil {
			all = uses[h.inside]
		}
		fencedOrPassed := slices.Contains(all, fenced) || slices.Contains(all, passed)
		switch {
		case h.wrong:
		case h.kind.proves || fencedOrPassed || slices.Contains(all, context) || h.callback != nil && idle(h.callback.Body):
			if h.dropped != nil && !fencedOrPassed {
				f.pass.ReportRangef(h.dropped, "the error of %s is dropped: it says whether the %s was lost before, and the token is not used", types.ExprString(h.dropped.(*ast.CallExpr).Fun), h.kind.word)
			}
		case h.obj == nil && h.callback == nil:
			f.pass.ReportRangef(h.at, "the %s is dropped: the program cannot detect its loss and cannot release it", h.kind.word)
		default:
			f.pass.ReportRangef(h.at, "neither the context nor the token of %s is used: the program cannot detect the loss of the %s", h.name(), h.kind.word)
		}
	}
}

// The function `idle` reports whether the body of a function does nothing. Such a function need not
// stop when a hold is lost.
func idle(body *ast.BlockStmt) bool {
	for _, s := range body.List {
		r, ok := s.(*ast.ReturnStmt)
		if !ok {
			return false
		}
		for _, e := range r.Results {
			if _, ok := ast.Unparen(e).(*ast.CallExpr); ok {
				return false
			}
		}
	}
	return true
}

// checkFields reports unexported fields that contain a grant, a term or a claim. It reports such a
// field only if two things are true: the struct has no field with a context, and the package uses
// neither the context nor the token of that grant, term or claim.
func checkFields(pass *analysis.Pass, files []*ast.File) {
	fields := make(map[types.Object]*ast.Field)
	var order []types.Object
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			if slices.ContainsFunc(s.Fields.List, func(x *ast.Field) bool { return isContext(pass.TypesInfo.TypeOf(x.Type)) }) {
				return true
			}
			for _, x := range s.Fields.List {
				for _, name := range x.Names {
					obj := pass.TypesInfo.Defs[name]
					if obj != nil && !obj.Exported() && name.Name != "_" && kindOf(obj.Type()) != nil {
						fields[obj] = x
						order = append(order, obj)
					}
				}
			}
			return true
		})
	}
	if len(fields) == 0 {
		return
	}
	good := make(map[types.Object]bool)
	for _, file := range files {
		walk(file, func(path []ast.Node) {
			sel, ok := path[len(path)-1].(*ast.SelectorExpr)
			if !ok {
				return
			}
			obj := pass.TypesInfo.Uses[sel.Sel]
			if v, ok := obj.(*types.Var); ok {
				obj = v.Origin()
			}
			if fields[obj] != nil && used(pass.TypesInfo, kindOf(obj.Type()), path) != nothing {
				good[obj] = true
			}
		})
	}
	for _, obj := range order {
		if k := kindOf(obj.Type()); !good[obj] {
			pass.ReportRangef(fields[obj], "field %s has a %s, but neither its context nor its token is used: store the context of Bind with it", obj.Name(), k.word)
		}
	}
}
