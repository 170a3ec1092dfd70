//go:build !linux

package zktest

import "io"

// hold returns the address and no closer, because only on Linux is it known how
// to keep an address without a listener.
func hold(address string) (io.Closer, string, error) { return nil, address, nil }
