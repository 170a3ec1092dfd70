// Command lines counts the lines of Go code in a tree. It counts lines with code in files that are
// not tests, and skips blank lines and comments.
//
//	go run ./internal/lines        # each package, and the sum
//	go run ./internal/lines -sum
//
// It skips testdata, and folders whose names begin with a dot or an underscore.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", ".", "folder to count in")
	sum := flag.Bool("sum", false, "print the sum only")
	flag.Parse()
	packages, err := countTree(os.DirFS(*root))
	if err != nil {
		log.Fatal(err)
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		total += packages[name]
		if !*sum {
			fmt.Printf("%6d  %s\n", packages[name], name)
		}
	}
	fmt.Printf("%6d  lines of code\n", total)
}

// countTree counts the lines of each folder that contains Go code.
func countTree(tree fs.FS) (map[string]int, error) {
	packages := make(map[string]int)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (name == "testdata" || strings.ContainsAny(name[:1], "._")):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(tree, path)
		if err == nil {
			packages[filepath.ToSlash(filepath.Dir(path))] += count(source)
		}
		return err
	})
	return packages, err
}

// count returns the number of lines of source that contain a token or a nonblank part of a string.
func count(source []byte) int {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0) // without comments
	code := make(map[int]bool)
	for {
		pos, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return len(code)
		case tok == token.SEMICOLON && text == "\n": // added by the scanner
			continue
		}
		line := file.Line(pos)
		code[line] = true
		for i, part := range bytes.Split([]byte(text), []byte("\n")) {
			if len(bytes.TrimSpace(part)) > 0 {
				code[line+i] = true
			}
		}
	}
}
