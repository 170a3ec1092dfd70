package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// The type `server` replies OK to each request, and records it.
type server struct {
	mu   sync.Mutex
	seen []string
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	if _, err := wire.ReadFrame(c, nil, 0); err != nil {
		return
	}
	c.Write(wire.AppendFrame(nil, &wire.ConnectResponse{Timeout: 4000, SessionID: 7, Password: []byte("pw")}))
	for {
		frame, err := wire.ReadFrame(c, nil, 0)
		if err != nil {
			return
		}
		var h wire.RequestHeader
		body, err := wire.Decode(frame, &h)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, fmt.Sprint(h.Op, wire.FirstPath(h.Op, body)))
		s.mu.Unlock()
		if _, err := c.Write(wire.AppendFrame(nil, &wire.ReplyHeader{Xid: h.Xid})); err != nil {
			return
		}
		if h.Op == wire.OpCloseSession {
			return
		}
	}
}

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, " ")
}

// The type `session` is a client that has completed the handshake.
type session struct {
	net.Conn
	xid int32
}

func open(t *testing.T, w *world, s *server) *session {
	t.Helper()
	client, end := w.connect(t, "a")
	go s.serve(end)
	c := &session{Conn: client}
	c.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: 4000}))
	if _, err := wire.ReadFrame(client, nil, 0); err != nil {
		t.Fatalf("read the reply of the handshake: got error %v, want none", err)
	}
	return c
}

// The method `request` returns the bytes of the next request.
func (c *session) request(op Op, path string) []byte {
	c.xid++
	var body wire.Record
	switch op {
	case OpCreate:
		body = &wire.CreateRequest{Path: path}
	case OpDelete:
		body = &wire.PathVersion{Path: path}
	case wire.OpPing:
		return wire.AppendFrame(nil, &wire.RequestHeader{Xid: wire.XidPing, Op: op})
	default:
		body = &wire.PathWatch{Path: path}
	}
	return wire.AppendFrame(nil, &wire.RequestHeader{Xid: c.xid, Op: op}, body)
}

// The method `replies` reads n replies. It returns their xids, and an error if it got fewer than n
// replies.
func (c *session) replies(n int) (xids []int32, err error) {
	for range n {
		frame, err := wire.ReadFrame(c, nil, 0)
		if err != nil {
			return xids, err
		}
		var h wire.ReplyHeader
		wire.Decode(frame, &h)
		xids = append(xids, h.Xid)
	}
	return xids, nil
}

func TestTrapBeforeSendingKeepsTheRequestFromTheServer(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		var s server
		c := open(t, w, &s)
		trap := w.Set(Request{Op: OpDelete, Path: "/q/", N: 2}, Reset)
		// All five requests are in one Write. The trap catches the fourth request. The server gets
		// the first three requests, but neither the fourth nor the fifth.
		batch := slices.Concat(c.request(OpDelete, "/q/1"), c.request(OpDelete, "/other"), c.request(OpCreate, "/q/2"),
			c.request(OpDelete, "/q/2"), c.request(OpDelete, "/q/3"))
		if _, err := c.Write(batch); err != nil {
			t.Fatalf("write five requests: got error %v, want none", err)
		}
		<-trap.Sprung()
		if xids, err := c.replies(9); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got replies %v, %v; want %v", xids, err, syscall.ECONNRESET)
		}
		s.gets(t, "delete/q/1 delete/other create/q/2")
	})
}

func TestTrapBeforeReplyLetsTheServerDoIt(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		var s server
		c := open(t, w, &s)
		w.Set(Request{Op: OpCreate, When: BeforeReply}, Reset)
		c.Write(c.request(OpExists, "/a"))
		c.Write(c.request(OpCreate, "/b"))
		xids, err := c.replies(2)
		if !slices.Equal(xids, []int32{1}) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got replies %v, %v; want [1], %v", xids, err, syscall.ECONNRESET)
		}
		if s.log() != "exists/a create/b" {
			t.Errorf("the server got %q, want %q", s.log(), "exists/a create/b")
		}
		if w.Stats().Sprung != 1 {
			t.Errorf("got %+v, want 1 sprung", w.Stats())
		}
	})
}

func TestTrapCanHoldInsteadOfReset(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		for _, when := range []When{BeforeSending, BeforeReply} {
			var s server
			c := open(t, w, &s)
			trap := w.Set(Request{Op: OpCreate, When: when}, Stall)
			c.Write(c.request(OpCreate, "/a"))
			<-trap.Sprung()
			nothing(t, c)
			if got := s.log(); (got == "") != (when == BeforeSending) {
				t.Errorf("%v: the server got %q, want the request only if the trap springs before the reply", trap, got)
			}
			w.Resume()
			if xids, err := c.replies(1); err != nil || !slices.Equal(xids, []int32{1}) {
				t.Errorf("%v: got replies %v, %v; want [1]", trap, xids, err)
			}
		}
	})
}

