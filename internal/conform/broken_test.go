package conform

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// A broken server is a zktest server with a filter that changes its requests and answers.
type broken struct {
	connect  func(*wire.ConnectRequest)
	accepted func(wire.ConnectRequest, *wire.ConnectResponse)
	answers  func(op wire.Op) bool // reports whether the filter answers the request itself, with OK
	reply    func(op wire.Op, h *wire.ReplyHeader, body []byte) []byte
	silent   bool        // the server sends no events
	mute     func() bool // reports whether the next request to resume a session gets no answer
}

// A conn connects a client to a broken server, and changes whole frames. This works because the
// clients of this package write one frame at a time, and read only the frames that they wait for.
type conn struct {
	net.Conn
	of broken

	mu      sync.Mutex
	asked   *wire.ConnectRequest
	greeted bool
	ops     map[int32]wire.Op
	rest    []byte // the part of the last frame that the client has not read yet
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = &wire.ConnectRequest{}
		if _, err := wire.Decode(b[4:], c.asked); err != nil {
			return 0, err
		}
		if c.of.mute != nil && c.asked.SessionID != 0 && c.of.mute() {
			return len(b), nil
		}
		changed := *c.asked
		if c.of.connect != nil {
			c.of.connect(&changed)
		}
		_, err := c.Conn.Write(wire.AppendFrame(nil, &changed))
		return len(b), err
	}
	h, _, err := wire.CutRequest(b[4:])
	if err != nil {
		return 0, err
	}
	c.ops[h.Xid] = h.Op
	if c.of.answers != nil && c.of.answers(h.Op) {
		c.rest = wire.AppendFrame(c.rest, &wire.ReplyHeader{Xid: h.Xid, Zxid: 1})
		return len(b), nil
	}
	_, err = c.Conn.Write(b)
	return len(b), err
}

