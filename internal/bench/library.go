package bench

import "context"

// A library is one whose clients do jobs.
type library interface {
	// name is unique.
	name() string
	// does reports whether there are jobs of that kind for it.
	does(j Job) bool
	// open connects n clients, client i to server i modulo the number of
	// servers. There is one fleet of a library at a time.
	open(ctx context.Context, servers []string, n int) (fleet, error)
	// close ends what the library needs beside its fleets.
	close()
}

// A fleet is some clients of a library, each with a session of its own.
type fleet interface {
	do(ctx context.Context, j Job) (Sample, error)
	close()
}
