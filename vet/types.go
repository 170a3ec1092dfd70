package vet

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

const module = "github.com/zkcoord/zkcoord/"

// A kind is one of the types of holds.
type kind struct {
	pkg, name string
	word      string   // the name in messages
	releases  []string // methods that release the hold
	must      []string // those releases whose error says whether the hold was lost
	proves    bool     // a release is a transaction that fails if the hold was lost
}

var kinds = []kind{
	{"lock", "Grant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"lock", "WriteGrant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"lock", "MultiGrant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"election", "Term", "term", []string{"Resign"}, []string{"Resign"}, false},
	{"queue", "Claim", "claim", []string{"Ack", "Release", "Reject"}, []string{"Ack"}, true},
}

// Names of methods of holds, grouped by their use.
var (
	// The list `looking` has the methods that reveal nothing about a loss.
	looking = []string{"Path", "ID", "Attempt", "Value"}
	// The list `fencing` has the methods with which a resource or the servers can refuse late
	// requests.
	fencing = []string{"Token", "Epoch", "Txn"}
)

// kindOf returns the kind of hold of the type `t`, or nil.
func kindOf(t types.Type) *kind {
	p, ok := types.Unalias(t).(*types.Pointer)
	if !ok {
		return nil
	}
	n, ok := types.Unalias(p.Elem()).(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return nil
	}
	pkg, ours := strings.CutPrefix(n.Obj().Pkg().Path(), module)
	if !ours {
		return nil
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.pkg == pkg && k.name == n.Obj().Name() })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

func isContext(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "context" && n.Obj().Name() == "Context"
}

func isError(t types.Type) bool {
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

// The function `results` returns the types of the values that a call returns.
func results(info *types.Info, call *ast.CallExpr) []types.Type {
	switch t := info.TypeOf(call).(type) {
	case nil:
		return nil
	case *types.Tuple:
		list := make([]types.Type, t.Len())
		for i := range list {
			list[i] = t.At(i).Type()
		}
		return list
	default:
		return []types.Type{t}
	}
}

// The function `acquires` returns the kind of the first hold among the results of a call, or nil.
// The call must receive a context: a call without a context, such as a getter, cannot wait for a
// hold.
func acquires(info *types.Info, call *ast.CallExpr) *kind {
	r := results(info, call)
	if len(r) == 0 || asked(info, call) == nil {
		return nil
	}
	for _, t := range r { // a wrapper may return the context first
		if k := kindOf(t); k != nil {
			return k
		}
	}
	return nil
}

// The function `asked` returns the context that a call receives, or nil.
func asked(info *types.Info, call *ast.CallExpr) ast.Expr {
	for _, arg := range call.Args {
		if t := info.TypeOf(arg); t != nil && isContext(t) {
			return ast.Unparen(arg)
		}
	}
	return nil
}

// The function `callee` returns the package path, the receiver's type and the name of the called
// function, as far as they are known.
func callee(info *types.Info, call *ast.CallExpr) (pkg, receiver, name string) {
	obj := typeutil.Callee(info, call)
	if obj == nil {
		return "", "", ""
	}
	if obj.Pkg() != nil {
		pkg = obj.Pkg().Path()
	}
	if f, ok := obj.(*types.Func); ok {
		if recv := f.Signature().Recv(); recv != nil {
			t := types.Unalias(recv.Type())
			if p, ok := t.(*types.Pointer); ok {
				t = types.Unalias(p.Elem())
			}
			if n, ok := t.(*types.Named); ok {
				receiver = n.Obj().Name()
			}
		}
	}
	return pkg, receiver, obj.Name()
}

// The list `loggers` has the names of packages that only log the values of a context.
var loggers = []string{"log", "slog", "logging", "logger", "logrus", "zap", "zerolog", "klog", "glog", "zlog"}

// The function `harmless` reports whether a call only reads values of the context that it receives.
// Such a call does no work that would have to stop when the context ends.
func harmless(info *types.Info, call *ast.CallExpr) bool {
	pkg, receiver, name := callee(info, call)
	last := pkg[strings.LastIndexByte(pkg, '/')+1:]
	switch {
	case pkg == "context", strings.HasPrefix(pkg, "runtime/"), strings.HasPrefix(pkg, "go.opentelemetry.io/"),
		slices.Contains(loggers, last), receiver == "Logger", strings.Contains(name, "FromContext"), strings.Contains(name, "FromIncomingContext"):
		return true
	}
	r := results(info, call)
	if slices.ContainsFunc(r, isContext) { // the context that it returns is analyzed instead
		return true
	}
	// If the context is the only argument, and the call returns a result but no error, assume that
	// the call only reads a value of the context. A call that does work would return an error.
	return len(call.Args) == 1 && len(r) > 0 && !slices.ContainsFunc(r, isError)
}

// The function `delays` reports whether a call stores the functions passed to it and calls them
// later.
func delays(info *types.Info, call *ast.CallExpr) bool {
	_, _, name := callee(info, call)
	switch name {
	case "AfterFunc", "Cleanup", "OnEnd", "Handle", "HandleFunc", "Defer", "Register", "RegisterOnShutdown":
		return true
	}
	return false
}
