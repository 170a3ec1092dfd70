package session

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/zktest"
)

// The test covers IPv6 addresses, with and without a port, and the space in "zk1:2181, zk2:2181"
// (ZOOKEEPER-3878, ZOOKEEPER-3886, kazoo#111).
func TestAddressesAsPeopleWriteThem(t *testing.T) {
	for server, want := range map[string]string{
		"zk1":             "zk1:2181",
		"zk1:1":           "zk1:1",
		" zk2:2182\t":     "zk2:2182",
		"zk_1.example.":   "zk_1.example.:2181",
		"bücher.example":  "bücher.example:2181",
		"10.0.0.1":        "10.0.0.1:2181",
		"10.0.0.1:65535":  "10.0.0.1:65535",
		"::1":             "[::1]:2181",
		"[::1]":           "[::1]:2181",
		"[::1]:2182":      "[::1]:2182",
		"fe80::1%eth0":    "[fe80::1%eth0]:2181",
		"[fe80::1%eth0]":  "[fe80::1%eth0]:2181",
		"[fe80::1%eth]:9": "[fe80::1%eth]:9",
	} {
		if got, err := parseServers([]string{server}); err != nil || got[0] != want {
			t.Errorf("parseServers(%q): got %q, %v; want %q", server, got, err, want)
		}
	}
}

// Open refuses an invalid address at once, because no server can ever be reached at it
// (samuel/go-zookeeper#74, wvanbergen/kafka#15, spring-cloud-zookeeper#153).
func TestInvalidAddressIsRefusedAtOnce(t *testing.T) {
	for _, server := range []string{
		"", " ", ":2181", ":99999", "zk1:", "zk1:0", "zk1:-1", "zk1:99999", "zk1:http", "zk1:2181\n", "zk1\n", "zk 1:2181",
		"zk1:2181/app", "zk1:2181,zk2:2181", "[::1", "::1]", "[zk1]", "[]", "[[::1]]", "[::1]2181", "zk1:2181:2181", "http://zk1:2181", "user@zk1",
	} {
		_, err := Open(t.Context(), Options{Servers: []string{"zk1", server}, Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%q: got a dial, want a refusal before", server)
			return nil, errors.New("dialled")
		}})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "session: server ") {
			t.Errorf("%q: got %v, want %v of this server", server, err, ErrInvalid)
		}
	}
}

// ParseConnectString accepts a chroot in the form that ZooKeeper's own clients accept
// (samuel/go-zookeeper#74).
func TestConnectString(t *testing.T) {
	for s, want := range map[string]struct {
		servers []string
		chroot  string
	}{
		"zk1":                           {[]string{"zk1:2181"}, ""},
		"zk1:2181,zk2:2182":             {[]string{"zk1:2181", "zk2:2182"}, ""},
		"zk1:2181, zk2, [::1]/app/prod": {[]string{"zk1:2181", "zk2:2181", "[::1]:2181"}, "/app/prod"},
		"::1,zk2/":                      {[]string{"[::1]:2181", "zk2:2181"}, ""},
		"zk1/app/":                      {[]string{"zk1:2181"}, "/app"},
	} {
		servers, chroot, err := ParseConnectString(s)
		if err != nil || !slices.Equal(servers, want.servers) || chroot != want.chroot {
			t.Errorf("ParseConnectString(%q): got %q, %q, %v; want %q, %q", s, servers, chroot, err, want.servers, want.chroot)
		}
		if err := (&Options{Servers: servers, Chroot: chroot}).complete(); err != nil {
			t.Errorf("%q: the parsed options: got %v, want no error", s, err)
		}
	}
	for _, s := range []string{"", "/app", "zk1,,zk2", "zk1/app,zk2/app", "zk1//app", "zk1:0/app", "zk1/a/../b"} {
		if servers, chroot, err := ParseConnectString(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseConnectString(%q): got %q, %q, %v; want %v", s, servers, chroot, err, ErrInvalid)
		}
	}
}

// Before Open starts anything, it refuses options that no server accepts, and options that would
// use up the memory of the machine.
func TestInvalidOptionsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"all of memory":        func(o *Options) { o.MaxRequest = math.MaxInt },
		"half of memory":       func(o *Options) { o.MaxRequest = math.MaxInt32 },
		"negative request":     func(o *Options) { o.MaxRequest = -1 },
		"credential":           func(o *Options) { o.Auth = []Auth{{Data: []byte("user:password")}} },
		"empty ACL":            func(o *Options) { o.ACL = []zk.ACL{} },
		"ACL without a scheme": func(o *Options) { o.ACL = []zk.ACL{{Perms: zk.PermAll, ID: "anyone"}} },
		"permissions":          func(o *Options) { o.ACL = zk.WorldACL(64) },
	} {
		o := Options{Servers: []string{"zk1"}}
		change(&o)
		if err := o.complete(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want %v", name, err, ErrInvalid)
		}
	}
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.MaxRequest = maxMaxRequest
		s := open(t, opts)
		defer s.Close()
		_, err := s.Create(t.Context(), "/a", nil, Persistent)
		must(t, err)
	})
}
