// Package znode knows the paths of ZooKeeper and the order of its sequence
// numbers.
package znode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/invalid"
)

// Check returns an error, which is session.ErrInvalid, unless ZooKeeper would
// accept path.
func Check(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return invalid.New("invalid znode path %q: must start with /", path)
	case path == "/":
		return nil
	case !utf8.ValidString(path):
		return invalid.New("invalid znode path %q: not UTF-8", path)
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		switch name {
		case "":
			if !strings.Contains(path, "//") {
				return invalid.New("invalid znode path %q: must not end with /", path)
			}
			return invalid.New("invalid znode path %q: // has no name between its slashes", path)
		case ".", "..":
			return invalid.New("invalid znode path %q: paths are not relative, so no name can be %q", path, name)
		}
	}
	for _, r := range path {
		if forbidden(r) {
			return invalid.New("invalid znode path %q: character %q not allowed", path, r)
		}
	}
	return nil
}

// forbidden reports the characters that ZooKeeper's PathUtils refuses. Those
// past 0xffff it sees as surrogates, which it refuses.
func forbidden(r rune) bool {
	return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
}

// Join returns the path of the child name of dir. Below no path it is none either.
func Join(dir, name string) string {
	switch dir {
	case "":
		return name
	case "/":
		return "/" + name
	}
	return dir + "/" + name
}

// Split returns the parent of path and its own name. The root has neither.
func Split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i == 0 {
		return "/", path[1:]
	}
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// A Seq is the number that ZooKeeper appends to the name of a sequential
// node: the parent's count of creates, a signed 32-bit number that wraps.
type Seq int32

// Before reports whether s was given before t. As in RFC 1982, that is right
// across the wrap while fewer than 2^31 numbers lie between the two.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// NearWrap reports whether the parent's counter is so near its end that the
// names are about to turn negative, which other libraries cannot order.
func (s Seq) NearWrap() bool { return s > math.MaxInt32-1<<16 || s < 0 }

// String is the form that ends a node's name: %010d.
func (s Seq) String() string { return fmt.Sprintf("%010d", int32(s)) }

// ParseSeq splits a sequential node's name into what stands before the number,
// and the number. A negative one takes ten characters with its sign, or eleven.
//
// The name alone does not tell a sign from a dash that ends the prefix. Of two
// dashes before ten digits the second is taken for a sign, a single one for
// one only where ten digits would not fit: right for every prefix that ends in
// exactly one dash, and for numbers above -1,000,000,000 after any other.
func ParseSeq(name string) (prefix string, seq Seq, ok bool) {
	digits := len(name)
	for digits > 0 && name[digits-1] >= '0' && name[digits-1] <= '9' {
		digits--
	}
	start := max(digits, len(name)-10)
	if dash := digits > 0 && name[digits-1] == '-'; dash {
		switch n := len(name) - digits; {
		case n == 9,
			n == 10 && digits > 1 && name[digits-2] == '-' && name[digits] != '0',
			n == 10 && tooLarge(name[digits:]):
			start = digits - 1
		}
	}
	v, err := strconv.ParseInt(name[start:], 10, 32)
	if err != nil || len(name)-start < 10 {
		return "", 0, false
	}
	return name[:start], Seq(v), true
}

func tooLarge(digits string) bool {
	_, err := strconv.ParseInt(digits, 10, 32)
	return err != nil
}
