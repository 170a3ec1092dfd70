package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/session"
)

// A session can log in at a server that rejects every client without SASL. go-zookeeper cannot do
// this (zk#40).
func TestSASL(t *testing.T) {
	needJava(t)
	jaas := filepath.Join(t.TempDir(), "jaas.conf")
	const server = `Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_app="of the \"app\""; };`
	if err := os.WriteFile(jaas, []byte(server), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := Start(t.Context(), Options{Dir: t.TempDir(), Config: ensemble.Config{
		Nodes: 1,
		Extra: map[string]string{
			"authProvider.1":               "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
			"requireClientAuthScheme":      "sasl",
			"sessionRequireClientSASLAuth": "true",
		},
		// Since 3.9.6, servers in FIPS mode, which is the default, do not offer DIGEST-MD5.
		JVMFlags: []string{"-Dzookeeper.fips-mode=false", "-Djava.security.auth.login.config=" + jaas},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	open := func(auth ...session.Auth) (*session.Session, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext, Timeout: 4 * time.Second, Auth: auth})
		if err == nil {
			_, err = s.Exists(ctx, "/")
			t.Cleanup(func() { s.Close() })
		}
		return s, err
	}
	if _, err := open(); !errors.Is(err, session.ErrAuthRequired) {
		t.Errorf("without a credential: got %v, want %v", err, session.ErrAuthRequired)
	}
	if _, err := open(session.Auth{Scheme: session.SASLScheme, Data: []byte("app:wrong")}); !errors.Is(err, session.ErrCredentials) {
		t.Errorf("with a wrong password: got %v, want %v", err, session.ErrCredentials)
	}
	s, err := open(session.Auth{Scheme: session.SASLScheme, Data: []byte(`app:of the "app"`)})
	if err != nil {
		t.Fatal(err)
	}
	acl := []session.ACL{{Scheme: "sasl", ID: "app", Perms: session.PermAll}}
	if _, err := s.CreateACL(t.Context(), "/mine", []byte("a"), session.Persistent, acl); err != nil {
		t.Fatal(err)
	}
	// Each connection must log in separately. To break the first connection, the test restarts the
	// server. The client then resumes the session on a second connection.
	id := s.ID()
	if err := errors.Join(e.Kill(t.Context(), 0), e.Start(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), "/mine"); err != nil || string(v.Data) != "a" || s.ID() != id {
		t.Errorf("on the next connection: got %q, %v, session %#x; want %q, session %#x",
			v.Data, err, s.ID(), "a", id)
	}
}
