package rules

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/scenarios"
)

// The function `documents` returns the texts of the Markdown files. The key of each text is the
// path of the file from the repository's root. The function skips directories whose name is store
// or begins with a dot.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "store"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			text, err := os.ReadFile(name)
			texts[filepath.ToSlash(name)] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksInDocumentsResolve(t *testing.T) {
	for document, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(path.Join(path.Dir(document), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", document, m[1])
			}
		}
	}
}

// The pattern `command` matches the commands in a document. A command has its own line or is
// between backquotes.
var command = regexp.MustCompile("(?m)(?:^(?:    )?|`)((?:script/|go test )[^`#\n]*)|(?:^    |`)(zkcoord [^`#\n]*)")

func TestCommandsInDocumentsExist(t *testing.T) {
	found := make(map[string]int)
	for document, text := range documents(t) {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1] + m[2])
			found[document]++
			switch {
			case words[0] == "go":
				testsExist(t, document, words[2:])
			case words[0] == "zkcoord" || words[0] == "script/zkcoord":
				subcommandExists(t, document, words)
			default:
				if info, err := os.Stat(words[0]); err != nil || info.Mode()&0o111 == 0 {
					t.Errorf("%s: %s is not an executable command: %v", document, words[0], err)
				}
			}
		}
	}
	if found["README.md"] < 2 || found["CONTRIBUTING.md"] < 2 {
		t.Errorf("got few commands: %v, want at least 2 in README.md and CONTRIBUTING.md", found)
	}
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)

// testsExist checks that the packages have tests, and that each pattern of -run or -fuzz matches a
// test.
func testsExist(t *testing.T, document string, args []string) {
	t.Helper()
	var names []string
	for i, arg := range args {
		if arg != "." && !strings.HasPrefix(arg, "./") || i > 0 && args[i-1] == "-bench" {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(arg, "*_test.go"))
		if len(files) == 0 {
			t.Errorf("%s: %s has no tests", document, arg)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testFunction.FindAllStringSubmatch(string(source), -1) {
				names = append(names, m[1])
			}
		}
	}
	for i, arg := range args {
		if arg != "-run" && arg != "-fuzz" {
			continue
		}
		pattern, _, _ := strings.Cut(strings.Trim(args[i+1], `'"`), "/")
		if pattern == "^$" || pattern == "xxx" {
			continue // deliberately selects no test
		}
		if !slices.ContainsFunc(names, regexp.MustCompile(pattern).MatchString) {
			t.Errorf("%s: no test matches %s", document, args[i+1])
		}
	}
}

var subcommand = regexp.MustCompile(`(?:Use:\s+|znodeCommand\()"(\w+)`)

// subcommandExists checks that zkcoord has the command `words[1]`. If this is the command `run`,
// subcommandExists also checks that the scenario `words[2]` exists.
func subcommandExists(t *testing.T, document string, words []string) {
	t.Helper()
	files, err := filepath.Glob("cmd/zkcoord/*.go")
	if err != nil || len(words) < 2 {
		t.Fatalf("%s: the command %q needs two words, and the files of cmd/zkcoord were listed with error %v",
			document, words, err)
	}
	known := make(map[string]bool)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range subcommand.FindAllStringSubmatch(string(source), -1) {
			known[m[1]] = true
		}
	}
	if !known[words[1]] {
		t.Errorf("%s: zkcoord has no command %s", document, words[1])
	}
	if words[1] == "run" && len(words) > 2 && words[2][0] != '-' && document != "docs/tutorial.md" { // the tutorial creates its own scenario
		for _, s := range scenarios.All() {
			known["scenario "+s.Name] = true
		}
		if words[2] != "all" && !known["scenario "+words[2]] {
			t.Errorf("%s: no scenario is named %s", document, words[2])
		}
	}
}
