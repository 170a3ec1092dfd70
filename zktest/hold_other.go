//go:build !linux

package zktest

import "io"

// The function `hold` returns a nil Closer and the address, because zktest can keep an address
// without a listener only on Linux.
func hold(address string) (io.Closer, string, error) { return nil, address, nil }
