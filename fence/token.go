package fence

import (
	"context"
	"errors"
	"fmt"
)

// A Token is the number of a grant. Of two grants on one path, the later one has the larger Token:
// see lock.Token, queue.Token and election.Epoch. A number of zero or less is not a token.
type Token int64

// A Tokener has a fencing token: for example a grant of package lock or a claim
// of package queue.
type Tokener[T ~int64] interface{ Token() T }

// TokenOf returns the token of a grant or a claim. For the term of an election,
// use fence.Token(term.Epoch()).
func TokenOf[T ~int64](held Tokener[T]) Token { return Token(held.Token()) }

var (
	// ErrStale means that the token of a call is below the largest token that the resource has
	// accepted. Another client has been granted the lock, so stop. The call returns a *StaleError,
	// which has both tokens.
	ErrStale = errors.New("fence: stale token")
	// ErrNoToken means that a call had no token, or a token that is not above zero. This is a
	// mistake in the program, which must pass the token of a grant.
	ErrNoToken = errors.New("fence: no token")
	// ErrUnknown means that a write may or may not have taken effect, and that the fence could not
	// find out which. Read the resource before you write again. No other error of this package is
	// ambiguous, except for errors of WriteFile.
	ErrUnknown = errors.New("fence: the outcome is unknown")
)

// A StaleError is the error of a refused call. Nothing was changed.
type StaleError struct {
	Resource string // may be empty
	Token    Token  // the token of the call
	Largest  Token  // the largest token that the resource has accepted
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

// The function `check` decides whether a token is accepted. It is for resources that can call it in
// the same atomic step as the write. A Table makes the same decision in SQL.
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
		return fmt.Errorf("%w: %sgot %d, want the token of a grant, which is above zero", ErrNoToken, prefix(resource), token)
	}
	return nil
}

type tokenKey struct{}

// WithToken returns a context with the token, for [Transport].
func WithToken(ctx context.Context, token Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// FromContext returns the token of a context, and whether it has one. The token comes from
// [WithToken], or from the request that [Handler] or [Gate.Handler] serves.
func FromContext(ctx context.Context) (Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(Token)
	return token, ok
}
