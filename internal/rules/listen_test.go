package rules

import (
	"go/ast"
	"strings"
	"testing"
)

// The map `listening` has the files in which the address of a listener is not a literal 127.0.0.1.
// The key is the path of the file, and the value says which address the listener has.
var listening = map[string]string{
	"zktest/tcp.go":                           "Options.Listen, if the caller sets it",
	"cmd/zkcoord/store.go":                    "--address, if the user sets it",
	"examples/registry/main.go":               "-listen, if the user sets it",
	"harness/ensemble/container/container.go": "the address on loopback at which a node is published",
	"harness/ensemble/process/port.go":        "a port of the loopback interface, and its name in the abstract namespace of sockets",
}

// No program listens for other machines unless a user requests it.
func TestListenersAreOnLoopback(t *testing.T) {
	found := make(map[string]bool)
	for name, file := range goFiles(t) {
		if isTest(name) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "Listen" && f.Sel.Name != "ListenTCP" && f.Sel.Name != "ListenPacket" && f.Sel.Name != "ListenAndServe" {
				return true
			}
			address, _ := call.Args[len(call.Args)-1].(*ast.BasicLit)
			switch found[name] = true; {
			case address != nil && strings.HasPrefix(address.Value, `"127.0.0.1:`):
			case listening[name] == "":
				t.Errorf("%s may listen for other machines", name)
			}
			return true
		})
	}
	for name := range listening {
		if !found[name] {
			t.Errorf("%s is an exception, but does not listen", name)
		}
	}
}
