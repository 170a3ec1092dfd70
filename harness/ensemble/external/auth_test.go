package external

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var admin = []session.Auth{{Scheme: "digest", Data: []byte("user:first")}, {Scheme: "digest", Data: []byte("admin:secret")}}

// The function `locked` returns servers at whose root only the digest user "admin" may create
// znodes. The variable `admin` has two credentials: first that of the user "user", then that of the
// user "admin".
func locked(t *testing.T) ensemble.Ensemble {
	t.Helper()
	servers, err := embedded.Start(embedded.Options{Model: zktest.Options{TCP: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { servers.Close(context.Background()) })
	s := open(t, session.Options{Servers: servers.Servers(), Dial: servers.DialContext, Auth: admin})
	acl := append(session.WorldACL(session.PermRead), session.DigestACL(session.PermAll, "admin", "secret")...)
	if err := s.SetACL(t.Context(), "/", acl, -1); err != nil {
		t.Fatal(err)
	}
	return servers
}

func open(t *testing.T, o session.Options) *session.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := session.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Regression (zk#139): on an ensemble where only some credentials may create znodes at the root, no
// client of a run could authenticate.
func TestEachConnectionHasTheCredentials(t *testing.T) {
	servers := locked(t)
	e, err := New(Options{Servers: servers.Servers(), Auth: admin})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(t.Context()); err != nil {
		t.Errorf("Ready, with four-letter words: got error %v, want none", err)
	}
	for name, dial := range map[string]ensemble.DialFunc{
		"as the client writes":                   e.DialContext,
		"byte by byte":                           slowly(e.DialContext),
		"through a proxy, which passes on parts": netfault.New(e.DialContext).DialContext,
	} {
		s := open(t, session.Options{Servers: e.Servers(), Dial: dial})
		if _, err := s.Create(t.Context(), "/run", []byte("x"), session.Ephemeral); err != nil {
			t.Errorf("%s: create: got error %v, want none", name, err)
		}
		if value, err := s.Get(t.Context(), "/run"); err != nil || string(value.Data) != "x" {
			t.Errorf("%s: got %q, %v; want %q", name, value.Data, err, "x")
		}
		if err := netfault.CloseSession(t.Context(), dial, e.Servers()[0], s.ID(), s.Password(), s.Timeout()); err != nil {
			t.Errorf("%s: close the session: got error %v, want none", name, err)
		}
	}
	without := open(t, session.Options{Servers: e.Servers(), Dial: servers.DialContext})
	if _, err := without.Create(t.Context(), "/run", nil, session.Ephemeral); !errors.Is(err, session.ErrNoAuth) {
		t.Errorf("without credentials: got %v, want %v", err, session.ErrNoAuth)
	}
}

func TestRefusedCredentialIsSaid(t *testing.T) {
	servers := locked(t)
	e, err := New(Options{Servers: servers.Servers(), Auth: append(admin[:1:1], session.Auth{Scheme: "nosuch", Data: []byte("secret")})})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.DialContext(t.Context(), "tcp", e.Servers()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: 10_000, Password: make([]byte, 16)})); err != nil {
		t.Fatal(err)
	}
	opened, err := io.ReadAll(conn)
	if len(opened) < 4+16 {
		t.Errorf("the reply to the request for a session has %d bytes, want at least 20", len(opened))
	}
	if want := "external ensemble: nosuch:***: session: credentials refused: zookeeper: auth failed"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

// The function `slowly` returns a dialer whose connections write and read one byte at a time.
func slowly(dial ensemble.DialFunc) ensemble.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return bytewise{conn, iotest.OneByteReader(conn)}, nil
	}
}

type bytewise struct {
	net.Conn
	reader io.Reader
}

func (c bytewise) Read(p []byte) (int, error) { return c.reader.Read(p) }

func (c bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
