package client

import (
	"context"
	"io"
	"net"
	"sync"
)

// A Way is a loopback address that forwards a client's connections to one server. The Way uses a
// dialer to connect to the server.
type Way struct {
	listener net.Listener
	server   string
	dial     Dial

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup
}

// NewWay returns a Way to `server`. The Way connects to the server with `dial`. The caller must
// close the Way.
func NewWay(server string, dial Dial) (*Way, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Way{listener: listener, server: server, dial: dial}
	w.life, w.end = context.WithCancel(context.Background())
	w.work.Go(w.accept)
	return w, nil
}

func (w *Way) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() { w.carry(conn) })
	}
}

// carry forwards one connection to the server until either side ends it.
func (w *Way) carry(near net.Conn) {
	defer near.Close()
	far, err := w.dial(w.life, "tcp", w.server)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		w.work.Go(func() {
			io.Copy(pair[0], pair[1])
			ended <- struct{}{}
		})
	}
	select {
	case <-ended:
	case <-w.life.Done():
	}
}

// Address returns the address to connect to.
func (w *Way) Address() string { return w.listener.Addr().String() }

// Close closes the address and all its connections, and waits until its goroutines have ended.
func (w *Way) Close() {
	w.end()
	w.listener.Close()
	w.work.Wait()
}
