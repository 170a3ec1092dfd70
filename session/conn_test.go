package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A script is a server that can do what ZooKeeper never does, or does only in a rare state. If the
// fields `connect`, `reply` and `part` are not set, the script begins sessions and answers every
// request with success.
type script struct {
	t       *testing.T
	connect func(n int, r wire.ConnectRequest) *wire.ConnectResponse // answers the n-th connection; a nil response leaves it without an answer
	reply   func(n int, h wire.RequestHeader, body []byte) (code wire.Code, answer bool)
	part    wire.Code // error code of the only part of each multi

	mu    sync.Mutex
	dials int
	got   []string // the requests, in order
	work  sync.WaitGroup
}

func (sc *script) options() Options {
	return Options{Servers: []string{"script:2181"}, Dial: sc.dial, Timeout: 9 * time.Second}
}

func (sc *script) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.dials++
	n := sc.dials
	sc.work.Go(func() { sc.serve(n, server) })
	return client, nil
}

func (sc *script) serve(n int, c net.Conn) {
	frame, err := wire.ReadFrame(c, nil, 0)
	if err != nil {
		c.Close()
		return
	}
	var request wire.ConnectRequest
	if _, err := wire.Decode(frame, &request); err != nil {
		sc.t.Errorf("connect request on connection %d: got error %v, want nil", n, err)
		return
	}
	response := &wire.ConnectResponse{Timeout: request.Timeout, SessionID: 77, Password: bytes.Repeat([]byte{7}, 16)}
	if sc.connect != nil {
		response = sc.connect(n, request)
	}
	if response == nil {
		io.Copy(io.Discard, c)
		c.Close()
		return
	}
	if c.Write(wire.AppendFrame(nil, response)); response.SessionID == 0 {
		c.Close()
		return
	}
	replies := make(chan []byte, 1000) // like the buffer of a socket, which a pipe lacks
	defer close(replies)
	sc.work.Go(func() {
		for reply := range replies {
			c.Write(reply)
		}
		c.Close()
	})
	for zxid := int64(1); ; zxid++ {
		if frame, err = wire.ReadFrame(c, frame, 0); err != nil {
			return
		}
		var h wire.RequestHeader
		body, err := wire.Decode(frame, &h)
		if err != nil {
			sc.t.Errorf("request header on connection %d: got error %v, want nil", n, err)
			return
		}
		sc.mu.Lock()
		sc.got = append(sc.got, h.Op.String()+" "+wire.FirstPath(h.Op, body))
		sc.mu.Unlock()
		code, answer := wire.OK, true
		if sc.reply != nil {
			code, answer = sc.reply(n, h, body)
		}
		if !answer {
			continue
		}
		records := []wire.Record{&wire.ReplyHeader{Xid: h.Xid, Zxid: zxid, Err: code}}
		switch h.Op {
		case wire.OpCreate, wire.OpSync:
			var p wire.Path
			wire.Decode(body, &p)
			records = append(records, &p)
		case wire.OpGetData:
			records = append(records, &wire.GetDataResponse{})
		case wire.OpGetChildren2:
			records = append(records, &wire.GetChildren2Response{})
		case wire.OpMulti:
			result := wire.MultiResult{Op: wire.OpCheck}
			if sc.part != wire.OK {
				result = wire.MultiResult{Op: wire.OpError, Err: sc.part}
			}
			records = append(records, &wire.MultiResponse{Results: []wire.MultiResult{result}})
		case wire.OpExists, wire.OpSetData:
			records = append(records, &wire.Stat{})
		}
		if code != wire.OK {
			records = records[:1]
		}
		replies <- wire.AppendFrame(nil, records...)
		if h.Op == wire.OpCloseSession {
			return
		}
	}
}

// The method `asked` returns how many times a request was made.
func (sc *script) asked(what string) (n int) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for _, got := range sc.got {
		if got == what {
			n++
		}
	}
	return n
}

func scripted(t *testing.T, sc *script, f func(t *testing.T)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		sc.t = t
		f(t)
		sc.work.Wait()
	})
}

