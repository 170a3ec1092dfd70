//go:build !linux

package zktest

import "io"

// This is the function `hold` for systems other than Linux. There zktest cannot keep an address
// without a listener. So `hold` does nothing, and returns a nil Closer and the address.
func hold(address string) (io.Closer, string, error) { return nil, address, nil }
