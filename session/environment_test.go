package session

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// The function `signed` returns a certificate for the host zk that is valid for the given duration.
// The certificate is signed by `parent`, or by itself if `parent` is nil.
func signed(t *testing.T, number int64, valid time.Duration, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "zk"}, DNSNames: []string{"zk"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: parent == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	above, signer := template, any(key)
	if parent != nil {
		above, signer = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A front accepts TLS connections for the servers of e, which do not use TLS. It forwards the data
// in both directions.
type front struct {
	e    *zktest.Ensemble
	pool *x509.CertPool // authorities of the clients' certificates

	mu   sync.Mutex
	cert tls.Certificate // presented on new connections
	seen []int64         // numbers of the clients' certificates, in the order of connections
}

func (f *front) present(cert tls.Certificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cert = cert
}

func (f *front) clients() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

func (f *front) dial(ctx context.Context, network, address string) (net.Conn, error) {
	back, err := f.e.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	raw := newBuffered(server)
	f.mu.Lock()
	secure := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{f.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: f.pool})
	f.mu.Unlock()
	go func() {
		var group sync.WaitGroup
		defer close(raw.out)
		defer group.Wait()
		defer back.Close()
		defer server.Close()
		if secure.Handshake() != nil {
			return
		}
		f.mu.Lock()
		f.seen = append(f.seen, secure.ConnectionState().PeerCertificates[0].SerialNumber.Int64())
		f.mu.Unlock()
		group.Go(func() {
			defer server.Close()
			io.Copy(secure, back)
		})
		io.Copy(back, secure)
	}()
	return client, nil
}

// A buffered is a connection whose writes do not wait for the reader, like those of TCP.
type buffered struct {
	net.Conn
	out chan []byte
}

func newBuffered(c net.Conn) buffered {
	b := buffered{c, make(chan []byte, 64)}
	go func() {
		for data := range b.out {
			c.Write(data) // the error is ignored, because the reads then fail too
		}
	}()
	return b
}

func (b buffered) Write(data []byte) (int, error) {
	b.out <- bytes.Clone(data)
	return len(data), nil
}

// If the server's certificate expires, the open connection is not affected. The next connection
// fails, and the log says why. The session resumes once the server has a new certificate. If the
// client gets a new certificate too, the same session uses that certificate on the next connection.
func TestSessionSurvivesAnExpiredCertificate(t *testing.T) {
	inBubble(t, zktest.Options{Servers: 1}, func(t *testing.T, e *zktest.Ensemble) {
		ca := signed(t, 1, 1000*time.Hour, nil)
		pool := x509.NewCertPool()
		pool.AddCert(ca.Leaf)
		f := &front{e: e, pool: pool, cert: signed(t, 2, time.Hour, &ca)}
		own := signed(t, 10, time.Hour, &ca)
		opts := on(e)
		opts.Dial = f.dial
		opts.TLS = &tls.Config{RootCAs: pool, ServerName: "zk", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return &own, nil
		}}
		lines := logged(&opts, slog.LevelInfo)
		s := open(t, opts)
		defer s.Close()
		id := s.ID()

		time.Sleep(2 * time.Hour)
		if s.State() != Connected || !slices.Equal(f.clients(), []int64{10}) {
			t.Errorf("after the expiry: got state %v and connections %v, want the first connection", s.State(), f.clients())
		}
		s.hangUp()
		time.Sleep(3 * time.Second)
		if out := strings.Join(lines(), ""); s.State() != Suspended || !strings.Contains(out, "certificate has expired") {
			t.Errorf("on the next connection: got state %v, want %v and the reason in the log:\n%s", s.State(), Suspended, out)
		}
		f.present(signed(t, 3, time.Hour, &ca))
		f.mu.Lock()
		own = signed(t, 11, time.Hour, &ca)
		f.mu.Unlock()
		time.Sleep(3 * time.Second)
		if s.State() != Connected || s.ID() != id || !slices.Equal(f.clients(), []int64{10, 11}) {
			t.Errorf("with new certificates: got state %v, session %x, connections %v; want session %x again, connected with 11", s.State(), s.ID(), f.clients(), id)
		}
	})
}

// In this test the lookup of the server's name fails, or returns a dead address or no address. The
// session repeats the lookup until it can connect. It then continues as the same session, even if
// the addresses are now those of other servers.
func TestSessionSurvivesChangesOfANameInDNS(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var mu sync.Mutex
		hosts, fails := []string{"10.0.0.1"}, error(nil)
		set := func(err error, list ...string) {
			mu.Lock()
			defer mu.Unlock()
			hosts, fails = list, err
		}
		opts := oneName(e, map[string]bool{"10.0.0.9:2181": true})
		opts.dialer.lookup = func(context.Context, string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(hosts), fails
		}
		s := open(t, opts)
		defer s.Close()
		id := s.ID()
		for _, wrong := range []struct {
			err   error
			hosts []string
		}{{&net.DNSError{Err: "no such host", Name: "zk", IsNotFound: true}, nil}, {nil, []string{"10.0.0.9"}}, {nil, nil}} {
			set(wrong.err, wrong.hosts...)
			s.hangUp()
			time.Sleep(3 * time.Second)
			if s.State() != Suspended {
				t.Errorf("%v %v: got state %v, want %v", wrong.err, wrong.hosts, s.State(), Suspended)
			}
			set(nil, "10.0.0.2", "10.0.0.3")
			time.Sleep(6 * time.Second)
			if s.State() != Connected || s.ID() != id {
				t.Errorf("after %v %v: got state %v, session %x; want session %x connected", wrong.err, wrong.hosts, s.State(), s.ID(), id)
			}
		}
		e.Kill(0) // this server never returns
		time.Sleep(time.Minute)
		if s.State() != Connected || s.ID() != id {
			t.Errorf("without the first server: got state %v, session %x; want session %x connected", s.State(), s.ID(), id)
		}
	})
}

// IPv6 addresses in ZooKeeper's form work from the parser to the socket.
func TestSessionOverIPv6(t *testing.T) {
	e, err := zktest.New(zktest.Options{Servers: 1, Listen: []string{"[::1]:0"}})
	if err != nil {
		t.Skip(err) // this machine has no IPv6, and a test cannot add it
	}
	defer e.Close()
	s := open(t, Options{Servers: e.Servers()})
	defer s.Close()
	if _, err := s.Create(t.Context(), "/a", nil, Ephemeral); err != nil || !strings.HasPrefix(s.Server(), "[::1]:") {
		t.Errorf("got server %q, %v; want one at [::1]", s.Server(), err)
	}
}
