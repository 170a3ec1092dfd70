package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// A function is the analysis of one function from its beginning to its end, including the function
// literals in it.
type function struct {
	pass  *analysis.Pass
	info  *types.Info
	holds []*hold

	fails   bool       // a result of the innermost function is an error
	failing int        // number of enclosing branches in which an error was found
	breaks  [][]*state // states in which the enclosing statements are left early
}

func checkFunction(pass *analysis.Pass, typ *ast.FuncType, body *ast.BlockStmt) {
	f := &function{pass: pass, info: pass.TypesInfo}
	f.body(typ, body, newState())
	f.finish(body)
}

// The method `body` analyzes the body of a function that is called in the given state.
func (f *function) body(typ *ast.FuncType, body *ast.BlockStmt, st *state) {
	outer := *f
	f.fails, f.failing, f.breaks = false, 0, nil
	if typ.Results != nil {
		for _, r := range typ.Results.List {
			f.fails = f.fails || isError(f.info.TypeOf(r.Type))
		}
	}
	f.block(body.List, st)
	f.fails, f.failing, f.breaks = outer.fails, outer.failing, outer.breaks
}

// The method `block` analyzes statements. It reports whether their end is unreachable.
func (f *function) block(list []ast.Stmt, st *state) (ends bool) {
	for i, s := range list {
		if e, ok := s.(*ast.ExprStmt); ok {
			f.noteDropped(e.X, st, i+1 < len(list) && returnsOther(list[i+1]))
		}
		ends = f.stmt(s, st) || ends
	}
	return ends
}

func (f *function) stmt(s ast.Stmt, st *state) (ends bool) {
	switch s := s.(type) {
	case *ast.BlockStmt:
		return f.block(s.List, st)
	case *ast.LabeledStmt:
		return f.stmt(s.Stmt, st)
	case *ast.ExprStmt:
		f.expr(s.X, st)
		return f.exits(s.X)
	case *ast.AssignStmt:
		f.assign(s.Lhs, s.Rhs, st)
	case *ast.DeclStmt:
		f.declare(s.Decl, st)
	case *ast.DeferStmt:
		f.noteDropped(s.Call, st, true)
		f.later(s.Call)
	case *ast.GoStmt:
		f.expr(s.Call, st)
	case *ast.ReturnStmt:
		for _, e := range s.Results {
			f.expr(e, st)
		}
		return true
	case *ast.BranchStmt:
		if s.Tok != token.CONTINUE && len(f.breaks) > 0 {
			f.breaks[len(f.breaks)-1] = append(f.breaks[len(f.breaks)-1], st.clone())
		}
		return s.Tok != token.FALLTHROUGH
	case *ast.IfStmt:
		return f.branch(s, st)
	case *ast.ForStmt:
		f.optional(s.Init, st)
		f.expr(s.Cond, st)
		breaks := f.loop(s, s.Body, s.Post, st, st.clone())
		return s.Cond == nil && breaks == 0
	case *ast.RangeStmt:
		f.expr(s.X, st)
		each := st.clone()
		if h := f.iterates(s); h != nil {
			f.add(h, each)
		}
		f.loop(s, s.Body, nil, st, each)
	case *ast.SwitchStmt:
		f.optional(s.Init, st)
		f.expr(s.Tag, st)
		return f.clauses(s, s.Body, s.Tag, st)
	case *ast.TypeSwitchStmt:
		f.optional(s.Init, st)
		f.optional(s.Assign, st)
		return f.clauses(s, s.Body, nil, st)
	case *ast.SelectStmt:
		return f.clauses(s, s.Body, nil, st)
	case *ast.SendStmt:
		f.expr(s.Chan, st)
		f.expr(s.Value, st)
	case *ast.IncDecStmt:
		f.expr(s.X, st)
	}
	return false
}

func (f *function) optional(s ast.Stmt, st *state) {
	if s != nil {
		f.stmt(s, st)
	}
}

// The method `exits` reports whether a call does not return.
func (f *function) exits(e ast.Expr) bool {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return false
	}
	pkg, _, name := callee(f.info, call)
	return pkg == "" && name == "panic" || pkg == "os" && name == "Exit" ||
		pkg == "log" && (strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic"))
}

func (f *function) branch(s *ast.IfStmt, st *state) (ends bool) {
	f.optional(s.Init, st)
	f.expr(s.Cond, st)
	then, other := st.clone(), st.clone()
	for _, h := range st.held {
		switch f.tests(s.Cond, h.err) {
		case success:
			other.failed[h] = true
		case failure:
			then.failed[h] = true
		}
	}
	test := f.testsAny(s.Cond)
	thenEnds := f.within(test == failure, func() bool { return f.block(s.Body.List, then) })
	otherEnds := s.Else != nil && f.within(test == success, func() bool { return f.stmt(s.Else, other) })
	switch { // if one branch never continues, the other one decides which holds have failed afterwards
	case thenEnds:
		st.failed = other.failed
	case otherEnds:
		st.failed = then.failed
	}
	f.join(s, st, then, thenEnds)
	f.join(s, st, other, otherEnds)
	return thenEnds && otherEnds
}

