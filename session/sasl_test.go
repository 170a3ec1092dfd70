package session

import (
	"errors"
	"strings"
	"testing"
)

// The example of RFC 2831, section 4.
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
