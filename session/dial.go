package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"
)

// errOver is what the client gets when it wants another connection for a
// session that is over.
var errOver = errors.New("session: no second session on one client")

// servers is the order in which a session tries its servers. It implements
// zk.HostProvider.
type servers struct {
	s    *Session
	list []string
	next int
}

func (h *servers) Init([]string) error { return nil } // the client's own order is not wanted
func (h *servers) Len() int            { return len(h.list) }
func (h *servers) Connected()          {}

// Next returns the server to try. It never reports a finished round: the client
// would then fail what is queued and wait a whole second. dial paces itself.
func (h *servers) Next() (string, bool) {
	server := h.list[h.next%len(h.list)]
	h.next++
	return server, false
}

// dial opens a connection for the client. It runs on the client's goroutine,
// one call at a time. After the end of the session the client is parked.
func (s *Session) dial(network, address string, _ time.Duration) (net.Conn, error) {
	if err := s.pause(); err != nil {
		return newParkedConn(s.opts.Timeout, s.park), nil
	}
	s.mu.Lock()
	s.trying = address
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.life, s.handshakeBound())
	defer cancel()
	raw, err := s.opts.Dial(ctx, network, address)
	if err == nil && s.opts.TLS != nil {
		raw, err = s.secure(ctx, raw, address)
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notReachedLocked(address, err)
		return nil, err
	}
	c := newConn(s, withSASL(raw, s.opts.Auth), address)
	s.mu.Lock()
	s.latest = c
	s.mu.Unlock()
	if s.life.Err() != nil { // and supervise may have looked for a connection to close before this one
		c.Close()
		return nil, errOver
	}
	return c, nil
}

// The pauses between rounds of attempts to connect.
const firstPause, longestPause = 50 * time.Millisecond, time.Second

// pause waits before the next attempt, longer with each round that failed.
func (s *Session) pause() error {
	s.mu.Lock()
	rounds := s.attempts / len(s.opts.Servers)
	s.attempts++
	s.mu.Unlock()
	if s.life.Err() != nil {
		return errOver
	}
	if rounds == 0 {
		return nil
	}
	return sleep(s.life, jitter(backoff(rounds, firstPause, longestPause), s.rand))
}

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
			return nil, fmt.Errorf("TLS: %w: the port may not be a secure one", err)
		}
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return conn, nil
}

// hungUp reports whether the other side has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// errNoAnswer is why a connection is closed whose server is silent.
var errNoAnswer = errors.New("no answer to the handshake")

// explainNoHandshake says what it can mean that a server does not begin a session.
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

// notReachedLocked notes that no session was begun or resumed at a server. Of an
// outage the first round of attempts is logged, and then that no server is left.
func (s *Session) notReachedLocked(address string, err error) {
	if s.life.Err() != nil {
		return
	}
	s.dialError = fmt.Errorf("%s: %w", address, err)
	s.failures++
	level := slog.LevelInfo
	if s.failures > len(s.opts.Servers) {
		level = slog.LevelDebug
	}
	s.logLocked(level, "zookeeper server not reached", "server", address, "error", err)
	if s.failures == len(s.opts.Servers) {
		args := []any{"last", s.dialError}
		if s.id != 0 { // else it has not begun
			args = append(args, "session", hexID(s.id))
		}
		s.logLocked(slog.LevelWarn, "no zookeeper server takes the session: trying again", args...)
	}
}

// handshakeBound is how long one server may take to accept a connection and
// answer the handshake before the next is tried.
func (s *Session) handshakeBound() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(cmp.Or(s.timeout, s.opts.Timeout)/3, 250*time.Millisecond)
}

// backoff doubles from first to at most limit.
func backoff(round int, first, limit time.Duration) time.Duration {
	return min(first<<min(round, 20), limit)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

func (s *Session) shuffledServers() []string {
	list := slices.Clone(s.opts.Servers)
	shuffle(list, s.rand)
	return list
}
