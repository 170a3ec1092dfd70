package guard

import "context"

// Work does nothing, because this system has no guards.
func Work() {}

// Run returns ErrUnsupported.
func Run(context.Context, Held, Command) (Result, error) { return Result{}, ErrUnsupported }
