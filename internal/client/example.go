package client

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed examples/lock.py examples/Lock.java examples/lock.sh examples/golang/main.go
var examples embed.FS

// Languages returns the languages for which there is an example.
func Languages() []string { return []string{"go", "java", "python", "sh"} }

// Example returns the source of a small client in the language.
func Example(language string) ([]byte, error) {
	file := map[string]string{"go": "golang/main.go", "java": "Lock.java", "python": "lock.py", "sh": "lock.sh"}[language]
	if file == "" {
		return nil, fmt.Errorf("client: no example in %q: the languages are %s", language, strings.Join(Languages(), ", "))
	}
	return examples.ReadFile("examples/" + file)
}
