package fence

import (
	"context"
	"fmt"
)

// A Store is one value that is replaced only if it has not changed since it was read: a key of etcd
// with its mod_revision, an object with its ETag and If-Match, or an item of DynamoDB with a
// condition. The Store decides where it keeps the token of the [Value]: with the data, or in the
// metadata.
type Store interface {
	// Load returns the value and a version. The version must differ after each change. If the value
	// does not exist, Load returns the zero Value and the version "". Load must return the latest
	// write. If Load returns an earlier write, Update passes old data to its function, or reports
	// an old token in a [StaleError]. But Update never overwrites a later write: the version from
	// Load is old too, so Swap writes nothing, and Update tries again.
	Load(ctx context.Context) (v Value, version string, err error)
	// Swap writes the value if the version is still the given one, in one
	// atomic step, and reports whether it did. After an error the outcome is
	// unknown.
	Swap(ctx context.Context, version string, v Value) (swapped bool, err error)
}

// A Value is the content of a [Store].
type Value struct {
	Token Token // the largest accepted
	Data  []byte
}

// Update replaces the data of a store by the result of f, unless a larger token
// was accepted before. If another writer changes the store meanwhile, Update
// loads, compares and calls f again, until ctx ends. f must not modify its
// argument.
//
// If the token is stale, the error is a *[StaleError]. An error of f is returned unchanged. If Swap
// failed, the error is [ErrUnknown], and the data may have been written. After any other error
// nothing was written.
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
