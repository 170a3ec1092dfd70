package zktest_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// Regression: a killed server's port accepted a connection and then reset it. So a client that
// retries only refused connections behaved differently than with ZooKeeper.
func TestKilledServerKeepsItsPort(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	address := e.Servers()[0]
	e.Kill(0)
	e.Kill(0)
	if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a killed server: got %v, error %v; want it refused", conn, err)
	}
	e.Start(0)
	e.Start(0)
	if got := e.Servers()[0]; got != address {
		t.Errorf("got address %s after the restart, want %s", got, address)
	}
	connect(t, e, 0, 10*time.Second)

	e.Kill(0)
	taken, err := net.Listen("tcp", address) // allowed, because net.Listen sets SO_REUSEADDR
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	defer func() {
		if got := recover(); got == nil {
			t.Error("a server started on an address that another one has, want a panic")
		}
	}()
	e.Start(0)
}

// A program that does not set SO_REUSEADDR cannot listen on the port of a killed server.
func TestKilledServersPortIsNotFree(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true, Servers: 1})
	e.Kill(0)
	modest := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
		})
		return errors.Join(controlled, err)
	}}
	if l, err := modest.Listen(t.Context(), "tcp", e.Servers()[0]); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listen on the port of a killed server: got %v, error %v; want %v", l, err, syscall.EADDRINUSE)
	}
}