func (f *function) within(failing bool, read func() bool) bool {
	if failing {
		f.failing++
		defer func() { f.failing-- }()
	}
	return read()
}

func (f *function) join(at ast.Node, st, branch *state, ended bool) {
	if !ended {
		st.join(at.Pos(), branch)
	}
}

// The method `loop` analyzes the body of a loop, and returns in how many places the loop is left
// early.
func (f *function) loop(at ast.Node, body *ast.BlockStmt, post ast.Stmt, st, each *state) (breaks int) {
	f.breaks = append(f.breaks, nil)
	if !f.block(body.List, each) {
		f.optional(post, each)
		st.join(at.Pos(), each)
	}
	return f.leave(at, st)
}

// The method `leave` joins the states in which a statement was left early, and returns their
// number.
func (f *function) leave(at ast.Node, st *state) int {
	last := len(f.breaks) - 1
	left := f.breaks[last]
	f.breaks = f.breaks[:last]
	st.join(at.Pos(), left...)
	return len(left)
}

func (f *function) clauses(at ast.Node, body *ast.BlockStmt, tag ast.Expr, st *state) (ends bool) {
	f.breaks = append(f.breaks, nil)
	ends, whole := true, false
	after := st.clone()
	for _, s := range body.List {
		one := st.clone()
		var list []ast.Stmt
		test := neither
		switch s := s.(type) {
		case *ast.CaseClause:
			list, whole = s.Body, whole || s.List == nil
			for _, e := range s.List {
				f.expr(e, st)
				test = max(test, f.testsAny(e))
				for _, h := range st.held {
					if f.tests(e, h.err) == failure || tag != nil && f.tests(tag, h.err) != neither {
						one.failed[h] = true
					}
				}
			}
		case *ast.CommClause:
			list, whole = s.Body, true
			f.optional(s.Comm, one)
		}
		oneEnds := f.within(test == failure || tag != nil && f.testsAny(tag) != neither, func() bool { return f.block(list, one) })
		f.join(at, after, one, oneEnds)
		ends = ends && oneEnds
	}
	*st = *after
	return f.leave(at, st) == 0 && ends && whole
}

// A test says what a condition proves about an error.
type test int

const (
	neither test = iota
	success      // for example err == nil: if the condition is true, there is no error
	failure      // for example err != nil: if the condition is true, there may be an error
)

// The method `tests` returns how a condition depends on the error in a variable.
func (f *function) tests(cond ast.Expr, err types.Object) test {
	if err == nil {
		return neither
	}
	return f.testsThat(cond, func(id *ast.Ident) bool { return f.info.Uses[id] == err })
}

// testsAny returns how a condition depends on any error.
func (f *function) testsAny(cond ast.Expr) test {
	return f.testsThat(cond, func(id *ast.Ident) bool {
		v, ok := f.info.Uses[id].(*types.Var)
		return ok && isError(v.Type())
	})
}

func (f *function) testsThat(cond ast.Expr, isErr func(id *ast.Ident) bool) test {
	if u, ok := ast.Unparen(cond).(*ast.UnaryExpr); ok && u.Op == token.NOT {
		if f.testsThat(u.X, isErr) == failure { // for example !errors.Is(err, lock.ErrLocked)
			return success
		}
		return neither
	}
	b, binary := ast.Unparen(cond).(*ast.BinaryExpr)
	if binary && b.Op == token.LAND && (f.testsThat(b.X, isErr) == success || f.testsThat(b.Y, isErr) == success) {
		return success
	}
	if binary && b.Op == token.EQL && f.isNil(b.Y) {
		if id, ok := ast.Unparen(b.X).(*ast.Ident); ok && isErr(id) {
			return success
		}
	}
	found := neither
	ast.Inspect(cond, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && isErr(id) {
			found = failure
		}
		return true
	})
	return found
}

func (f *function) isNil(e ast.Expr) bool { return f.info.Types[e].IsNil() }

func (f *function) declare(d ast.Decl, st *state) {
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range g.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok {
			names := make([]ast.Expr, len(v.Names))
			for i, n := range v.Names {
				names[i] = n
			}
			f.assign(names, v.Values, st)
		}
	}
}

// The method `object` returns the variable of an expression, or nil.
func (f *function) object(e ast.Expr) types.Object {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok || id.Name == "_" {
		return nil
	}
	return f.info.ObjectOf(id)
}

