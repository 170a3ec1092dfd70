package ensemble

import (
	"context"
	"fmt"
	"net"
	"slices"
)

// Addresses returns the addresses of the sockets on which the nodes listen. Any process can connect
// to them without DialContext. All nodes must run. A node may listen on another address after a
// restart. It is an error if a node listens on no TCP socket.
func Addresses(ctx context.Context, e Ensemble) ([]string, error) {
	var all []string
	for _, server := range e.Servers() {
		address, err := addressOf(ctx, e, server)
		if err != nil {
			return nil, fmt.Errorf("ensemble: %w", err)
		}
		all = append(all, address)
	}
	return all, nil
}

// addressOf returns the address of the socket on which a node listens.
func addressOf(ctx context.Context, e Ensemble, server string) (string, error) {
	conn, err := e.DialContext(ctx, "tcp", server)
	if err != nil {
		return "", err
	}
	address := conn.RemoteAddr()
	conn.Close()
	if _, ok := address.(*net.TCPAddr); !ok {
		return "", fmt.Errorf("%s listens on %s, which is not a TCP address", server, address)
	}
	return address.String(), nil
}

// NodeAt returns the index of the node with the given address, for implementations of DialContext.
func NodeAt(servers []string, network, address string) (int, error) {
	node := slices.Index(servers, address)
	if node < 0 {
		return 0, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("unknown address %s: the ensemble has %v", address, servers)}
	}
	return node, nil
}
