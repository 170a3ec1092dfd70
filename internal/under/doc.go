// Package under runs work under something that is held, for example a lock. It provides the context
// of the work, gives up the holding when the work is over, and returns the resulting error.
//
// # Goroutines
//
// A context from [Holding.Bind] keeps no resources: its registrations are removed when the holding
// or the parent context ends. A context from [Holding.Unbind] keeps at most one goroutine, which
// ends after the call of the returned function.
package under