func (c *conn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		frame, err := wire.ReadFrame(c.Conn, nil, 0)
		if err != nil {
			return 0, err
		}
		if err := c.change(frame); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *conn) change(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.greeted {
		c.greeted = true
		var rsp wire.ConnectResponse
		if _, err := wire.Decode(frame, &rsp); err != nil {
			return err
		}
		if c.of.accepted != nil {
			c.of.accepted(*c.asked, &rsp)
		}
		c.rest = wire.AppendFrame(nil, &rsp)
		return nil
	}
	h, body, err := wire.CutReply(frame)
	if err != nil || h.Xid == wire.XidNotification && c.of.silent {
		return err
	}
	if c.of.reply != nil {
		body = c.of.reply(c.ops[h.Xid], &h, body)
	}
	c.rest = wire.AppendFrame(nil, &h)
	c.rest = append(c.rest, body...)
	size := len(c.rest) - 4
	copy(c.rest, []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	return nil
}

func code(of wire.Op, from, to wire.Code) broken {
	return broken{reply: func(op wire.Op, h *wire.ReplyHeader, body []byte) []byte {
		if op == of && h.Err == from {
			h.Err = to
			return nil
		}
		return body
	}}
}

func zxid(of wire.Op, change func(int64) int64) broken {
	return broken{reply: func(op wire.Op, h *wire.ReplyHeader, body []byte) []byte {
		if op == of {
			h.Zxid = change(h.Zxid)
		}
		return body
	}}
}

func answering(of wire.Op) broken { return broken{answers: func(op wire.Op) bool { return op == of }} }

// Each server breaks one requirement, in a realistic way. The check of that requirement must fail.
func TestBrokenServersAreFoundVirtualTime(t *testing.T) {
	one := func(int64) int64 { return 1 }
	var passwords sync.Map // by session
	breaks := map[string]broken{
		"one-limit":      {accepted: anotherLimit()},
		"password":       {accepted: func(_ wire.ConnectRequest, r *wire.ConnectResponse) { r.Password = nil }},
		"resumed":        {connect: func(r *wire.ConnectRequest) { r.SessionID = 0 }},
		"wrong-password": {connect: func(r *wire.ConnectRequest) { remember(&passwords, r) }, accepted: func(_ wire.ConnectRequest, r *wire.ConnectResponse) { passwords.Store(r.SessionID, r.Password) }},
		"moved":          answering(wire.OpCreate),
		"ended":          {accepted: func(asked wire.ConnectRequest, r *wire.ConnectResponse) { revive(asked, r) }},
		"ephemerals-end": answering(wire.OpCloseSession),
		"kept":           answering(wire.OpPing),
		"heartbeat":      zxid(wire.OpMulti, one),
		"token":          zxid(wire.OpCreate, func(z int64) int64 { return z + 1 }),
		"tokens-rise":    zxid(wire.OpCreate, one),
		"sequence": {reply: func(op wire.Op, h *wire.ReplyHeader, body []byte) []byte {
			if op == wire.OpCreate && len(body) > 0 {
				body[len(body)-1]++
			}
			return body
		}},
		"atomic":           code(wire.OpExists, wire.NoNode, wire.OK),
		"conditional":      code(wire.OpSetData, wire.BadVersion, wire.OK),
		"in-order":         code(wire.OpExists, wire.OK, wire.NoNode),
		"container":        code(wire.OpCreateContainer, wire.OK, wire.Unimplemented),
		"read-after-write": code(wire.OpExists, wire.OK, wire.NoNode),
		"newer-client":     {connect: func(r *wire.ConnectRequest) { r.LastZxidSeen = 0 }},
		"event-first":      {silent: true},
		"event-zxid": {reply: func(_ wire.Op, h *wire.ReplyHeader, body []byte) []byte {
			if h.Xid == wire.XidNotification {
				h.Zxid--
			}
			return body
		}},
		"every-event":   {silent: true},
		"set-again":     {silent: true},
		"watch-removed": answering(wire.OpRemoveWatches),
	}
	for _, r := range requirements() {
		of, ok := breaks[r.name]
		if !ok && r.name != "expiry" {
			t.Errorf("no broken server of this test breaks %s: add one", r.name)
		}
		if ok {
			t.Run(r.name, func(t *testing.T) { fails(t, r, of, nil) })
		}
	}
	// Servers whose timers are wrong expire sessions too early or never.
	for what, rate := range map[string]float64{"early": 2, "late": 0.01} {
		t.Run("expiry/"+what, func(t *testing.T) {
			r := requirements()[slices.IndexFunc(requirements(), func(r requirement) bool { return r.name == "expiry" })]
			fails(t, r, broken{}, func(e *zktest.Ensemble) {
				for i := range e.Servers() {
					e.SetClockRate(i, rate)
				}
			})
		})
	}
}

// A server that does not answer has neither refused nor accepted anything, so the verdict is
// unknown.
func TestServersThatDoNotAnswerRefuseNothing(t *testing.T) {
	for name, answered := range map[string]int{"wrong-password": 0, "ended": 1} {
		r := requirements()[slices.IndexFunc(requirements(), func(r requirement) bool { return r.name == name })]
		mute := func() bool { answered--; return answered == -1 }
		t.Run(name, func(t *testing.T) { judged(t, checker.Unknown, r, broken{mute: mute}, nil) })
	}
}

// The function `fails` runs the check of one requirement on two broken servers. The verdict must be
// Invalid.
func fails(t *testing.T, r requirement, of broken, breaks func(*zktest.Ensemble)) {
	t.Helper()
	judged(t, checker.Invalid, r, of, breaks)
}

func judged(t *testing.T, want checker.Verdict, r requirement, of broken, breaks func(*zktest.Ensemble)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Servers: 2})
		o := Options{Servers: e.Servers(), Dial: e.DialContext, Root: "/conform", Patience: time.Minute}
		if of.mute != nil {
			// After 10 s or more, the server closes a connection without a session. That would
			// count as a refusal, so the check must stop waiting earlier.
			o.Patience = 5 * time.Second
		}
		makeRoot(t, &o)
		if breaks != nil {
			breaks(e)
		}
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			inner, err := e.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: inner, of: of, ops: map[int32]wire.Op{}}, nil
		}
		f, err := o.look(t.Context(), r, "/conform/d")
		if err != nil {
			t.Fatal(err)
		}
		if f.Verdict != want {
			t.Errorf("got %s\n\twant %v", show(f), want)
		}
	})
}

// anotherLimit returns a filter of handshakes. The filter adds 1 ms to the timeout of the first
// session, 2 ms to the timeout of the second, and so on.
func anotherLimit() func(wire.ConnectRequest, *wire.ConnectResponse) {
	n := int32(0)
	return func(_ wire.ConnectRequest, r *wire.ConnectResponse) {
		n++
		r.Timeout += n
	}
}

// remember replaces a wrong password with the right one.
func remember(passwords *sync.Map, r *wire.ConnectRequest) {
	if p, ok := passwords.Load(r.SessionID); ok {
		r.Password = p.([]byte)
	}
}

// revive changes the answer r if it says that the session has ended. The changed answer says that
// the session is resumed.
func revive(asked wire.ConnectRequest, r *wire.ConnectResponse) {
	if r.SessionID == 0 {
		r.SessionID, r.Timeout, r.Password = asked.SessionID, asked.Timeout, asked.Password
	}
}