func fresh(r wire.ConnectRequest) *wire.ConnectResponse {
	return &wire.ConnectResponse{Timeout: r.Timeout, SessionID: max(r.SessionID, 77), Password: bytes.Repeat([]byte{7}, 16)}
}

// requestsAcrossSessions returns a server that replaces the first session by another one when the
// client reconnects. If `silent` is true, the server does not report that the first session has
// expired. In the first session the server does not answer creates, so they are still in progress
// when the connection ends.
func requestsAcrossSessions(silent bool) *script {
	return &script{
		connect: func(n int, r wire.ConnectRequest) *wire.ConnectResponse {
			switch {
			case n == 1:
				return fresh(r)
			case n == 2 && !silent:
				return &wire.ConnectResponse{Password: make([]byte, 16)} // expired
			}
			return &wire.ConnectResponse{Timeout: r.Timeout, SessionID: 1000 + int64(n), Password: bytes.Repeat([]byte{7}, 16)}
		},
		reply: func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
			return wire.OK, n > 1 || h.Op != wire.OpCreate
		},
	}
}

// No request that was made in a lost session is sent in a later session.
//
// Covers S1.
func TestNoRequestOfALostSessionRunsInALaterOne(t *testing.T) {
	for name, silent := range map[string]bool{"expired": false, "another id without a word": true} {
		t.Run(name, func(t *testing.T) {
			sc := requestsAcrossSessions(silent)
			var late func()
			opts := sc.options()
			dial := opts.Dial
			opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if late != nil {
					late()
				}
				return dial(ctx, network, address)
			}
			scripted(t, sc, func(t *testing.T) {
				s := open(t, opts)
				defer s.Close()
				errs := make(chan error, 3)
				create := func(path string) {
					_, err := s.Create(t.Context(), path, nil, Ephemeral)
					errs <- err
				}
				// The function `late` makes two requests while there is no connection. One request
				// waits in the session, and one is in the client's queue.
				late = func() {
					late = nil
					go create("/ephemeral")
					s.life.spawn(func() {
						_, err := s.zk.Create("/ephemeral", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
						errs <- err
					})
					synctest.Wait()
				}
				go create("/in-progress")
				synctest.Wait()
				c := s.current()
				c.Close()
				<-s.Done()
				if !errors.Is(s.Err(), ErrLost) {
					t.Errorf("the session ended with %v, want %v", s.Err(), ErrLost)
				}
				for range cap(errs) {
					if err := <-errs; err == nil {
						t.Error("a request of the lost session: got no error, want one")
					}
				}
				time.Sleep(time.Minute)
				if n := sc.asked("create /ephemeral"); n != 0 {
					t.Errorf("requests of the lost session sent in the next one: got %d, want 0", n)
				}
				if n := sc.asked("create /in-progress"); n != 1 {
					t.Errorf("the request in progress: got it sent %d times, want once, in the lost session", n)
				}
				if s.ID() != 77 {
					t.Errorf("the id of the session: got %#x, want 0x4d", s.ID())
				}
			})
		})
	}
}

// This test shows why S1 needs code in this package: go-zookeeper's client executes a queued
// request in the next session, without an error. If this test fails, go-zookeeper no longer does
// this.
func TestBareClientRunsRequestsInALaterSession(t *testing.T) {
	for name, silent := range map[string]bool{"expired": false, "another id without a word": true} {
		t.Run(name, func(t *testing.T) {
			sc := requestsAcrossSessions(silent)
			scripted(t, sc, func(t *testing.T) {
				var mu sync.Mutex
				var raw net.Conn
				dials := 0
				client, events, err := zk.Connect([]string{"script:2181"}, 9*time.Second, zk.WithLogInfo(false),
					zk.WithLogger(debugLog{slog.New(slog.DiscardHandler)}),
					zk.WithHostProvider(&oneServer{}),
					zk.WithDialer(func(network, address string, _ time.Duration) (net.Conn, error) {
						mu.Lock()
						defer mu.Unlock()
						if dials++; dials > 1 {
							time.Sleep(time.Second)
						}
						c, err := sc.dial(context.Background(), network, address)
						raw = c
						return c, err
					}))
				must(t, err)
				for ev := range events {
					if ev.State == zk.StateHasSession {
						break
					}
				}
				raw.Close()
				synctest.Wait()
				if _, err := client.Create("/ephemeral", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
					t.Errorf("Create with the bare client: got %v, want no error", err)
				}
				if n := sc.asked("create /ephemeral"); n != 1 || client.SessionID() == 77 {
					t.Errorf("bare client: got %d creates in session %d, want 1 in a session other than 77", n, client.SessionID())
				}
				client.Close()
				for range events {
				}
			})
		})
	}
}

