package zktest

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// The function `hold` keeps a TCP address for this process. It returns a Closer and the address
// with its port. To give the address up, close the Closer. To keep the address, `hold` binds a
// socket and does not listen on it. So the system refuses connections to the address, and assigns
// the port to no other socket. [net.Listen] on the same address works, because both sockets have
// the option SO_REUSEADDR.
func hold(address string) (io.Closer, string, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, "", err
	}
	all := &syscall.SockaddrInet6{Port: a.Port}
	copy(all.Addr[:], a.IP.To16())
	family, bind := syscall.AF_INET6, syscall.Sockaddr(all)
	if ip := a.IP.To4(); ip != nil {
		family, bind = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), address)
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, bind))
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("hold %s: %w", address, err)
	}
	switch b := bound.(type) {
	case *syscall.SockaddrInet4:
		a.Port = b.Port
	case *syscall.SockaddrInet6:
		a.Port = b.Port
	}
	return f, a.String(), nil
}
