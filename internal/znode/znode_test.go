package znode

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/invalid"
)

func TestCheckRefusesWhatServersRefuse(t *testing.T) {
	for _, path := range []string{
		"/", "/a", "/a/b", "/a.b", "/...", "/.a", "/a..", "/ä/本", "/a b", "/-0000000001",
	} {
		if err := Check(path); err != nil {
			t.Errorf("Check(%q): got %v, want nil", path, err)
		}
	}
	for _, path := range []string{
		"", "a", "a/b", "//", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/..", "/a\x00", "/a\x1f", "/\x7f", "/a\u009f",
		"/\ue000", "/\uf8ff", "/\ufff0", "/\ufffd", "/\U0001F600", "/\xff", "/a\xc3",
	} {
		if err := Check(path); !errors.Is(err, invalid.Err) {
			t.Errorf("Check(%q): got %v, want an error that wraps invalid.Err", path, err)
		}
	}
}

// The error of Check says what is wrong with the path. Regression: the error for a trailing slash
// was 'bad name ""', and the error for a forbidden character quoted the rest of the path.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	for path, want := range map[string]string{
		"a":               `"a": must start with /`,
		"/a/":             `"/a/": must not end with /`,
		"//":              `"//": // has no name between its slashes`,
		"/a//b":           `"/a//b": // has no name between its slashes`,
		"/a/../":          `"/a/../": paths are not relative, so no name can be ".."`,
		"/a\U0001F600b/c": "\"/a\U0001F600b/c\": character '\U0001F600' not allowed",
		"/a\x00b/c":       `"/a\x00b/c": character '\x00' not allowed`,
	} {
		if err := Check(path); err == nil || err.Error() != "invalid znode path "+want {
			t.Errorf("Check(%q): got %v, want invalid znode path %s", path, err, want)
		}
	}
}

func TestJoinAndSplitAreInverse(t *testing.T) {
	for _, test := range []struct{ dir, name, path string }{
		{"/", "a", "/a"}, {"/a", "b", "/a/b"}, {"/a/b", "c", "/a/b/c"},
	} {
		if got := Join(test.dir, test.name); got != test.path {
			t.Errorf("Join(%q, %q) = %q, want %q", test.dir, test.name, got, test.path)
		}
		if dir, name := Split(test.path); dir != test.dir || name != test.name {
			t.Errorf("Split(%q) = %q, %q; want %q, %q", test.path, dir, name, test.dir, test.name)
		}
	}
	if dir, name := Split("/"); dir != "/" || name != "" {
		t.Errorf("Split(\"/\") = %q, %q; want \"/\", \"\"", dir, name)
	}
}

func TestParseSeq(t *testing.T) {
	for _, test := range []struct {
		name, prefix string
		seq          Seq
		ok           bool
	}{
		{"lock-0000000000", "lock-", 0, true},
		{"lock-2147483647", "lock-", math.MaxInt32, true},
		{"lock--000000001", "lock-", -1, true},
		{"lock--2147483648", "lock-", math.MinInt32, true},
		{"lock--1500000000", "lock-", -1500000000, true},
		{"lock2147483647", "lock", math.MaxInt32, true},
		{"lock-2147483648", "lock", math.MinInt32, true},
		{"lock--0000000007", "lock--", 7, true},
		{"x10000000007", "x1", 7, true},
		{"0000000003", "", 3, true},
		{"-000000003", "", -3, true},
		{"lock-000000003", "lock", -3, true},
		{"lock000000003", "", 0, false},
		{"lock9999999999", "", 0, false},
		{"lock", "", 0, false},
		{"", "", 0, false},
		{"-", "", 0, false},
	} {
		prefix, seq, ok := ParseSeq(test.name)
		if prefix != test.prefix || seq != test.seq || ok != test.ok {
			t.Errorf("ParseSeq(%q) = %q, %d, %v; want %q, %d, %v", test.name, prefix, seq, ok, test.prefix, test.seq, test.ok)
		}
	}
}

// ParseSeq parses every number that a server appends to a prefix of this project.
func TestParseSeqReadsWhatServersWrite(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seqs := []Seq{0, 1, -1, math.MaxInt32, math.MinInt32, -999999999, -1000000000, 999999999, 1000000000}
	for range 10_000 {
		seqs = append(seqs, Seq(r.Uint32()), Seq(r.Int32N(100)))
	}
	for _, want := range seqs {
		name := "4c2f-lock-" + fmt.Sprintf("%010d", int32(want))
		if name != "4c2f-lock-"+want.String() {
			t.Fatalf("String of %d is %q, want %q", int32(want), want, name[len("4c2f-lock-"):])
		}
		if prefix, seq, ok := ParseSeq(name); !ok || prefix != "4c2f-lock-" || seq != want {
			t.Fatalf("ParseSeq(%q) = %q, %d, %v; want 4c2f-lock-, %d, true", name, prefix, seq, ok, want)
		}
	}
}

func TestSeqOrderHoldsAcrossTheWrap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		s, gap := Seq(r.Uint32()), 1+r.Int32N(math.MaxInt32-1)
		next := s + Seq(gap)
		if !s.Before(next) || next.Before(s) || s.Before(s) {
			t.Fatalf("%d is not before %d, which is %d later", s, next, gap)
		}
	}
	for seq, want := range map[Seq]bool{0: false, 1 << 30: false, math.MaxInt32: true, math.MinInt32: true, -1: true} {
		if seq.NearWrap() != want {
			t.Errorf("NearWrap(%d) = %v, want %v", seq, !want, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "//", "/a/../b", "/\U0001F600", "/a\x00", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if Check(path) != nil {
			return
		}
		if !utf8.ValidString(path) || !strings.HasPrefix(path, "/") {
			t.Fatalf("Check accepted %q", path)
		}
		if dir, name := Split(path); path != "/" && (Join(dir, name) != path || Check(dir) != nil) {
			t.Fatalf("Split and Join do not restore %q", path)
		}
		ParseSeq(path)
	})
}