type oneServer struct{}

func (*oneServer) Init([]string) error  { return nil }
func (*oneServer) Len() int             { return 1 }
func (*oneServer) Next() (string, bool) { return "script:2181", false }
func (*oneServer) Connected()           {}

// The session limits the time for a handshake. go-zookeeper alone would wait 6.67 session timeouts
// for the answer.
//
// Covers S5.
func TestHandshakeIsBounded(t *testing.T) {
	sc := &script{connect: func(n int, r wire.ConnectRequest) *wire.ConnectResponse {
		if n < 4 {
			return nil
		}
		return fresh(r)
	}}
	scripted(t, sc, func(t *testing.T) {
		start := time.Now()
		s := open(t, sc.options())
		if d := time.Since(start); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("three hung servers: took %v, want 9 s to 10 s", d)
		}
		must(t, s.Close())
	})
}

// In this test the server answers a handshake just after the timer of the handshake has closed the
// connection. The session must not use the closed connection.
func TestConnectionClosedDuringItsHandshakeIsNotAdopted(t *testing.T) {
	sc := &script{}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, sc.options())
		raw, other := net.Pipe()
		defer other.Close()
		c := newConn(s, raw, "script:2181")
		c.Close()
		before := s.Server()
		if _, err := s.tap.connected(c, &wire.ConnectResponse{Timeout: 9000, SessionID: 77}); err == nil {
			t.Error("a connection that was closed during its handshake: got no error, want one")
		}
		if s.Server() != before || s.State() != Connected {
			t.Errorf("got server %q and state %v, want %q and %v", s.Server(), s.State(), before, Connected)
		}
		must(t, s.Close())
	})
}

// Open returns when its context ends, even if the server never answers the handshake.
//
// Covers S5, S7.
func TestCloseDuringAHandshakeDoesNotWaitForIt(t *testing.T) {
	sc := &script{connect: func(n int, r wire.ConnectRequest) *wire.ConnectResponse { return nil }}
	opts := sc.options()
	opts.Timeout = time.Hour
	scripted(t, sc, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := Open(ctx, opts); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: got %v, want %v", err, context.DeadlineExceeded)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("Open took %v, want at most 2 s", d)
		}
	})
}

// If a server keeps a connection open but neither answers nor reads, the session closes the
// connection within a session timeout.
//
// Covers S5.
func TestStalledSocketIsClosed(t *testing.T) {
	for name, op := range map[string]wire.Op{"idle": wire.OpPing, "answers nothing": 0} {
		t.Run(name, func(t *testing.T) {
			sc := &script{}
			var hang chan struct{}
			sc.reply = func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
				if n == 1 && h.Op != wire.OpCloseSession && (op == 0 || h.Op == op) {
					<-hang // the script stops reading too
				}
				return wire.OK, true
			}
			scripted(t, sc, func(t *testing.T) {
				hang = make(chan struct{})
				s := open(t, sc.options())
				start := time.Now()
				if op == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					s.Create(ctx, "/a", make([]byte, 1<<19), Persistent)
					cancel()
				}
				for state := range s.States(t.Context()) {
					if state == Suspended {
						break
					}
				}
				if d := time.Since(start); d > s.Timeout() {
					t.Errorf("the stalled connection was closed after %v, want at most %v", d, s.Timeout())
				}
				must(t, s.Sync(t.Context(), "/"))
				close(hang)
				must(t, s.Close())
			})
		})
	}
}

