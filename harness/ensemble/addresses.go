package ensemble

import (
	"context"
	"fmt"
	"net"
)

// Addresses returns those of the sockets that the nodes listen on, which any process can connect to without DialContext. All
// nodes have to run. A node may listen elsewhere after a restart. It is an error if one listens on no TCP socket.
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
			return nil, fmt.Errorf("ensemble: %s is no TCP address", address)
		}
		all = append(all, address.String())
	}
	return all, nil
}
