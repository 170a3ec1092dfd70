// Package invalid has the error for invalid arguments and options.
package invalid

import (
	"errors"
	"fmt"
)

// Err is session.ErrInvalid. It is defined here because package znode, which session imports,
// returns such errors too.
var Err = errors.New("session: invalid argument")

// New returns an error for which errors.Is(err, Err) is true. Its text is the reason, which is
// formatted as by fmt.Errorf and may contain %w. The caller adds the prefix of its package and the
// operation.
func New(format string, args ...any) error {
	return failure{fmt.Errorf(format, args...)}
}

type failure struct{ error }

func (f failure) Is(target error) bool { return target == Err }
func (f failure) Unwrap() error        { return f.error }