// Each connection begins with all credentials. The session sends them itself, because go-zookeeper
// can block forever if a write fails while it sends the credentials on a new connection.
//
// Covers S5.
func TestCredentialsAreSentFirstOnEachConnection(t *testing.T) {
	sc := &script{}
	sc.reply = func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) { return wire.OK, h.Op != wire.OpExists }
	opts := sc.options()
	opts.Auth = []Auth{{"digest", []byte("a:b")}, {"digest", []byte("c:d")}}
	opts.NoIdleLease = true
	scripted(t, sc, func(t *testing.T) {
		s := open(t, opts)
		for range 20 {
			c := s.current()
			c.Close()
			must(t, s.Sync(t.Context(), "/"))
		}
		must(t, s.Close())
		sc.mu.Lock()
		defer sc.mu.Unlock()
		if n := strings.Count(strings.Join(sc.got, ","), "auth ,auth ,sync /"); n != 20 {
			t.Errorf("connections that begin with both credentials: got %d, want 20: %v", n, sc.got)
		}
	})
}

// In this test the first connection breaks after the session has read the answer to the handshake,
// but before go-zookeeper's client has read it. So the client requests a new session on the second
// connection. The session must change this request, so that the first session is resumed.
//
// Covers S1, S5.
func TestFirstConnectionThatBreaksInItsHandshakeIsResumed(t *testing.T) {
	sc := &script{}
	opts := sc.options()
	opts.Auth = []Auth{{"digest", []byte("a:b")}}
	var asked []int64
	sc.connect = func(n int, r wire.ConnectRequest) *wire.ConnectResponse {
		asked = append(asked, r.SessionID)
		return fresh(r)
	}
	dial := opts.Dial
	n := 0
	opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if n++; n == 1 {
			return &mute{Conn: c, writes: 1}, err // the credentials cannot be sent
		}
		return c, err
	}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, opts)
		must(t, s.Sync(t.Context(), "/"))
		if len(asked) != 2 || asked[0] != 0 || asked[1] != 77 {
			t.Errorf("handshakes requested the sessions %v, want 0 and then 77", asked)
		}
		must(t, s.Close())
	})
}

// A mute is a connection on which only the first writes succeed.
type mute struct {
	net.Conn
	writes int // number of writes that still succeed
}

func (m *mute) Write(b []byte) (int, error) {
	if m.writes--; m.writes < 0 {
		return 0, io.ErrClosedPipe
	}
	return m.Conn.Write(b)
}

// If a server refuses the credentials on a later connection, the session ends.
//
// Covers S5.
func TestRefusedCredentialsEndTheSession(t *testing.T) {
	sc := &script{reply: func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
		if h.Op == wire.OpAuth && n == 2 {
			return wire.AuthFailed, true
		}
		return wire.OK, true
	}}
	opts := sc.options()
	opts.Auth = []Auth{{"digest", []byte("a:b")}}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, opts)
		c := s.current()
		c.Close()
		if err := cause(t, s.Context(), time.Second); !errors.Is(err, ErrLost) || !errors.Is(err, wire.AuthFailed) {
			t.Errorf("the session ended with %v, want %v and %v", err, ErrLost, wire.AuthFailed)
		}
		must(t, s.Close())
	})
}

// On each new connection, the session sets its watches again. If the server refuses this, the
// session closes the connection and opens another one. The session must check the answer itself,
// because go-zookeeper ignores the answer to setWatches.
//
// Covers S6.
func TestWatchesThatCannotBeSetAgainCloseTheConnection(t *testing.T) {
	sc := &script{}
	sc.reply = func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
		if h.Op == wire.OpSetWatches && n < 5 {
			return wire.ThrottledOp, true
		}
		return wire.OK, true
	}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, sc.options())
		_, w, err := s.ExistsWatch(t.Context(), "/w")
		must(t, err)
		c := s.current()
		c.Close()
		time.Sleep(10 * time.Second)
		if n := sc.asked("setWatches "); n != 4 || s.State() != Connected {
			t.Errorf("got %d requests to set watches and state %v, want 4 and connected", n, s.State())
		}
		w.Stop()
		must(t, s.Close())
	})
}

