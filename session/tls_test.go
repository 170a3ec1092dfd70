package session_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// An authority signs certificates for loopback.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// The method `sign` creates a key and its certificate. If the authority has no certificate yet, the
// new certificate is signed with the new key.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	check(a.t, err)
	cert, err := x509.ParseCertificate(der)
	check(a.t, err)
	return cert, key
}

// The method `issue` signs a certificate for name and loopback.
func (a *authority) issue(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// The method `client` returns the TLS configuration of a client that trusts the authority a. If
// signer is not nil, the client has a certificate from signer.
func (a *authority) client(signer *authority) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(a.cert)
	if signer != nil {
		cert, key := signer.issue("client")
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return config
}

func encodePEM(t *testing.T, cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	var out []byte
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		check(t, err)
		out = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secureServer starts ZooKeeper on a port that accepts only TLS, from clients with a certificate of
// ca. It returns the address.
func secureServer(t *testing.T, ca *authority) string {
	t.Helper()
	java, classpath, err := process.Find(t.Context(), "")
	needs.Installed(t, err)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, content, 0o600))
		return path
	}
	cert, key := ca.issue("server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	config := write("zoo.cfg", fmt.Appendf(nil, `tickTime=500
dataDir=%s
secureClientPort=%s
secureClientPortAddress=127.0.0.1
admin.enableServer=false
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
ssl.keyStore.location=%s
ssl.trustStore.location=%s
`, dir, port, write("server.pem", encodePEM(t, cert, key)), write("ca.pem", encodePEM(t, ca.cert, nil))))
	write("log4j.properties", []byte("log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\nlog4j.appender.out.layout=org.apache.log4j.SimpleLayout\n"))
	log, err := os.Create(filepath.Join(dir, "log"))
	check(t, err)
	t.Cleanup(func() { log.Close() })
	server := exec.Command(java, "-Xmx128m", "-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
		"-cp", dir+":"+classpath, "org.apache.zookeeper.server.ZooKeeperServerMain", config)
	server.Stdout, server.Stderr = log, log
	check(t, server.Start())
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("the server's log:\n%s", text[max(0, len(text)-8000):])
		}
	})
	return "127.0.0.1:" + port
}

// In this test, a real ZooKeeper server requires client certificates on its TLS port. A session
// with a client certificate can be granted a hold. Open fails with the reason if the client has no
// certificate, if another authority has signed the client's certificate, or if the client does not
// accept the server's certificate.
func TestTLSWithClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t, "authority"), newAuthority(t, "stranger")
	server := secureServer(t, ca)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	opts := session.Options{Servers: []string{server}, Timeout: 6 * time.Second, TLS: ca.client(ca)}
	s, err := session.Open(ctx, opts)
	check(t, err)
	defer s.Close()
	if opts.TLS.ServerName != "" {
		t.Error("Open changed the caller's TLS configuration")
	}
	node, err := recipe.CreateProtected(ctx, s, "/tls", "lock", make([]byte, 1<<19), session.EphemeralSequential)
	check(t, err)
	h := recipe.NewHold(s, node)
	check(t, h.Grant(ctx))
	_, err = s.CreateACL(ctx, "/mine", []byte("x"), session.Persistent, []zk.ACL{{Perms: zk.PermAll, Scheme: "x509", ID: "CN=client"}})
	check(t, err)
	if value, err := s.Get(ctx, "/mine"); err != nil || string(value.Data) != "x" {
		t.Errorf("Get with the certificate's rights: got %q, %v; want \"x\"", value.Data, err)
	}
	second, err := session.Open(ctx, opts)
	check(t, err)
	check(t, second.Close())
	select { // waits longer than the session would live without heartbeats
	case <-h.Context().Done():
		t.Errorf("the hold ended: %v, want it to be held", context.Cause(h.Context()))
	case <-time.After(10 * time.Second):
	}

	for name, config := range map[string]*tls.Config{
		"no certificate":      ca.client(nil),
		"another authority":   ca.client(stranger),
		"an unknown server":   stranger.client(ca),
		"another server name": func() *tls.Config { c := ca.client(ca); c.ServerName = "elsewhere"; return c }(),
	} {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		opts.TLS = config
		s, err := session.Open(ctx, opts)
		cancel()
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "tls: ") && !strings.Contains(err.Error(), "x509: ") {
			t.Errorf("%s: Open: got %v, want a deadline exceeded with the reason of TLS", name, err)
		}
	}
}
