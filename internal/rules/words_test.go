package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ruledOut has the words and patterns that comments, documents, help texts, errors and test
// failures must not contain. Readers who are not native speakers had to read sentences with these
// words twice. The field `instead` names the words to use in place of the words that `pattern`
// matches.
var ruledOut = []struct{ pattern, instead string }{
	{`told|tells?|telling`, "say, report, return or notify"},
	{`asks?|asked|asking`, "request, read or query"},
	{`looks?|looked|looking`, "read, check or search"},
	{`hears?|heard`, "receive or notice"},
	{`knows? of|known of`, "know, or have applied"},
	{`anew`, "again, or recreate"},
	{`beside|besides`, "next to, or in addition to"},
	{`in vain`, "without success"},
	{`mends?|mended|mending`, "restore, fix or correct"},
	{`wounds?`, "fault"},
	{`made small`, "minimized"},
	{`one's own|of one's`, "the program's own"},
	{`go on|goes on|going on|went on`, "continue"},
	{`under way`, "in progress"},
	{`holds? (?:\w+ )?up|held up`, "block or delay"},
	{`now and then`, "sometimes"},
	{`whoever`, "the client that"},
	{`, say,`, "for example"},
	{`(?:^|[.:] )(?:Who|What) [^.?!]*\.`, "a subject that names the actor, instead of a relative clause"},
}

// The list `allowed` has the phrases in which a word of ruledOut has its usual meaning.
var allowed = []struct{ phrase, reason string }{
	{`told apart|tells? \w+(?: \w+)? (?:apart|from)`, "distinguish"},
	{`looks? up|looked up|looks? like|look the same|looks the same`, "the usual verbs"},
	{`state LOOKING|"looking"`, "a state of ZooKeeper's servers"},
	{`Mend\w*`, "functions of zktest"},
}

var (
	ruledOutWords = func() (all []*regexp.Regexp) {
		for _, r := range ruledOut {
			pattern := r.pattern
			if regexp.MustCompile(`^\w`).MatchString(pattern) {
				pattern = `(?i)\b(?:` + pattern + `)\b`
			}
			all = append(all, regexp.MustCompile(pattern))
		}
		return all
	}()
	allowedPhrases = func() (all []*regexp.Regexp) {
		for _, a := range allowed {
			all = append(all, regexp.MustCompile(a.phrase))
		}
		return all
	}()
)

// A passage is a comment, a string or a paragraph.
type passage struct{ place, text string }

func badWords(p passage) (problems []string) {
	for _, phrase := range allowedPhrases {
		p.text = phrase.ReplaceAllString(p.text, "")
	}
	for i, word := range ruledOutWords {
		if found := word.FindString(p.text); found != "" {
			problems = append(problems, fmt.Sprintf("%s: %q: use %s", p.place, strings.TrimLeft(found, ".: "), ruledOut[i].instead))
		}
	}
	return problems
}

func TestNoTextHasAWordThatIsRuledOut(t *testing.T) {
	var all []passage
	set := token.NewFileSet()
	for name := range goFiles(t) {
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, comments(set, file)...), messages(set, file, isTest(name))...)
	}
	for name, text := range documents(t) {
		all = append(all, paragraphs(name, text)...)
	}
	if len(all) < 10_000 {
		t.Errorf("found %d passages, want at least 10000", len(all))
	}
	slices.SortFunc(all, func(a, b passage) int { return strings.Compare(a.place, b.place) })
	for _, p := range all {
		for _, problem := range badWords(p) {
			t.Error(problem)
		}
	}
}

// The function `comments` returns the comments of a file. If a word of a comment is also a name in
// the file's code, the function replaces this word by x. So a comment can name a function of the
// code, even if that name is a word that the list ruledOut forbids.
func comments(set *token.FileSet, file *ast.File) (all []passage) {
	names := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
	word := regexp.MustCompile(`\w+`)
	for _, group := range file.Comments {
		text := word.ReplaceAllStringFunc(strings.Join(strings.Fields(group.Text()), " "), func(s string) string {
			if names[s] {
				return "x"
			}
			return s
		})
		all = append(all, passage{set.Position(group.Pos()).String(), text})
	}
	return all
}

// The function `messages` returns the texts for people in a file: strings of several words. If the
// file is a test, it returns only the strings in the failures that the test reports.
func messages(set *token.FileSet, file *ast.File, test bool) (all []passage) {
	add := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING || strings.Count(literal.Value, " ") < 2 {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				panic(err) // the parser has accepted it
			}
			all = append(all, passage{set.Position(literal.Pos()).String(), strings.Join(strings.Fields(text), " ")})
			return true
		})
	}
	if !test {
		add(file)
		return all
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Error", "Errorf", "Fatal", "Fatalf"}, f.Sel.Name) {
				for _, arg := range call.Args {
					add(arg)
				}
			}
		}
		return true
	})
	return all
}

