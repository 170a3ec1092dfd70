package bench

import "context"

// A library is a coordination library that is measured.
type library interface {
	// The method `name` returns the library's name. No other library has this name.
	name() string
	// The method `does` reports whether the library supports the job.
	does(j Job) bool
	// The method `open` connects n clients: client i connects to server i modulo the number of
	// servers. A library has at most one open fleet at a time.
	open(ctx context.Context, servers []string, n int) (fleet, error)
	// The method `close` releases the resources of the library, except its fleets.
	close()
}

// A fleet is a set of clients of a library, each with its own session.
type fleet interface {
	do(ctx context.Context, j Job) (Sample, error)
	close()
}
