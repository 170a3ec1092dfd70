// Package invalid has the error for arguments and options that cannot be meant.
package invalid

import (
	"errors"
	"fmt"
)

// Err is session.ErrInvalid. It is here since package znode, which session uses,
// returns errors of this kind too.
var Err = errors.New("session: invalid argument")

// New returns an error that is Err, and whose text says what is wrong. It takes
// %w as fmt.Errorf does. The caller adds what was tried, and the prefix of its
// package.
func New(format string, args ...any) error {
	return failure{fmt.Errorf(format, args...)}
}

type failure struct{ error }

func (f failure) Is(target error) bool { return target == Err }
func (f failure) Unwrap() error        { return f.error }
