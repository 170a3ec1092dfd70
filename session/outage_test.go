package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `logged` gives opts a logger at the given level. The returned function returns the
// lines logged so far.
func logged(opts *Options, level slog.Level) func() []string {
	var mu sync.Mutex
	var lines []string
	opts.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, strings.TrimSpace(string(b)))
		return len(b), nil
	}), &slog.HandlerOptions{Level: level}))
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return lines
	}
}

// The function `count` returns how many of the lines have all of the words.
func count(lines []string, words ...string) (n int) {
	for _, line := range lines {
		n++
		for _, word := range words {
			if !strings.Contains(line, word) {
				n--
				break
			}
		}
	}
	return n
}

// An outage is logged at the level Info, and does not fill the log. Regression: it was not logged
// at this level.
func TestAnOutageIsLogged(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Abandon = -1
		lines := logged(&opts, slog.LevelInfo)
		s := open(t, opts)
		defer s.Close()
		for i := range e.Servers() {
			e.Kill(i)
		}
		time.Sleep(time.Hour)
		out := lines()
		lost := 0
		for _, server := range e.Servers() {
			lost += count(out, "level=INFO", "connection lost", "server="+server, "error=")
			if n := count(out, "level=INFO", "not reached", "server="+server, "error="); n != 1 {
				t.Errorf("failed attempts at %s in the log at the level Info: got %d, want 1",
					server, n)
			}
		}
		if lost != 1 {
			t.Errorf("lost connections in the log at the level Info: got %d, want 1", lost)
		}
		warnings := count(out, "level=WARN", "no zookeeper server takes the session", "last=")
		if warnings != 1 || len(out) > 8 {
			t.Errorf("the log of an hour of outage: got %d lines, %d of them warnings that no server accepts the session; want at most 8 and 1",
				len(out), warnings)
		}
		for i := range e.Servers() {
			e.Start(i)
		}
		must(t, s.Sync(t.Context(), "/"))
		if t.Failed() {
			t.Log(strings.Join(lines(), "\n"))
		}
	})
}

// Open without a deadline logs once, at Warn, why no server accepts the session. Without this line,
// Open would wait in silence, for example if the server has too many connections of this client
// (maxClientCnxns).
func TestOpenWithoutADeadlineLogsTheReason(t *testing.T) {
	inBubble(t, zktest.Options{MaxClientConns: 1}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e, 0))
		opts := on(e, 0)
		lines := logged(&opts, slog.LevelWarn)
		opened := make(chan *Session)
		go func() {
			s, err := Open(t.Context(), opts)
			if err != nil {
				t.Error(err)
			}
			opened <- s
		}()
		time.Sleep(time.Hour)
		if out := lines(); len(out) != 1 || count(out, "level=WARN", e.Servers()[0], "refused") != 1 || strings.Contains(out[0], "session=") {
			t.Errorf("the log of an hour: got %q, want one warning", out)
		}
		must(t, s.Close())
		must(t, (<-opened).Close())
	})
}

// The error of Open says what the server may be, for example a read-only server, a secure port or
// another service. It does not say only "EOF".
func TestErrorSaysWhatTheServerMayBe(t *testing.T) {
	answer := func(bytes string) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				server.Read(make([]byte, 1<<12))
				if bytes != "" {
					io.WriteString(server, bytes)
				}
			}()
			return client, nil
		}
	}
	for name, c := range map[string]struct {
		answer string
		tls    *tls.Config
		want   string
	}{
		"read-only":            {"", nil, "read-only"},
		"secure, closes":       {"", nil, "may expect TLS"},
		"secure":               {"\x15\x03\x03\x00\x02\x02\x46", nil, "set Options.TLS"},
		"web":                  {"HTTP/1.1 400 Bad Request\r\n\r\n", nil, "HTTP"},
		"anything":             {"\xff\xff\xff\xff", nil, "4294967295 bytes"},
		"not secure, closes":   {"", &tls.Config{InsecureSkipVerify: true}, "may not accept TLS"},
		"not secure, answers":  {"\x00\x00\x00\x25\x00\x00\x00\x00", &tls.Config{InsecureSkipVerify: true}, "may not accept TLS"},
		"secure and read-only": {"", nil, "maxClientCnxns"},
	} {
		virtual.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := Open(ctx, Options{Servers: []string{"zk"}, TLS: c.tls, Dial: answer(c.answer)})
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "zk:2181") {
				t.Errorf("%s: got %v, want a text with %q", name, err, c.want)
			}
		})
	}
	virtual.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := Open(ctx, Options{Servers: []string{"zk"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err == nil || !strings.Contains(err.Error(), "zk:2181") {
			t.Errorf("silent server: got %v, want an error with its address", err)
		}
	})
}
