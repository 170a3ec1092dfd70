// Package vet has an analyzer that finds mistakes in the use of locks, terms and
// claims: work that does not stop when what it relies on is lost.
//
// # Usage
//
// The command cmd/zkcoordvet has the analyzer for go vet:
//
//	go install github.com/zkcoord/zkcoord/cmd/zkcoordvet@latest
//	go vet -vettool=$(which zkcoordvet) ./...
//
// Drivers of golang.org/x/tools/go/analysis, such as a plugin of golangci-lint, take
// [Analyzer].
//
// # What it finds
//
// A hold is a *lock.Grant, *lock.WriteGrant, *lock.MultiGrant, *election.Term or
// *queue.Claim.
//
// Context: work between Lock, Campaign or Claim and the release that gets the
// caller's context. That context goes on when the hold is lost. Use the context of
// Bind. In a function given to Do or Run, and in a loop over Claims, the mistake is
// to use the outer context.
//
// Unused: a grant or a term of which neither the context nor the token is used.
// Nothing notices that it is lost.
//
// Stored: a field of a struct that has a grant, a term or a claim, if the package
// uses neither its context nor its token and stores no context with it.
//
// Dropped: a call of Unlock, Resign or Ack whose error is dropped, if the token is
// not used. That error says if the hold was lost before. A deferred Unlock or Resign
// is accepted because the work has the context then. So are releases on a path that
// returns another error, and an explicit "_ =".
//
// # What it does not find
//
// It prefers to say nothing where it is not sure:
//   - It looks at one function at a time. If the hold is passed to another function,
//     is stored or is returned, the caller's context may be used from then on.
//   - It knows the types of zkcoord. It does not see them behind an interface.
//   - It follows contexts that are variables, and an expression such as r.Context()
//     that was given to Lock. It does not follow contexts in fields, maps and channels.
//   - It accepts the caller's context in deferred calls, in branches that test the
//     error of Lock, for logging, for traces, for another Lock, and where a value is read
//     from it.
//   - It does not look at files of tests, in which holds are lost on purpose.
//   - It does not prove that a function stops when its context ends.
//
// If the work has to go on after a loss, say so: context.WithoutCancel(ctx) is no
// finding.
package vet
