package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/zkcoord/zkcoord/internal/invalid"
)

// defaultPort is the port at which ZooKeeper's servers usually accept clients.
const defaultPort = "2181"

// ParseConnectString splits a connect string of ZooKeeper's own clients, such as "zk1:2181,
// zk2:2181/app", into values for Options.Servers and Options.Chroot. Spaces around an address are
// dropped. The chroot is "" if there is none.
//
// It fails if the form of an address or of the chroot is invalid. It does not resolve host names.
func ParseConnectString(s string) (servers []string, chroot string, err error) {
	list, path, rooted := strings.Cut(s, "/")
	if servers, err = parseServers(strings.Split(list, ",")); err != nil {
		return nil, "", err
	}
	if strings.Contains(path, ",") {
		return nil, "", invalid.New("session: connect string %q: only one chroot is allowed, after the last server", s)
	}
	if rooted {
		if chroot, err = parseChroot("/" + path); err != nil {
			return nil, "", err
		}
	}
	return servers, chroot, nil
}

// parseServers returns each address as host:port.
func parseServers(list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, invalid.New("session: no servers given")
	}
	servers := make([]string, len(list))
	for i, s := range list {
		host, port, err := parseServer(s)
		if err != nil {
			return nil, invalid.New("session: server %q: %w", s, err)
		}
		servers[i] = net.JoinHostPort(host, port)
	}
	return servers, nil
}

func parseServer(s string) (host, port string, err error) {
	s = strings.Trim(s, " \t")
	switch {
	case strings.Contains(s, "/"):
		return "", "", errors.New("contains a chroot, which belongs in Options.Chroot: see ParseConnectString")
	case strings.Contains(s, ","):
		return "", "", errors.New("contains several servers: see ParseConnectString")
	}
	if host, port, err = splitPort(s); err != nil {
		return "", "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	return host, port, checkHost(host)
}

// splitPort splits an address and adds the default port if the address has none. An IPv6 address
// without brackets has no port.
func splitPort(s string) (host, port string, err error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil && (bare == s || len(s) == len(bare)+2) {
		return bare, defaultPort, nil
	}
	if !strings.Contains(s, ":") {
		return s, defaultPort, nil
	}
	host, port, err = net.SplitHostPort(s)
	if address, ok := errors.AsType[*net.AddrError](err); ok {
		err = errors.New(address.Err) // without the address, which the caller adds
	}
	return host, port, err
}

// checkHost returns an error if host is neither an IP address nor a host name. A name does not have
// to follow the rules of DNS, because some resolvers also resolve names that break these rules.
func checkHost(host string) error {
	if host == "" {
		return errors.New("needs a host")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	for _, r := range host {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`:/\?#@[]"'`, r) {
			return fmt.Errorf("host %q: character %q not allowed", host, r)
		}
	}
	return nil
}
