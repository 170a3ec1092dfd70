// Package znode implements the rules for znode paths, and the order of sequence numbers.
package znode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/invalid"
)

// Check returns nil if ZooKeeper accepts path, and otherwise an error that wraps
// session.ErrInvalid.
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

// The function `forbidden` reports whether ZooKeeper's PathUtils refuses the character. PathUtils
// sees a character above 0xffff as two surrogates, and refuses surrogates.
func forbidden(r rune) bool {
	return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
}

// Join returns the path of the child of dir with the given name. If dir is
// empty, the result is the name.
func Join(dir, name string) string {
	switch dir {
	case "":
		return name
	case "/":
		return "/" + name
	}
	return dir + "/" + name
}

// Split returns the parent of path and the last name in path. For the root,
// the name is empty.
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

// A Seq is the number that ZooKeeper appends to the name of a sequential znode. It is the parent's
// count of creates, a signed 32-bit number that can overflow.
type Seq int32

// Before reports whether s was assigned before t. The result is correct even after an overflow, if
// fewer than 2^31 numbers lie between the two (RFC 1982).
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// NearWrap reports whether the parent's counter is close to its overflow or has overflowed. After
// the overflow, numbers are negative, and other libraries cannot order such names.
func (s Seq) NearWrap() bool { return s > math.MaxInt32-1<<16 || s < 0 }

// String returns the number in the format in which ZooKeeper appends it to a name: %010d.
func (s Seq) String() string { return fmt.Sprintf("%010d", int32(s)) }

// ParseSeq splits the name of a sequential znode into the prefix and the number. A negative number
// has ten or eleven characters, including its sign.
//
// If a dash precedes ten digits, the name alone does not show whether this dash is the sign or the
// end of the prefix. ParseSeq decides by two rules:
//
//   - A single dash is not the sign, unless the digits alone are larger than the largest Seq. So if
//     the prefix does not end in a dash, the result can be wrong for numbers of -1,000,000,000 or
//     less.
//   - The last of two or more dashes is the sign, unless the first digit is 0. So if the prefix
//     ends in several dashes, the result is wrong for numbers of 1,000,000,000 or more.
//
// In all other cases the result is correct. For example, it is correct for every number if the
// prefix ends in exactly one dash.
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