// If a server closes every connection at once, the session pauses between its attempts to connect.
func TestAttemptsAtAFlappingServerArePaused(t *testing.T) {
	sc := &script{}
	opts := sc.options()
	scripted(t, sc, func(t *testing.T) {
		s := open(t, opts)
		stop := time.Now().Add(time.Minute)
		for time.Now().Before(stop) {
			c := s.current()
			if c != nil {
				c.Close()
			}
			time.Sleep(time.Millisecond)
		}
		sc.mu.Lock()
		n := sc.dials
		sc.mu.Unlock()
		if n > 150 || n < 50 {
			t.Errorf("got %d dials in a minute, want 50 to 150", n)
		}
		must(t, s.Close())
	})
}

// Bytes that are not a valid reply end the connection, but not the session.
//
// Covers S5.
func TestGarbageClosesTheConnectionOnly(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"huge":      {0xff, 0xff, 0xff, 0xff},
		"large":     {0x7f, 0xff, 0xff, 0xff},
		"short":     {0, 0, 0, 2, 1, 1},
		"empty":     {0, 0, 0, 0},
		"event":     append([]byte{0, 0, 0, 20, 0xff, 0xff, 0xff, 0xff}, make([]byte, 16)...),
		"truncated": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sc := &script{}
			opts := sc.options()
			dial := opts.Dial
			n := 0
			opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dial(ctx, network, address)
				if n++; n == 1 {
					return &poisoned{Conn: c, after: 1, garbage: bytes}, err
				}
				return c, err
			}
			scripted(t, sc, func(t *testing.T) {
				s := open(t, opts)
				must(t, s.Sync(t.Context(), "/"))
				if n != 2 {
					t.Errorf("got %d connections, want 2", n)
				}
				must(t, s.Close())
			})
		})
	}
}

// A poisoned is a connection whose first reads return data of the server, and whose later reads
// return garbage.
type poisoned struct {
	net.Conn
	after   int // number of reads that still return data of the server
	garbage []byte
}

func (p *poisoned) Read(b []byte) (int, error) {
	if p.after--; p.after >= 0 {
		return p.Conn.Read(b)
	}
	if len(p.garbage) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, p.garbage)
	p.garbage = p.garbage[n:]
	return n, nil
}

// If a server grants another timeout when it resumes the session, the lease ends.
//
// Covers S2.
func TestChangedTimeoutEndsTheLease(t *testing.T) {
	for _, timeout := range []int32{4000, 20_000} {
		sc := &script{}
		sc.connect = func(n int, r wire.ConnectRequest) *wire.ConnectResponse {
			response := fresh(r)
			if n == 2 {
				response.Timeout = timeout
			}
			return response
		}
		scripted(t, sc, func(t *testing.T) {
			s := open(t, sc.options())
			h := s.keeper.begin(engine.Node{Path: "/n", Czxid: 0})
			must(t, h.Grant(t.Context()))
			c := s.current()
			c.Close()
			if err := cause(t, h.Context(), time.Second); err != ErrLeaseLapsed {
				t.Errorf("timeout of %d ms: the hold ended with %v, want %v",
					timeout, err, ErrLeaseLapsed)
			}
			must(t, s.Close())
		})
	}
}

// A closing is a connection that records whether it was closed.
type closing struct {
	net.Conn
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return c.Conn.Close()
}

// Read must close the connection when it fails. Otherwise go-zookeeper might dial the next
// connection while this one is still open.
func TestFailedReadClosesTheConnection(t *testing.T) {
	sc := &script{}
	scripted(t, sc, func(t *testing.T) {
		s := open(t, sc.options())
		client, server := net.Pipe()
		raw := &closing{Conn: client}
		c := newConn(s, raw, "script:2181")
		server.Close()
		if _, err := c.Read(make([]byte, 4)); err == nil {
			t.Error("a read from a closed connection: got no error, want one")
		}
		if !raw.closed {
			t.Error("the connection is open after a failed read")
		}
		must(t, s.Close())
	})
}
