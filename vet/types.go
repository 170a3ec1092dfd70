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
	word      string   // what messages call it
	releases  []string // methods that end it
	must      []string // those of them whose error says if it was lost
	proves    bool     // its release is a transaction that fails if it was lost
}

var kinds = []kind{
	{"lock", "Grant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"lock", "WriteGrant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"lock", "MultiGrant", "grant", []string{"Unlock"}, []string{"Unlock"}, false},
	{"election", "Term", "term", []string{"Resign"}, []string{"Resign"}, false},
	{"queue", "Claim", "claim", []string{"Ack", "Release", "Reject"}, []string{"Ack"}, true},
}

// What a program does with a hold by calling its methods.
var (
	// looking tells nothing about a loss.
	looking = []string{"Path", "ID", "Attempt", "Value"}
	// fencing lets a resource, or the servers, refuse what comes too late.
	fencing = []string{"Token", "Epoch", "Txn"}
)

// kindOf returns the kind of hold that t is, nil if it is none.
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

// results are the types that a call returns.
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

// acquires returns the kind of hold that a call returns first, if it gets a
// context: it may wait for the hold. A getter gets none.
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

// asked is the context that a call gets, nil if it gets none.
func asked(info *types.Info, call *ast.CallExpr) ast.Expr {
	for _, arg := range call.Args {
		if t := info.TypeOf(arg); t != nil && isContext(t) {
			return ast.Unparen(arg)
		}
	}
	return nil
}

// callee returns the package path, the receiver's type and the name of what is
// called, as far as they are known.
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

// loggers are packages that only write down what a context has.
var loggers = []string{"log", "slog", "logging", "logger", "logrus", "zap", "zerolog", "klog", "glog", "zlog"}

// harmless reports whether a call gets the context for its values, and not to work
// until it ends.
func harmless(info *types.Info, call *ast.CallExpr) bool {
	pkg, receiver, name := callee(info, call)
	last := pkg[strings.LastIndexByte(pkg, '/')+1:]
	switch {
	case pkg == "context", strings.HasPrefix(pkg, "runtime/"), strings.HasPrefix(pkg, "go.opentelemetry.io/"),
		slices.Contains(loggers, last), receiver == "Logger", strings.Contains(name, "FromContext"), strings.Contains(name, "FromIncomingContext"):
		return true
	}
	r := results(info, call)
	if slices.ContainsFunc(r, isContext) { // what it returns is followed
		return true
	}
	// A value that is in the context: what works says if it failed.
	return len(call.Args) == 1 && len(r) > 0 && !slices.ContainsFunc(r, isError)
}

// delays reports whether a call keeps the functions that it is given, to call them
// later.
func delays(info *types.Info, call *ast.CallExpr) bool {
	_, _, name := callee(info, call)
	switch name {
	case "AfterFunc", "Cleanup", "OnEnd", "Handle", "HandleFunc", "Defer", "Register", "RegisterOnShutdown":
		return true
	}
	return false
}