func TestTrapSeesRequestsInPieces(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		var s server
		c := open(t, w, &s)
		trap := w.Set(Request{Op: OpCreate}, Reset)
		for _, b := range slices.Concat(c.request(OpExists, "/a"), c.request(OpCreate, "/b")) {
			c.Write([]byte{b}) // The last write may find the connection closed.
		}
		<-trap.Sprung()
		if xids, err := c.replies(2); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got replies %v, %v; want %v", xids, err, syscall.ECONNRESET)
		}
		s.gets(t, "exists/a")
	})
}

func TestPingsAndOtherPathsSpringNoTrap(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		var s server
		c := open(t, w, &s)
		any, removed := w.Set(Request{Path: "/x"}, Reset), w.Set(Request{}, Reset)
		w.Remove(removed)
		c.Write(c.request(wire.OpPing, ""))
		c.Write(c.request(OpCreate, "/y"))
		if xids, err := c.replies(2); err != nil {
			t.Errorf("got replies %v, %v; want 2 and no error", xids, err)
		}
		if isClosed(any.Sprung()) || isClosed(removed.Sprung()) {
			t.Errorf("got sprung %t for %v and %t for the removed trap, want false for both",
				isClosed(any.Sprung()), any, isClosed(removed.Sprung()))
		}
	})
}

func TestAWidenedTrapTakesWhateverIsSentNext(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		for _, what := range []Op{wire.OpPing, OpExists} {
			var s server
			c := open(t, w, &s)
			trap := w.Set(Request{Op: OpCreate, N: 3, When: BeforeReply}, Reset)
			c.Write(c.request(what, "/a"))
			if _, err := c.replies(1); err != nil || isClosed(trap.Sprung()) {
				t.Fatalf("a %v before Widen: got error %v, trap sprung %t; want neither",
					what, err, isClosed(trap.Sprung()))
			}
			w.Widen(trap)
			c.Write(c.request(what, "/a"))
			<-trap.Sprung()
			if xids, err := c.replies(1); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a %v after Widen: got replies %v, %v; want %v",
					what, xids, err, syscall.ECONNRESET)
			}
			if trap.Op != what || w.Remove(trap) {
				t.Errorf("got trap %v, want one that has sprung at a %v", trap, what)
			}
		}
	})
}

// If the connection breaks between the request and its reply, the reply never comes, and the trap
// would wait for it without end. Therefore Widen makes the trap wait for the next request instead.
func TestAWidenedTrapForgetsTheReplyThatNeverCame(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, end := w.connect(t, "a")
		go client.Write(wire.AppendFrame(nil, &wire.ConnectRequest{}))
		wire.ReadFrame(end, nil, 0)
		go end.Write(wire.AppendFrame(nil, &wire.ConnectResponse{Password: []byte("pw")}))
		wire.ReadFrame(client, nil, 0)
		trap := w.Set(Request{Op: OpCreate, When: BeforeReply}, Reset)
		caught := &session{Conn: client}
		go client.Write(caught.request(OpCreate, "/x"))
		wire.ReadFrame(end, nil, 0)
		end.Close()
		w.Widen(trap)
		var s server
		c := open(t, w, &s)
		c.Write(c.request(OpExists, "/y"))
		<-trap.Sprung()
		if w.Widen(trap); w.Stats().Sprung != 1 {
			t.Errorf("got %+v, want 1 sprung", w.Stats())
		}
		c.Close()
		again := open(t, w, &s)
		again.Write(again.request(OpExists, "/y"))
		if _, err := again.replies(1); err != nil {
			t.Errorf("a request after the trap sprang: got error %v, want a reply", err)
		}
	})
}

// A trap that was removed while it waited for a reply must not spring when the reply arrives. A
// trap is removed at such a time, for example, if a client's call returns before the reply to its
// last request arrives.
func TestATrapThatIsRemovedBeforeTheReplyNeverSprings(t *testing.T) {
	for name, remove := range map[string]func(w *world, trap *Trap) bool{
		"Remove": func(w *world, trap *Trap) bool { return w.Remove(trap) },
		"Heal":   func(w *world, _ *Trap) bool { w.Heal(); return true },
	} {
		t.Run(name, func(t *testing.T) { removedBeforeTheReply(t, remove) })
	}
}

