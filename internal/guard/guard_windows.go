package guard

import "context"

// Work does nothing: there are no guards on this system.
func Work() {}

// Run returns ErrUnsupported.
func Run(context.Context, Held, Command) (Result, error) { return Result{}, ErrUnsupported }
