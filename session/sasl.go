package session

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// SASLScheme is the scheme of an [Auth] that is used for SASL with the mechanism DIGEST-MD5. Its
// data is user:password. Servers read the passwords from the section Server of their JAAS
// configuration. The session logs in on each connection before it sends anything else, so it also
// satisfies servers with requireClientAuthScheme=sasl.
//
// DIGEST-MD5 is an old mechanism; RFC 6331 explains its weaknesses. The password itself is not
// sent, but anybody who can read the connection can find a weak password by guessing. Use SASL with
// Options.TLS.
const SASLScheme = "sasl"

// withSASL returns a connection that logs in with SASL, if one of the credentials is for SASL.
// Otherwise it returns conn itself.
func withSASL(conn net.Conn, all []Auth) net.Conn {
	for _, a := range all {
		if user, password, ok := strings.Cut(string(a.Data), ":"); ok && a.Scheme == SASLScheme {
			return &saslConn{Conn: conn, user: user, password: password}
		}
	}
	return conn
}

// saslConn logs in after the server has answered the handshake and before the client reads that
// answer. The client library does not support SASL: see docs/decisions/0007-sasl-and-read-only.md.
type saslConn struct {
	net.Conn
	user, password string

	tried  bool
	unread bytes.Buffer // the answer to the handshake, then the answer to a failed login
}

func (c *saslConn) Read(b []byte) (int, error) {
	if !c.tried {
		c.tried = true
		if err := c.login(); err != nil {
			return 0, err
		}
	}
	if c.unread.Len() > 0 {
		return c.unread.Read(b)
	}
	return c.Conn.Read(b)
}

// The method `login` reads the answer to the handshake, and logs in if there is a session. If the
// server refuses the credential, login returns nil. Read then returns the answer to the handshake,
// followed by a reply that reports the refusal. Servers themselves send such a reply when they
// refuse credentials of other schemes, so the session handles all refusals in the same way.
func (c *saslConn) login() error {
	frame, err := wire.ReadFrame(c.Conn, nil, maxReply)
	if errors.Is(err, wire.ErrLength) {
		return noFrame([4]byte(frame))
	}
	if err != nil {
		return err
	}
	var answer wire.ConnectResponse
	if _, err := wire.Decode(frame, &answer); err != nil {
		return fmt.Errorf("session: handshake: %w", err)
	}
	c.unread.Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame))))
	c.unread.Write(frame)
	if answer.Timeout <= 0 {
		return nil // there is no session
	}
	err = c.digest()
	if errors.Is(err, errSASLRefused) {
		c.unread.Write(wire.AppendFrame(nil, &wire.ReplyHeader{Xid: wire.XidAuth, Err: wire.AuthFailed}))
		return nil
	}
	return err
}

var errSASLRefused = errors.New("session: SASL: refused by the server")

// The method `digest` logs in with DIGEST-MD5, defined by RFC 2831.
func (c *saslConn) digest() error {
	challenge, err := c.exchange(1, nil)
	if err != nil {
		return err
	}
	given := directives(challenge)
	d := digestMD5{user: c.user, password: c.password, realm: given["realm"], nonce: given["nonce"], cnonce: rand.Text(), uri: digestURI}
	if given["algorithm"] != "md5-sess" || d.nonce == "" {
		return fmt.Errorf("session: SASL: the server sent %q instead of a challenge of DIGEST-MD5", challenge)
	}
	final, err := c.exchange(2, d.answer())
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(directives(final)["rspauth"]), []byte(d.response(""))) != 1 {
		return errors.New("session: SASL: the server did not prove that it knows the password")
	}
	return nil
}

// The method `exchange` sends a token and returns the server's token.
func (c *saslConn) exchange(xid int32, token []byte) ([]byte, error) {
	if token == nil {
		token = []byte{}
	}
	request := wire.AppendFrame(nil, &wire.RequestHeader{Xid: xid, Op: wire.OpSASL}, &wire.AuthToken{Token: token})
	if _, err := c.Conn.Write(request); err != nil {
		return nil, err
	}
	frame, err := wire.ReadFrame(c.Conn, nil, 0)
	if err != nil {
		return nil, err
	}
	header, body, err := wire.CutReply(frame)
	if err != nil {
		return nil, err
	}
	if header.Err != 0 {
		return nil, fmt.Errorf("%w: %w", errSASLRefused, header.Err)
	}
	var reply wire.AuthToken
	_, err = wire.Decode(body, &reply)
	return reply.Token, err
}

var directive = regexp.MustCompile(`([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]*))`)

// The function `directives` maps the name of each directive in a DIGEST-MD5 challenge to the value
// of the directive.
func directives(challenge []byte) map[string]string {
	found := make(map[string]string)
	for _, m := range directive.FindAllStringSubmatch(string(challenge), -1) {
		found[m[1]] = m[2] + m[3]
	}
	return found
}

type digestMD5 struct{ user, password, realm, nonce, cnonce, uri string }

// digestURI has the name that ZooKeeper's servers use for themselves in DIGEST-MD5.
const digestURI = "zookeeper/zk-sasl-md5"

// The method `response` returns the proof that the password is known. If the parameter `method` is
// "AUTHENTICATE", the result is the client's proof. If the parameter is empty, the result is the
// server's proof.
func (d digestMD5) response(method string) string {
	secret := md5.Sum([]byte(latin1(d.user) + ":" + latin1(d.realm) + ":" + latin1(d.password)))
	a1 := hexMD5(string(secret[:]) + ":" + d.nonce + ":" + d.cnonce)
	return hexMD5(a1 + ":" + d.nonce + ":00000001:" + d.cnonce + ":auth:" + hexMD5(method+":"+d.uri))
}

// The method `answer` returns the client's answer to the challenge.
func (d digestMD5) answer() []byte {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return fmt.Appendf(nil, `charset=utf-8,username="%s",realm="%s",nonce="%s",nc=00000001,cnonce="%s",digest-uri="%s",maxbuf=65536,response=%s,qop=auth`,
		quoted.Replace(d.user), quoted.Replace(d.realm), d.nonce, d.cnonce, d.uri, d.response("AUTHENTICATE"))
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// latin1 encodes a text in ISO 8859-1, as RFC 2831 requires before hashing. If a character of the
// text is not in ISO 8859-1, latin1 returns the text unchanged.
func latin1(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > 0xff {
			return s
		}
		b.WriteByte(byte(r))
	}
	return b.String()
}
