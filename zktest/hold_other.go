//go:build !linux

package zktest

import "io"

// hold returns the address and a nil Closer. It can keep an address without a listener only on
// Linux.
func hold(address string) (io.Closer, string, error) { return nil, address, nil }
