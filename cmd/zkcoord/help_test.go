package main

import (
	"io"
	"strings"
	"testing"
)

// Each command says what it does and shows how, knows --json, and tells of a flag that there is not where to look.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := (&app{out: &output{Writer: io.Discard}, errs: io.Discard}).root()
	for _, c := range root.Commands() {
		if c.Short == "" || c.Example == "" {
			t.Errorf("zkcoord %s: no help or no example", c.Name())
		}
		for _, args := range [][]string{{c.Name(), "--help"}, {c.Name(), "--frobnicate"}} {
			var out, errs strings.Builder
			code := run(args, strings.NewReader(""), &out, &errs)
			switch args[1] {
			case "--help":
				if code != exitValid || !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "--json") {
					t.Errorf("zkcoord %s --help: code %d, %s", c.Name(), code, out.String())
				}
			default:
				hint := ""
				if strings.Contains(c.Use, "VALUE") {
					hint = "; a value that begins with - goes behind --: zkcoord " + c.Name() + " -- PATH VALUE"
				}
				if want := "zkcoord: unknown flag: --frobnicate (see zkcoord " + c.Name() + " --help" + hint + ")\n"; code != exitFailed || errs.String() != want {
					t.Errorf("zkcoord %s --frobnicate: code %d, %q", c.Name(), code, errs.String())
				}
			}
		}
	}
}
