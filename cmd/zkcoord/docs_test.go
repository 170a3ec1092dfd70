package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var commandLine = regexp.MustCompile("(?m)(?:^|[ `/])zkcoord ([a-z]+(?: +[^ `|>#\n]+)*)")

// word matches an argument, which may have quoted parts.
var word = regexp.MustCompile(`(?:"[^"]*"|[^ "])+`)

// Every command line in the documents and in the help texts uses an existing command and existing
// flags.
func TestCommandLinesInDocumentsParse(t *testing.T) {
	texts := make(map[string]string)
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(text)
		}
	}
	quiet := func() command { return (&app{out: &output{Writer: io.Discard}, errs: io.Discard}).root() }
	for c := range below(quiet().Command) {
		texts["help of "+c.CommandPath()] = c.Example
	}
	found := 0
	for name, text := range texts {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			args := word.FindAllString(strings.ReplaceAll(m[1], "${{ github.run_number }}", "1"), -1)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], `"`, "")
			}
			root := quiet()
			c, rest, err := root.Find(args)
			if err != nil || c == root.Command {
				// This match does not name a command. Most such matches are sentences about
				// zkcoord. But if the error suggests a znode command, the match is a command line
				// that lacks the word znode.
				if err := known(root.Command, args); strings.Contains(err.Error(), "`zkcoord znode ") {
					t.Errorf("%s: zkcoord %s: %v", name, m[1], err)
				}
				continue
			}
			found++
			if err := c.ParseFlags(rest); err != nil {
				t.Errorf("%s: zkcoord %s: %v", name, m[1], err)
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d command lines, want at least 20", found)
	}
}
