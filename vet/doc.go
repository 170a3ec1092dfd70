// Package vet has an analyzer that finds mistakes in the use of locks, terms and claims: work that
// does not stop when the lock, term or claim is lost.
//
// # Usage
//
// The command cmd/zkcoordvet runs the analyzer under go vet:
//
//	go install github.com/zkcoord/zkcoord/cmd/zkcoordvet@latest
//	go vet -vettool=$(which zkcoordvet) ./...
//
// Drivers of golang.org/x/tools/go/analysis, for example a plugin of golangci-lint, use [Analyzer].
//
// # What it finds
//
// A hold is a *lock.Grant, *lock.WriteGrant, *lock.MultiGrant, *election.Term or *queue.Claim.
//
// Context: a call between Lock, Campaign or Claim and the release receives the caller's context.
// That context continues when the hold is lost. Use the context of Bind. In a function passed to Do
// or Run, and in a loop over Claims, the mistake is to use the outer context.
//
// Unused: neither the context nor the token of a grant or a term is used. The program does not
// notice the loss.
//
// Stored: a struct has an unexported field with a grant, a term or a claim. The package uses
// neither the context nor the token of that hold, and stores no context with it.
//
// Dropped: the error of Unlock, Resign or Ack is dropped, and the token is not used. That error
// says whether the hold was lost before the call. A deferred Unlock or Resign is accepted: it is
// the usual form, and the check Context makes sure that the work has a context that ends with the
// loss. An explicit "_ =" is also accepted. An Unlock or Resign is accepted in a function that
// returns no error, in a branch in which an error was found, and right before the function returns
// another error.
//
// # What it does not find
//
// In doubt it reports nothing:
//   - It analyzes one function at a time. If the hold is passed to another function, is stored or
//     is returned, the caller's context may be used from then on.
//   - It knows the types of zkcoord. It does not recognize them behind an interface.
//   - It follows contexts that are variables, and an expression such as r.Context() that was passed
//     to Lock. It does not follow contexts in fields, maps and channels.
//   - It accepts the caller's context in deferred calls, in branches that test the error of Lock,
//     for logging, for traces, for another Lock, and for reading a value from the context.
//   - It does not analyze test files, in which holds are lost on purpose.
//   - It does not prove that a function stops when its context ends.
//
// If work must continue after a loss, state that in the code: context.WithoutCancel(ctx) is not
// reported.
package vet
