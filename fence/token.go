package fence

import (
	"context"
	"errors"
	"fmt"
)

// A Token grows with every grant: see lock.Token, queue.Token and election.Epoch. Zero and less
// are no tokens.
type Token int64

// A Tokener has a fencing token: a grant of package lock or a claim of package queue.
type Tokener[T ~int64] interface{ Token() T }

// TokenOf returns the token of a grant or a claim. That of an election's term is
// fence.Token(term.Epoch()).
func TokenOf[T ~int64](held Tokener[T]) Token { return Token(held.Token()) }

var (
	// ErrStale is the error of a call with a token below the largest that the resource has accepted.
	// Another one has been granted the lock: stop. It is found in a *StaleError, which has both tokens.
	ErrStale = errors.New("fence: stale token")
	// ErrNoToken is the error of a call with no token, or with one that is not above zero. The program
	// is wrong: it has to work under a grant.
	ErrNoToken = errors.New("fence: no token")
	// ErrUnknown says that a write may or may not have taken effect, and that the resource did not say
	// which. Nothing else in this package leaves that open. Read the resource before you write again.
	ErrUnknown = errors.New("fence: the outcome is unknown")
)

// A StaleError is the error of a refused call. Nothing was changed.
type StaleError struct {
	Resource string // may be empty
	Token    Token  // of the call
	Largest  Token  // that the resource has accepted
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("fence: %stoken %d is stale: the largest token accepted is %d", prefix(e.Resource), e.Token, e.Largest)
}

// Unwrap returns ErrStale.
func (e *StaleError) Unwrap() error { return ErrStale }

func prefix(resource string) string {
	if resource == "" {
		return ""
	}
	return resource + ": "
}

// check is the decision of this package, for resources that can call it in the same atomic step as
// the write. That of a Table is in SQL.
func check(resource string, token, largest Token) error {
	if err := valid(resource, token); err != nil {
		return err
	}
	if token < largest {
		return &StaleError{Resource: resource, Token: token, Largest: largest}
	}
	return nil
}

func valid(resource string, token Token) error {
	if token <= 0 {
		return fmt.Errorf("%w: %s%d is not above zero", ErrNoToken, prefix(resource), token)
	}
	return nil
}

type tokenKey struct{}

// WithToken returns a context with the token, for [Transport].
func WithToken(ctx context.Context, token Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// FromContext returns the token of a context: that of [WithToken], or of the request that [Handler] or
// [Gate.Handler] serves. It reports whether there is one.
func FromContext(ctx context.Context) (Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(Token)
	return token, ok
}
