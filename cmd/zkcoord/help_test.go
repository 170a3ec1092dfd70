package main

import (
	"io"
	"strings"
	"testing"
)

// Each command has a description and an example, supports --json, and refers to its help if a flag
// is unknown.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := (&app{out: &output{Writer: io.Discard}, errs: io.Discard}).root()
	for c := range below(root.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: got description %q and example %q, want both",
				c.CommandPath(), c.Short, c.Example)
		}
		for _, flag := range []string{"--help", "--frobnicate"} {
			var out, errs strings.Builder
			code := run(append(strings.Fields(c.CommandPath())[1:], flag), strings.NewReader(""), &out, &errs)
			switch flag {
			case "--help":
				if code != exitValid || !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "--json") {
					t.Errorf("%s --help: got code %d, want 0 with examples and --json: %s", c.CommandPath(), code, out.String())
				}
			default:
				hint := ""
				if strings.Contains(c.Use, "VALUE") {
					hint = "; write a value that begins with - after --: " + c.CommandPath() + " -- PATH VALUE"
				}
				if want := "zkcoord: unknown flag: --frobnicate (see " + c.CommandPath() + " --help" + hint + ")\n"; code != exitFailed || errs.String() != want {
					t.Errorf("%s --frobnicate: got code %d, %q, want 3, %q",
						c.CommandPath(), code, errs.String(), want)
				}
			}
		}
	}
}

// Regression: the list said nothing about the faults that only one scenario has, such as idle-hold.
func TestEveryFaultInTheListIsDescribed(t *testing.T) {
	for _, f := range newListing().Faults {
		if f.Does == "" {
			t.Errorf("zkcoord list faults: fault %s: got no description, want one", f.Name)
		}
	}
}

// Regression: `zkcoord ls /x` failed with "unknown command" and did not suggest `zkcoord znode ls
// /x`.
func TestUnknownCommandSuggestsTheRightOne(t *testing.T) {
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
			t.Errorf("zkcoord %s: got code %d, %q, want 3, %q", c.args, code, errs.String(), want)
		}
	}
}
