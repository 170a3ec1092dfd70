package main

import (
	"io"
	"strings"
	"testing"
)

// Each command says what it does and shows how, knows --json, and tells of a flag that there is not where to look.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := (&app{out: &output{Writer: io.Discard}, errs: io.Discard}).root()
	for c := range below(root.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: no help or no example", c.CommandPath())
		}
		for _, flag := range []string{"--help", "--frobnicate"} {
			var out, errs strings.Builder
			code := run(append(strings.Fields(c.CommandPath())[1:], flag), strings.NewReader(""), &out, &errs)
			switch flag {
			case "--help":
				if code != exitValid || !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "--json") {
					t.Errorf("%s --help: code %d, %s", c.CommandPath(), code, out.String())
				}
			default:
				hint := ""
				if strings.Contains(c.Use, "VALUE") {
					hint = "; a value that begins with - goes behind --: " + c.CommandPath() + " -- PATH VALUE"
				}
				if want := "zkcoord: unknown flag: --frobnicate (see " + c.CommandPath() + " --help" + hint + ")\n"; code != exitFailed || errs.String() != want {
					t.Errorf("%s --frobnicate: code %d, %q", c.CommandPath(), code, errs.String())
				}
			}
		}
	}
}

// The commands on znodes were not below zkcoord znode at first: their names say where they are.
func TestUnknownCommandNamesTheOneMeant(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"ls /x", "unknown command \"ls\" for \"zkcoord\": did you mean `zkcoord znode ls`?"},
		{"ls /x -l --servers a:1", "unknown command \"ls\" for \"zkcoord\": did you mean `zkcoord znode ls`?"},
		{"rm /x", "unknown command \"rm\" for \"zkcoord\": did you mean `zkcoord znode delete`?"},
		{"znode rm -r /x", "unknown command \"rm\" for \"zkcoord znode\": did you mean `zkcoord znode delete`?"},
		{"watch /x", "unknown command \"watch\" for \"zkcoord\": did you mean `zkcoord znode watch`?"},
		{"rnu lock", "unknown command \"rnu\" for \"zkcoord\": did you mean `zkcoord run`?"},
		{"frobnicate", "unknown command \"frobnicate\" for \"zkcoord\" (see zkcoord --help)"},
	} {
		var out, errs strings.Builder
		code := run(strings.Fields(c.args), strings.NewReader(""), &out, &errs)
		if want := "zkcoord: " + c.want + "\n"; code != exitFailed || errs.String() != want {
			t.Errorf("zkcoord %s: code %d, %q, want %q", c.args, code, errs.String(), want)
		}
	}
}