// The pattern `code` matches code within the prose of a document.
var code = regexp.MustCompile("`[^`]*`|<[^>]*>|\\]\\([^)]*\\)")

// The function `paragraphs` returns the paragraphs of a document. Each row of a table is a separate
// paragraph. Blocks of code are left out, and code within a line is replaced by x.
func paragraphs(name, text string) (all []passage) {
	var lines []string
	start := 0
	flush := func() {
		if len(lines) > 0 {
			prose := code.ReplaceAllString(strings.Join(lines, " "), "x")
			all = append(all, passage{fmt.Sprintf("%s:%d", name, start), prose})
		}
		lines = nil
	}
	for i, line := range prose(text) {
		if line == "" || strings.HasPrefix(line, "|") {
			flush()
		}
		if line = strings.TrimSpace(line); line != "" {
			if len(lines) == 0 {
				start = i
			}
			lines = append(lines, line)
		}
	}
	flush()
	return all
}

// The function `prose` returns an iterator over the lines of a document, with their numbers. It
// yields an empty line for each line of a block of code.
func prose(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		fenced := false
		for i, line := range strings.Split(text, "\n") {
			fence := strings.HasPrefix(strings.TrimSpace(line), "```")
			fenced = fenced != fence
			if fenced || fence || strings.HasPrefix(line, "    ") && !strings.HasPrefix(strings.TrimSpace(line), "- ") {
				line = ""
			}
			if !yield(i+1, line) {
				return
			}
		}
	}
}

func TestBadWordsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"The client is told of the loss.":                           1,
		"What is invalid is minimized. It asks the server.":         2,
		"What does it cost? The two cannot be told apart.":          0,
		"A reader looks at the queue beside the lock.":              2,
		"The name is looked up, and the nested command looks right": 1,
	} {
		if got := badWords(passage{"here", text}); len(got) != want {
			t.Errorf("%q: got %q, want %d problems", text, got, want)
		}
	}
}

// The list `generated` has the documents whose lines are written by a program.
var generated = []string{"docs/guarantees.md", "docs/faults.md", "docs/mutants.md"}

const maxWidth = 100

// tooWide returns the lines of comments and of prose that are wider than maxWidth. A tab counts as
// four columns. These may be wider: a comment after code, preformatted text, a table, a link, a
// long command, a single long word, and the output of an example.
func tooWide(name, text string) (problems []string) {
	link := regexp.MustCompile("\\]\\([^)]*\\)|https?://\\S+|`[^`]{50,}`")
	check := func(number int, line string) {
		short := link.ReplaceAllString(line, "]")
		if n := len([]rune(strings.ReplaceAll(short, "\t", "    "))); n > maxWidth && len(strings.Fields(short)) > 2 {
			problems = append(problems, fmt.Sprintf("%s:%d: %d columns, want at most %d", name, number, n, maxWidth))
		}
	}
	if path.Ext(name) == ".md" {
		for i, line := range prose(text) {
			if !strings.HasPrefix(line, "|") {
				check(i, line)
			}
		}
		return problems
	}
	output := false
	for i, line := range strings.Split(text, "\n") {
		comment := strings.TrimLeft(line, "\t")
		output = strings.HasPrefix(comment, "// Output:") || output && strings.HasPrefix(comment, "//")
		if strings.HasPrefix(comment, "// ") && !output {
			check(i+1, line)
		}
	}
	return problems
}

func TestProseAndCommentsFitTheWidth(t *testing.T) {
	texts := documents(t)
	for _, name := range generated {
		delete(texts, name)
	}
	for name := range goFiles(t) {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(source)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, problem := range tooWide(name, texts[name]) {
			t.Error(problem)
		}
	}
}

func TestWideLinesAreFound(t *testing.T) {
	wide := strings.Repeat("word ", 21)
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"a.go", "// " + wide, 1}, {"a.go", "//\t" + wide, 0}, {"a.go", "x := 1 // " + wide, 0}, {"a.go", "\t// " + wide[:90], 0}, {"a.go", "\t// " + wide[:94], 1},
		{"a.md", wide, 1}, {"a.md", "| " + wide, 0}, {"a.md", "```\n" + wide + "\n```\n", 0}, {"a.md", "see [a](" + strings.Repeat("x", 100) + ")", 0},
	} {
		if got := tooWide(c.name, c.text); len(got) != c.want {
			t.Errorf("%s: %q: got %q, want %d problems", c.name, c.text, got, c.want)
		}
	}
}
