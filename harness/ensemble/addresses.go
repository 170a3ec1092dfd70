package ensemble

import (
	"context"
	"fmt"
	"net"
)

// Addresses returns the addresses of the sockets on which the nodes listen. Any process can connect
// to them without DialContext. All nodes must run. A node may listen on another address after a
// restart. It is an error if a node listens on no TCP socket.
func Addresses(ctx context.Context, e Ensemble) ([]string, error) {
	var all []string
	for _, server := range e.Servers() {
		conn, err := e.DialContext(ctx, "tcp", server)
		if err != nil {
			return nil, fmt.Errorf("ensemble: %w", err)
		}
		address := conn.RemoteAddr()
		conn.Close()
		if _, ok := address.(*net.TCPAddr); !ok {
			return nil, fmt.Errorf("ensemble: %s is not a TCP address", address)
		}
		all = append(all, address.String())
	}
	return all, nil
}