func removedBeforeTheReply(t *testing.T, remove func(w *world, trap *Trap) bool) {
	everywhere(t, func(t *testing.T, w *world) {
		client, end := w.connect(t, "a")
		defer end.Close()
		go client.Write(wire.AppendFrame(nil, &wire.ConnectRequest{}))
		wire.ReadFrame(end, nil, 0)
		go end.Write(wire.AppendFrame(nil, &wire.ConnectResponse{Password: []byte("pw")}))
		wire.ReadFrame(client, nil, 0)
		trap := w.Set(Request{When: BeforeReply}, Stall)
		c := &session{Conn: client}
		go client.Write(c.request(OpCreate, "/x"))
		wire.ReadFrame(end, nil, 0)
		if !remove(w, trap) {
			t.Error("the trap before the reply: got sprung, want not sprung")
		}
		go end.Write(wire.AppendFrame(nil, &wire.ReplyHeader{Xid: c.xid}))
		if _, err := wire.ReadFrame(client, nil, 0); err != nil || isClosed(trap.Sprung()) {
			t.Errorf("the reply after the removal: got error %v, trap sprung %t; want neither",
				err, isClosed(trap.Sprung()))
		}
	})
}

// A proxy passes on data that do not consist of frames, such as four-letter words and encrypted
// data.
func TestWhatIsNoProtocolIsCarried(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.Set(Request{}, Reset)
		client, end := w.connect(t, "a")
		send(client, "srvr")
		expect(t, end, "srvr")
		send(end, "\xff\xff\xff\xffMode: leader")
		expect(t, client, "\xff\xff\xff\xffMode: leader")
	})
}

func TestCloseSessionClosesWithIDAndPassword(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		var s server
		go func() { s.serve(<-w.accepted) }()
		if err := CloseSession(t.Context(), w.DialContext, "a", 7, []byte("pw"), time.Second); err != nil {
			t.Errorf("close session 7: got error %v, want none", err)
		}
		if s.log() != "closeSession" {
			t.Errorf("the server got %q, want %q", s.log(), "closeSession")
		}
		go func() { s.serve(<-w.accepted) }()
		if err := CloseSession(t.Context(), w.DialContext, "a", 8, []byte("pw"), time.Second); !errors.Is(err, ErrNoSession) {
			t.Errorf("close a session that does not exist: got %v, want %v", err, ErrNoSession)
		}
		for id, want := range map[int64]bool{7: false, 8: true} {
			go func() { s.serve(<-w.accepted) }()
			if gone, err := Gone(t.Context(), w.DialContext, "a", id, []byte("pw"), time.Second); gone != want || err != nil {
				t.Errorf("session %d: got gone %t, %v; want %t", id, gone, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := CloseSession(ctx, w.DialContext, "a", 7, nil, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close at a silent server: got %v, want %v", err, context.DeadlineExceeded)
		}
		(<-w.accepted).Close()
	})
}

// The method `gets` waits until the server has recorded exactly the wanted requests.
func (s *server) gets(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.log() != want; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server got %q within 10s, want %q", s.log(), want)
		}
	}
}

// The type `half` is an end of a pipe. Like a TCP connection, it has a method CloseWrite, but the
// method does nothing, so the other end does not detect the call.
type half struct {
	net.Conn
	closed chan struct{}
}

func (h half) CloseWrite() error { return nil }
func (h half) Close() error {
	close(h.closed)
	return h.Conn.Close()
}

// Regression: a connection that a trap resets should stay open for a short time, so that the server
// still gets the earlier requests. But the sending goroutine, or the client's Close right after the
// error, closed the connection immediately. Whether the server got the requests depended on timing.
func TestAConnectionThatATrapResetsEndsGently(t *testing.T) {
	for _, when := range []When{BeforeSending, BeforeReply} {
		for _, ends := range []bool{false, true} { // whether the server ends the connection
			virtual.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				inner := half{near, make(chan struct{})}
				l := New(func(context.Context, string, string) (net.Conn, error) { return inner, nil })
				var s server
				go s.serve(far)
				client, _ := l.DialContext(t.Context(), "tcp", "a")
				c := &session{Conn: client}
				c.Write(wire.AppendFrame(nil, &wire.ConnectRequest{}))
				wire.ReadFrame(c, nil, 0)
				trap := l.Set(Request{When: when}, Reset)
				c.Write(c.request(OpCreate, "/a"))
				<-trap.Sprung()
				if _, err := c.replies(1); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v: read: got %v, want %v", trap, err, syscall.ECONNRESET)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v: write: got %v, want %v", trap, err, syscall.ECONNRESET)
				}
				c.Close()
				synctest.Wait()
				if isClosed(inner.closed) {
					t.Errorf("%v: the inner connection was closed at once, want it to linger", trap)
				}
				if ends {
					far.Close()
				} else {
					<-time.After(lingerTime)
				}
				synctest.Wait()
				if !isClosed(inner.closed) {
					t.Errorf("%v: the inner connection is still open (server ended: %t), want closed", trap, ends)
				}
				far.Close()
			})
		}
	}
}
