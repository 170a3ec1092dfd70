package peers

import (
	"context"
	"io"
	"net"
	"sync"
)

// A way is a loopback address behind which is a server, by a client's link.
type way struct {
	listener net.Listener
	server   string
	dial     Dial

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup
}

func newWay(server string, dial Dial) (*way, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &way{listener: listener, server: server, dial: dial}
	w.life, w.end = context.WithCancel(context.Background())
	w.work.Go(w.accept)
	return w, nil
}

func (w *way) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() { w.carry(conn) })
	}
}

// carry joins one connection with the server until either side ends it.
func (w *way) carry(near net.Conn) {
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

func (w *way) close() {
	w.end()
	w.listener.Close()
	w.work.Wait()
}
