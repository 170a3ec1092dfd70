package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// errOver is what the client gets when it wants another connection for a
// session that is over.
var errOver = errors.New("session: no second session on one client")

// dialEachAddress looks the host up and tries its addresses in random order,
// so that one name can stand for many servers and none is always the first.
func dialEachAddress(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	shuffle(ips, cryptoRand{})
	var dialer net.Dialer
	for _, ip := range ips {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(ip, port)); err == nil {
			return conn, nil
		}
	}
	return nil, cmp.Or(err, fmt.Errorf("%s has no address", host))
}

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
	ctx, cancel := context.WithTimeout(s.life, s.handshakeBound())
	defer cancel()
	raw, err := s.opts.Dial(ctx, network, address)
	if err == nil && s.opts.TLS != nil {
		raw, err = s.secure(ctx, raw, address)
	}
	if err != nil {
		s.dialFailed(address, err)
		return nil, err
	}
	c := newConn(s, raw, address)
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
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return conn, nil
}

func (s *Session) dialFailed(address string, err error) {
	s.opts.Logger.Debug("zookeeper server not reached", "server", address, "error", err)
	s.mu.Lock()
	s.dialError = fmt.Errorf("%s: %w", address, err)
	s.mu.Unlock()
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
