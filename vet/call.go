package vet

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// expr analyzes an expression that is evaluated in the given state.
func (f *function) expr(e ast.Expr, st *state) {
	if e == nil {
		return
	}
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit: // the function is stored, and may run when nothing is held
			f.body(n.Type, n.Body, newState())
			return false
		case *ast.CallExpr:
			f.call(n, st)
			return false
		case *ast.SelectorExpr:
			h := st.holdIn(f.object(n.X))
			if h == nil {
				return true
			}
			if slices.Contains(h.kind.releases, n.Sel.Name) {
				st.gone[h] = true // other code may call the method value at any time
			}
			return false
		case *ast.BinaryExpr:
			return !f.isNil(n.Y) // a comparison with nil does not pass the hold on
		case *ast.Ident:
			if h := st.holdIn(f.info.Uses[n]); h != nil {
				st.gone[h] = true // the code that receives the hold may release it
			}
		}
		return true
	})
}

// The method `later` analyzes a deferred call as if the analyzed function held nothing when the
// call runs. A call is reported because of its context only if something is held. So a deferred
// call may use the context that the analyzed function received from its caller.
func (f *function) later(call *ast.CallExpr) {
	f.expr(call, newState())
}

// The method `call` analyzes the arguments of a call, then the call itself.
func (f *function) call(call *ast.CallExpr, st *state) {
	h, name := f.method(call, st)
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.FuncLit:
		defer f.body(fun.Type, fun.Body, st)
	case *ast.SelectorExpr:
		if h == nil {
			f.expr(fun.X, st)
		}
	case *ast.Ident:
	default:
		f.expr(call.Fun, st)
	}
	before := st.clone()
	pkg, _, _ := callee(f.info, call)
	for _, arg := range call.Args {
		lit, ok := ast.Unparen(arg).(*ast.FuncLit)
		switch {
		case ok && delays(f.info, call):
			f.body(lit.Type, lit.Body, newState())
		case ok:
			f.given(call, lit, st)
		case pkg == module+"fence" && st.holdIn(f.object(arg)) != nil: // for example TokenOf
		default:
			f.expr(arg, st)
		}
	}
	f.check(call, before)
	if h != nil && slices.Contains(h.kind.releases, name) {
		st.gone[h] = true
	}
}

// The method `given` analyzes a function literal that is an argument of a call. It assumes that the
// called function calls the literal before it returns.
func (f *function) given(call *ast.CallExpr, lit *ast.FuncLit, st *state) {
	inner := st.clone()
	if h := f.callback(call, lit); h != nil {
		f.add(h, inner)
	}
	f.body(lit.Type, lit.Body, inner)
	for h := range inner.gone {
		st.gone[h] = true
	}
}

// The method `callback` returns the hold that a call of Do or Run passes to lit, or nil. It
// recognizes such a function literal by its two parameters: a context and a hold.
func (f *function) callback(call *ast.CallExpr, lit *ast.FuncLit) *hold {
	var params []*types.Var
	sig, ok := f.info.TypeOf(lit).(*types.Signature)
	if !ok || sig.Params().Len() != 2 {
		return nil
	}
	for v := range sig.Params().Variables() {
		params = append(params, v)
	}
	k := kindOf(params[1].Type())
	if k == nil || !isContext(params[0].Type()) {
		return nil
	}
	h := &hold{kind: k, obj: params[1], at: lit.Type, from: lit.Pos(), callback: lit, inside: params[0]}
	if arg := asked(f.info, call); arg != nil && f.object(arg) == nil {
		h.asked = types.ExprString(arg)
	}
	return h
}

// The method `check` reports the call if it receives a context that does not end when a hold is
// lost. The state `st` says which holds the analyzed function has at the time of the call.
func (f *function) check(call *ast.CallExpr, st *state) {
	if f.info.Types[call.Fun].IsType() || harmless(f.info, call) || acquires(f.info, call) != nil {
		return
	}
	if sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok {
		if t := f.info.TypeOf(sel.X); t != nil && kindOf(t) != nil {
			return // for example Unlock, Bind, Txn
		}
	}
	for _, arg := range call.Args {
		if t := f.info.TypeOf(arg); t == nil || !isContext(t) {
			continue
		}
		for _, h := range st.active() {
			if f.outside(arg, h, st) && !f.passes(call, h) {
				h.wrong = true
				f.report(arg, h)
				return
			}
		}
	}
}

func (f *function) report(arg ast.Expr, h *hold) {
	use := "use " + h.name() + ".Bind"
	if h.callback != nil {
		use = "use the context that is passed to the function"
	}
	f.pass.ReportRangef(arg, "work under %s uses %s, which does not end when the %s is lost: %s", h.name(), types.ExprString(arg), h.kind.word, use)
}

// The method `outside` reports whether a context continues when h is lost.
func (f *function) outside(arg ast.Expr, h *hold, st *state) bool {
	obj := f.object(arg)
	if obj == nil {
		return h.asked != "" && types.ExprString(ast.Unparen(arg)) == h.asked && !strings.Contains(h.asked, "WithoutCancel")
	}
	if obj.Parent() == f.pass.Pkg.Scope() {
		return false // a package-level variable: the origin of its context is unknown
	}
	return !slices.Contains(st.boundTo(obj), h)
}

// The method `passes` reports whether the hold itself is an argument of the call or a part of an
// argument. If so, the called function may use the hold's context. The token or the path of the
// hold alone does not count.
func (f *function) passes(call *ast.CallExpr, h *hold) (found bool) {
	if h.obj == nil {
		return false
	}
	for _, arg := range call.Args {
		ast.Inspect(arg, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if pkg, _, name := callee(f.info, n); pkg == module+"fence" && name == "TokenOf" {
					return false
				}
			case *ast.SelectorExpr:
				if f.object(n.X) == h.obj && (slices.Contains(looking, n.Sel.Name) || slices.Contains(fencing, n.Sel.Name)) {
					return false
				}
			case *ast.Ident:
				found = found || f.info.Uses[n] == h.obj
			}
			return !found
		})
	}
	return found
}
