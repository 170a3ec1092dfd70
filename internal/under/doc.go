// Package under is what it means to work under something that is held, a lock
// for instance: the context of the work, the release when the work is over, and
// the error that is left.
//
// # Goroutines
//
// None of its own. A context from [Holding.Bind] costs nothing that stays: what
// it registers goes when the holding ends, or when the parent does.
package under
