package process

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
)

// Ports are chosen below the range that the kernel uses for outgoing connections, so that no client
// of a busy test already occupies a chosen port.
const portLow, portHigh = 20000, 32000

// freePort returns a port of the loopback interface on which nothing listens. No other ensemble of
// this machine gets the port until the reservation is closed or this process ends.
func freePort() (port int, reservation io.Closer, err error) {
	const attempts = 100
	var last error
	for range attempts {
		port := portLow + rand.IntN(portHigh-portLow)
		reservation, err := reserve(port)
		if err == nil {
			if err = unused(port); err == nil {
				return port, reservation, nil
			}
			reservation.Close() // an error does not matter, because the port is not used
		}
		last = err
	}
	return 0, nil, fmt.Errorf("found no free port from %d to %d in %d attempts, the last one: %w",
		portLow, portHigh-1, attempts, last)
}

// The function `unused` returns an error if a program listens on the port.
func unused(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}

// The function `reserve` reserves a port that a JVM binds seconds later. The reservation is a name
// in Linux's abstract namespace of sockets. It leaves no file behind, and the kernel removes it
// when this process ends. On other systems, nothing is reserved.
func reserve(port int) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	return net.Listen("unix", fmt.Sprintf("@zkcoord-port-%d", port))
}

// The type `reservations` has the reservations of the ports of one node.
type reservations []io.Closer

// Close releases all ports.
func (r *reservations) Close() error {
	var errs []error
	for _, c := range *r {
		errs = append(errs, c.Close())
	}
	*r = nil
	return errors.Join(errs...)
}
