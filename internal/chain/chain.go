// Package chain wraps errors whose texts begin with the name of a package.
package chain

import (
	"fmt"
	"strings"
)

// Errorf is like fmt.Errorf, for a format that begins with the name of a package and a colon. The
// text of the result has this prefix only once. For example, Errorf("lock: acquire %s: %w", "/a",
// lock.ErrDeadlock) has the text "lock: acquire /a: the caller would wait for its own grant".
func Errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	name, _, _ := strings.Cut(format, " ")
	prefix := name + " "
	text := err.Error()
	rest := strings.TrimPrefix(strings.TrimPrefix(text, prefix), prefix)
	short := prefix + strings.ReplaceAll(rest, ": "+prefix, ": ")
	if short == text {
		return err
	}
	return shortened{err, short}
}

type shortened struct {
	error
	text string
}

func (s shortened) Error() string { return s.text }
func (s shortened) Unwrap() error { return s.error }
