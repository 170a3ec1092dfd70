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

	"github.com/zkcoord/zkcoord/internal/wire"
)

// server answers each request with OK, and notes it.
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

// session is a client that has shaken hands.
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
		t.Fatal(err)
	}
	return c
}

// request is the bytes of the next request.
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

// replies reads n replies, and returns their xids and what ended them early.
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
		// In one Write: what comes before the caught request arrives, what comes behind does not.
		batch := slices.Concat(c.request(OpDelete, "/q/1"), c.request(OpDelete, "/other"), c.request(OpCreate, "/q/2"),
			c.request(OpDelete, "/q/2"), c.request(OpDelete, "/q/3"))
		if _, err := c.Write(batch); err != nil {
			t.Fatal(err)
		}
		<-trap.Sprung()
		if xids, err := c.replies(9); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("replies %v, %v", xids, err)
		}
		eventually(t, "the three requests", func() bool { return s.log() == "delete/q/1 delete/other create/q/2" })
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
			t.Errorf("replies %v, %v", xids, err)
		}
		if s.log() != "exists/a create/b" {
			t.Errorf("the server has seen %q", s.log())
		}
		if w.Stats().Sprung != 1 {
			t.Errorf("%+v", w.Stats())
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
				t.Errorf("%v: the server has seen %q", trap, got)
			}
			w.Resume()
			if xids, err := c.replies(1); err != nil || !slices.Equal(xids, []int32{1}) {
				t.Errorf("%v: replies %v, %v", trap, xids, err)
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
			c.Write([]byte{b}) // The last of them may find the connection gone.
		}
		<-trap.Sprung()
		if xids, err := c.replies(2); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("replies %v, %v", xids, err)
		}
		eventually(t, "the request before", func() bool { return s.log() == "exists/a" })
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
		if _, err := c.replies(2); err != nil {
			t.Error(err)
		}
		if isClosed(any.Sprung()) || isClosed(removed.Sprung()) {
			t.Error("a trap has sprung")
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
				t.Fatalf("a %v sprang it before it was widened: %v", what, err)
			}
			w.Widen(trap)
			c.Write(c.request(what, "/a"))
			<-trap.Sprung()
			if xids, err := c.replies(1); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("replies %v, %v", xids, err)
			}
			if trap.Op != what || w.Remove(trap) {
				t.Errorf("%v has sprung, after a %v", trap, what)
			}
		}
	})
}

// The connection may break between the request and its reply, and then nothing on the next one would spring the trap.
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
			t.Errorf("%+v", w.Stats())
		}
		c.Close()
		again := open(t, w, &s)
		again.Write(again.request(OpExists, "/y"))
		if _, err := again.replies(1); err != nil {
			t.Errorf("it sprang a second time: %v", err)
		}
	})
}

// A call may be over before the reply of what it left behind.
func TestATrapThatIsRemovedBeforeTheReplyNeverSprings(t *testing.T) {
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
		if !w.Remove(trap) {
			t.Error("it has sprung before there is a reply")
		}
		go end.Write(wire.AppendFrame(nil, &wire.ReplyHeader{Xid: c.xid}))
		if _, err := wire.ReadFrame(client, nil, 0); err != nil || isClosed(trap.Sprung()) {
			t.Errorf("it has sprung: %t, %v", isClosed(trap.Sprung()), err)
		}
	})
}

// The four-letter words, or a connection that is encrypted, are no frames.
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
			t.Error(err)
		}
		if s.log() != "closeSession" {
			t.Errorf("the server has seen %q", s.log())
		}
		go func() { s.serve(<-w.accepted) }()
		if err := CloseSession(t.Context(), w.DialContext, "a", 8, []byte("pw"), time.Second); !errors.Is(err, ErrNoSession) {
			t.Errorf("closing a session that does not exist: %v", err)
		}
		for id, want := range map[int64]bool{7: false, 8: true} {
			go func() { s.serve(<-w.accepted) }()
			if gone, err := Gone(t.Context(), w.DialContext, "a", id, []byte("pw"), time.Second); gone != want || err != nil {
				t.Errorf("session %d gone: %t, %v", id, gone, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := CloseSession(ctx, w.DialContext, "a", 7, nil, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closing at a silent server: %v", err)
		}
		(<-w.accepted).Close()
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// half is an end of a pipe that can be closed one way, as TCP can; the other end does not learn of it.
type half struct {
	net.Conn
	closed chan struct{}
}

func (h half) CloseWrite() error { return nil }
func (h half) Close() error {
	close(h.closed)
	return h.Conn.Close()
}

// The goroutine that sends, or the client's Close right after the error, closed what was to end gently: it hung on timing
// whether the server got what was sent before.
func TestAConnectionThatATrapResetsEndsGently(t *testing.T) {
	for _, when := range []When{BeforeSending, BeforeReply} {
		for _, ends := range []bool{false, true} { // whether the server does
			synctest.Test(t, func(t *testing.T) {
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
					t.Errorf("%v: %v", trap, err)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v: %v", trap, err)
				}
				c.Close()
				synctest.Wait()
				if isClosed(inner.closed) {
					t.Errorf("%v: it was closed at once", trap)
				}
				if ends {
					far.Close()
				} else {
					<-time.After(lingerTime)
				}
				synctest.Wait()
				if !isClosed(inner.closed) {
					t.Errorf("%v: it was not closed, server ended: %t", trap, ends)
				}
				far.Close()
			})
		}
	}
}
