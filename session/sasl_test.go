package session

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// The test uses the values of the example in RFC 2831, section 4.
func TestDigestMD5(t *testing.T) {
	given := directives([]byte(`realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8`))
	d := digestMD5{user: "chris", password: "secret", realm: given["realm"], nonce: given["nonce"], cnonce: "OA6MHXh6VqTrRk", uri: "imap/elwood.innosoft.com"}
	const want = "d388dad90d4bbd760a152321f2143af7"
	if got := d.response("AUTHENTICATE"); got != want {
		t.Errorf("response: got %s, want %s", got, want)
	}
	if got := d.response(""); got != "ea40f60335c427b5527b84dbabcdfffd" {
		t.Errorf("response of the server: got %s, want ea40f60335c427b5527b84dbabcdfffd", got)
	}
	if answer := string(d.answer()); !strings.Contains(answer, "response="+want) || !strings.Contains(answer, `nonce="OA6MG9tEQGm2hh"`) {
		t.Errorf("answer: got %s, want the response %s and the nonce", answer, want)
	}
	if given["algorithm"] != "md5-sess" {
		t.Errorf("algorithm: got %q, want md5-sess", given["algorithm"])
	}
	if got := latin1("ä€"); got != "ä€" {
		t.Errorf("a text that ISO 8859-1 cannot encode: got %q, want it unchanged", got)
	}
	if got := latin1("ä"); got != "\xe4" {
		t.Errorf("a text in ISO 8859-1: got %q, want \"\\xe4\"", got)
	}
}

func TestSASLCredentialIsChecked(t *testing.T) {
	for _, auth := range [][]Auth{{{SASLScheme, []byte("user")}}, {{SASLScheme, []byte("a:b")}, {SASLScheme, []byte("c:d")}}} {
		if _, err := Open(t.Context(), Options{Servers: []string{"127.0.0.1:1"}, Auth: auth}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: got %v, want %v", auth, err, ErrInvalid)
		}
	}
}

// The session does not log in to a server that does not know the password or does not follow the
// mechanism.
func TestSASLServerIsChecked(t *testing.T) {
	const challenge = `realm="zk",nonce="n",qop="auth",algorithm=md5-sess,charset=utf-8`
	proof := func(password string) func(answer string) string {
		return func(answer string) string {
			given := directives([]byte(answer))
			d := digestMD5{user: given["username"], password: password, realm: given["realm"], nonce: given["nonce"], cnonce: given["cnonce"], uri: given["uri"]}
			return "rspauth=" + d.response("")
		}
	}
	for name, c := range map[string]struct {
		challenge string
		final     func(answer string) string
		says      string // "" if the login succeeds
	}{
		"right":            {challenge, proof("secret"), ""},
		"another password": {challenge, proof("guess"), "did not prove that it knows the password"},
		"no proof":         {challenge, func(string) string { return "" }, "did not prove that it knows the password"},
		"another proof":    {challenge, func(answer string) string { return "rspauth=" + directives([]byte(answer))["response"] }, "did not prove that it knows the password"},
		"no nonce":         {`realm="zk",algorithm=md5-sess`, nil, "instead of a challenge of DIGEST-MD5"},
		"other mechanism":  {`realm="zk",nonce="n",algorithm=md5`, nil, "instead of a challenge of DIGEST-MD5"},
		"nothing":          {"", nil, "instead of a challenge of DIGEST-MD5"},
	} {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			reply := func(token string) bool {
				_, err := server.Write(wire.AppendFrame(nil, &wire.ReplyHeader{}, &wire.AuthToken{Token: []byte(token)}))
				return err == nil
			}
			if _, err := wire.ReadFrame(server, nil, 0); err != nil || !reply(c.challenge) || c.final == nil {
				return
			}
			frame, err := wire.ReadFrame(server, nil, 0)
			if err == nil {
				reply(c.final(string(frame)))
			}
		}()
		err := (&saslConn{Conn: client, user: "chris", password: "secret"}).digest()
		client.Close()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got error %v, want one with %q (none if this is empty)",
				name, err, c.says)
		}
		if errors.Is(err, errSASLRefused) {
			t.Errorf("%s: got %v, want an error that is not a refusal by the server", name, err)
		}
	}
}

// If the server does not speak ZooKeeper's protocol, the error says so, also for a session that
// logs in with SASL.
func TestSASLAtAnotherProtocol(t *testing.T) {
	for answer, says := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n": "server speaks HTTP",
		"\x15\x03\x03\x00\x02\x02\x16": "server speaks TLS",
		"\x7fELF":                      "may not be a ZooKeeper server",
	} {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			_, _ = server.Write([]byte(answer))
		}()
		_, err := (&saslConn{Conn: client, user: "chris", password: "secret"}).Read(make([]byte, 4))
		client.Close()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got error %v, want one with %q", answer, err, says)
		}
	}
}
