package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// errOver is the error of a connection that would begin a second session, or that the client opens
// after the end of the session.
var errOver = errors.New("session: no second session on one client")

// The method `dial` opens a connection for the client. It runs on the client's goroutine, one call
// at a time. After the end of the session it returns a parkedConn, on which the client waits until
// Close.
func (s *Session) dial(network, address string, _ time.Duration) (net.Conn, error) {
	if s.servers.pause(s.life.ctx) != nil {
		return newParkedConn(s.opts.Timeout, s.park), nil
	}
	s.servers.dialling(address)
	ctx, cancel := context.WithTimeout(s.life.ctx, handshakeBound(s.Timeout()))
	defer cancel()
	raw, err := s.opts.Dial(ctx, network, address)
	if err == nil && s.opts.TLS != nil {
		raw, err = s.secure(ctx, raw, address)
	}
	if err != nil {
		if s.Err() == nil {
			s.servers.notReached(address, s.ID(), err)
		}
		return nil, err
	}
	c := newConn(s, withSASL(raw, s.opts.Auth), address)
	s.latest.Store(c)
	if s.Err() != nil { // the method `dismiss` may have run too early to close this connection
		c.Close()
		return nil, errOver
	}
	return c, nil
}

// handshakeBound returns the time limit for each of the two steps of an attempt at one server:
// making the connection (with TLS, if it is used), and waiting for the answer to the handshake. If
// a step takes longer than this limit, the session tries the next server.
func handshakeBound(timeout time.Duration) time.Duration { return max(timeout/3, 250*time.Millisecond) }

func (s *Session) secure(ctx context.Context, raw net.Conn, address string) (net.Conn, error) {
	config := s.opts.TLS
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		_, plain := errors.AsType[tls.RecordHeaderError](err)
		if plain || hungUp(err) {
			return nil, fmt.Errorf("TLS: %w: the port may not accept TLS", err)
		}
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return conn, nil
}

// hungUp reports whether the other side has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// errNoAnswer is the reason for closing a connection whose server is silent.
var errNoAnswer = errors.New("no answer to the handshake")

// explainNoHandshake adds possible causes to err if the server closed the connection during the
// handshake. Otherwise it returns err.
func explainNoHandshake(err error, secure bool) error {
	if !hungUp(err) {
		return err
	}
	perhaps := "it may have no quorum (read-only mode) or too many connections of this client (maxClientCnxns)"
	if !secure {
		perhaps += ", or the port may expect TLS"
	}
	return fmt.Errorf("server closed the connection without an answer to the handshake: %w: %s", err, perhaps)
}