// The method `assign` analyzes an assignment, which may acquire a hold or give a new value to a
// context.
func (f *function) assign(lhs, rhs []ast.Expr, st *state) {
	for _, e := range rhs {
		f.expr(e, st)
	}
	if len(rhs) == 1 {
		if call, ok := ast.Unparen(rhs[0]).(*ast.CallExpr); ok && acquires(f.info, call) != nil {
			f.acquire(lhs, call, st)
			return
		}
	}
	for i, l := range lhs {
		obj := f.object(l)
		if obj == nil || !isContext(obj.Type()) || len(rhs) == 0 {
			continue
		}
		st.bound[obj] = f.boundOf(rhs[min(i, len(rhs)-1)], st)
	}
}

// The method `acquire` records the hold that a call returns.
func (f *function) acquire(lhs []ast.Expr, call *ast.CallExpr, st *state) {
	h := f.newHold(acquires(f.info, call), call)
	for i, t := range results(f.info, call) {
		if i >= len(lhs) {
			break
		}
		obj := f.object(lhs[i])
		switch {
		case kindOf(t) != nil && obj == nil && !isBlank(lhs[i]):
			return // a field or an element, which checkFields handles
		case kindOf(t) != nil:
			h.obj = obj
		case isError(t):
			h.err = obj
		case isContext(t) && obj != nil:
			st.bound[obj] = append(st.active(), h)
		}
	}
	f.add(h, st)
}

func (f *function) add(h *hold, st *state) {
	f.holds = append(f.holds, h)
	st.add(h)
}

func isBlank(e ast.Expr) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && id.Name == "_"
}

func (f *function) newHold(k *kind, call *ast.CallExpr) *hold {
	h := &hold{kind: k, at: call, from: call.End()}
	if arg := asked(f.info, call); f.object(arg) == nil {
		h.asked = types.ExprString(arg)
	}
	return h
}

// The method `iterates` returns the hold of a loop over claims, or nil for any other loop.
func (f *function) iterates(s *ast.RangeStmt) *hold {
	call, ok := ast.Unparen(s.X).(*ast.CallExpr)
	if !ok || s.Key == nil || asked(f.info, call) == nil {
		return nil
	}
	obj := f.object(s.Key)
	if obj == nil || kindOf(obj.Type()) == nil {
		return nil
	}
	h := f.newHold(kindOf(obj.Type()), call)
	h.obj = obj
	if s.Value != nil {
		h.err = f.object(s.Value)
	}
	return h
}

// boundOf returns the holds to which a context is bound: if one of these holds is lost, the context
// ends. A call under a hold is not reported because of a context that is bound to the hold.
//
// The expression e is the right-hand side of the assignment to the context's variable. If the
// origin of the context is unknown, or if e calls context.WithoutCancel, boundOf returns all active
// holds. So no call under these holds is reported because of this context.
func (f *function) boundOf(e ast.Expr, st *state) (list []*hold) {
	known := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			if pkg, _, name := callee(f.info, n); pkg == "context" && name == "WithoutCancel" {
				known, list = true, append(list, st.active()...) // the program lets it continue on purpose
				return false
			}
		case *ast.SelectorExpr:
			if h := st.holdIn(f.object(n.X)); h != nil && (n.Sel.Name == "Bind" || n.Sel.Name == "Context") {
				known, list = true, append(list, h)
			}
		case *ast.Ident:
			if obj := f.info.Uses[n]; obj != nil && isContext(obj.Type()) {
				known, list = true, append(list, st.boundTo(obj)...)
			}
		}
		return true
	})
	if !known {
		return st.active() // the origin of the context is unknown, and in doubt nothing is reported
	}
	return list
}

// returnsOther reports whether a statement returns an error that is neither nil nor a variable.
func returnsOther(s ast.Stmt) bool {
	r, ok := s.(*ast.ReturnStmt)
	if !ok || len(r.Results) == 0 {
		return false
	}
	_, name := ast.Unparen(r.Results[len(r.Results)-1]).(*ast.Ident)
	return !name
}

// noteDropped records a call of Unlock, Resign or Ack whose error is dropped, at most one call for
// each hold. An Unlock or Resign is recorded only if three things are true: the analyzed function
// returns an error, the call is in no branch in which an error was found, and `elsewhere` is false.
// The parameter `elsewhere` is true if the function returns another error right after the call, or
// if the call is deferred. An Ack is recorded even if these three things are not true. The methods
// Release and Reject of a claim are never recorded.
func (f *function) noteDropped(e ast.Expr, st *state, elsewhere bool) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return
	}
	h, name := f.method(call, st)
	if h == nil || h.dropped != nil || st.failed[h] || !slices.Contains(h.kind.must, name) {
		return
	}
	if h.kind.proves || f.fails && f.failing == 0 && !elsewhere {
		h.dropped = call
	}
}

// The method `method` returns the hold whose method is called, and the name of that method.
func (f *function) method(call *ast.CallExpr, st *state) (*hold, string) {
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return nil, ""
	}
	return st.holdIn(f.object(sel.X)), sel.Sel.Name
}
