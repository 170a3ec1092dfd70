package fence

import (
	"context"
	"fmt"
)

// A Store is one value that can be replaced if it has not changed since it was read: a key of etcd with its
// mod_revision, an object with its ETag and If-Match, an item of DynamoDB with a condition. Where the token
// of the [Value] is kept is for the Store to decide: with the data, or in the metadata.
type Store interface {
	// Load returns the value, and a version that is another one after each change. A value that does not
	// exist is the zero Value with the version "". Load must read what was written last: a stale read costs
	// Update another turn, and for a caller that is stale the refusal has an older token.
	Load(ctx context.Context) (v Value, version string, err error)
	// Swap writes the value if the version is still that one, in one atomic step, and reports whether it
	// did. An error means that nobody knows.
	Swap(ctx context.Context, version string, v Value) (swapped bool, err error)
}

// A Value is what a [Store] keeps.
type Value struct {
	Token Token // the largest accepted
	Data  []byte
}

// Update replaces the data of a store by what f makes of it, unless a larger token was accepted before.
// If another writer comes between, it loads, compares and calls f again, until ctx ends. f must not change
// data.
//
// The error is a *[StaleError] if the token is stale; that of f, as it is; that of Load; or one that
// is [ErrUnknown] if Swap failed, and then the data may have been written. After any other error nothing
// was written.
func Update(ctx context.Context, s Store, token Token, f func(data []byte) ([]byte, error)) error {
	for {
		v, version, err := s.Load(ctx)
		if err != nil {
			return fmt.Errorf("fence: load: %w", err)
		}
		if err := check("", token, v.Token); err != nil {
			return err
		}
		data, err := f(v.Data)
		if err != nil {
			return err
		}
		swapped, err := s.Swap(ctx, version, Value{Token: token, Data: data})
		switch {
		case err != nil:
			return fmt.Errorf("%w: swap: %w", ErrUnknown, err)
		case swapped:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fence: update: %w", context.Cause(ctx))
		}
	}
}
