package main

import (
	"testing"
	"testing/fstest"
)

const source = "// Package a.\npackage a\n\n/* of\ntwo */\nvar b = `raw\n\nthird` // and more\n\nfunc c() {\n\t// nothing\n}\n"

func TestOnlyLinesOfCodeCount(t *testing.T) {
	if got, want := count([]byte(source)), 5; got != want { // package, the two of b, the two of c
		t.Errorf("got %d lines, want %d", got, want)
	}
	tree := fstest.MapFS{}
	for _, name := range []string{"a/a.go", "a/b.go", "a/a_test.go", "a/a.txt", "a/testdata/a.go", ".a/a.go", "_a/a.go"} {
		tree[name] = &fstest.MapFile{Data: []byte(source)}
	}
	got, err := countTree(tree)
	if err != nil || len(got) != 1 || got["a"] != 10 {
		t.Errorf("got %v, error %v, want 10 lines in a", got, err)
	}
}
