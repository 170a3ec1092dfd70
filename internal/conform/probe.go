package conform

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A probe checks one requirement.
type probe struct {
	ctx     context.Context
	servers *trace.Servers
	dir     string // the probe's own directory

	mu      sync.Mutex
	steps   []Step
	clients []*client
}

// The method `saw` records an operation, its answer and the expected answer.
func (p *probe) saw(operation, answer, expected string) {
	p.sawThat(answer == expected, operation, answer, expected)
}

// sawReply records the answer to a request, unless the request failed with err. It returns err.
func (p *probe) sawReply(err error, operation, answer, expected string) error {
	if err == nil {
		p.saw(operation, answer, expected)
	}
	return err
}

// sawThat records an operation, and whether its answer is right.
func (p *probe) sawThat(ok bool, operation, answer, expected string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, Step{operation, answer, expected, ok})
}

// The method `each` calls f for each server, in order.
func (p *probe) each(f func(server int) error) error {
	for i := range p.servers.Addresses {
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

// The method `at` returns the name of a server.
func (p *probe) at(server int) string {
	return p.servers.Addresses[server%len(p.servers.Addresses)]
}

func (p *probe) path(name string) string { return path.Join(p.dir, name) }

func (p *probe) mkdir() error {
	c, err := p.open(0, time.Minute)
	if err != nil {
		return err
	}
	h, _, err := c.create(p.dir, wire.ModePersistent)
	return errors.Join(failed("create "+p.dir, h, err), c.close())
}

// end closes all remaining sessions.
func (p *probe) end() {
	p.mu.Lock()
	left := p.clients
	p.mu.Unlock()
	for _, c := range left {
		c.close() // if this fails, the session ends within its timeout
	}
}

// A client is one connection of a session.
type client struct {
	p       *probe
	server  int
	link    *trace.Link
	session wire.ConnectResponse
	closed  bool
}

// The method `connect` sends a handshake to a server. The returned client is nil if the server
// closes the connection, or answers that there is no such session.
func (p *probe) connect(server int, r wire.ConnectRequest) (*client, error) {
	l, err := trace.Dial(p.ctx, p.servers, server)
	if err != nil {
		return nil, err
	}
	rsp, err := l.Handshake(r)
	if err != nil || rsp == nil || rsp.SessionID == 0 || rsp.Timeout <= 0 {
		l.Close()
		return nil, err
	}
	c := &client{p: p, server: server, link: l, session: *rsp}
	p.mu.Lock()
	p.clients = append(p.clients, c)
	p.mu.Unlock()
	return c, nil
}

func (p *probe) open(server int, timeout time.Duration) (*client, error) {
	c, err := p.connect(server, wire.ConnectRequest{Timeout: int32(timeout.Milliseconds()), Password: make([]byte, 16)})
	if err == nil && c == nil {
		err = errors.New("the server closed the connection")
	}
	if err != nil {
		return nil, fmt.Errorf("open a session at %s: %w", p.at(server), err)
	}
	return c, nil
}

// resume resumes the session of c on a new connection. If the server refuses, the client is nil.
func (p *probe) resume(c *client, server int) (*client, error) {
	d, err := p.connect(server, wire.ConnectRequest{Timeout: c.session.Timeout, SessionID: c.session.SessionID, Password: c.session.Password})
	if err != nil {
		return nil, fmt.Errorf("resume a session at %s: %w", p.at(server), err)
	}
	if d != nil {
		d.link.Follow(c.link)
	}
	return d, nil
}

// The method `resumed` describes the result of resume.
func (c *client) resumed(old *client) string {
	switch {
	case c == nil:
		return refused
	case c.session.SessionID == old.session.SessionID:
		return sameSession
	}
	return "another session"
}

const (
	refused     = "refused"
	sameSession = "the same session"
	hungUp      = "connection closed"
)

func (c *client) timeout() time.Duration { return time.Duration(c.session.Timeout) * time.Millisecond }

// close closes the session, unless the server has closed the connection.
func (c *client) close() error {
	if c == nil || c.closed {
		return nil
	}
	c.closed = true
	defer c.link.Close()
	if c.link.Over() {
		return nil
	}
	_, err := c.do(wire.OpCloseSession, nil, nil)
	return err
}

// drop closes the connection but not the session.
func (c *client) drop() error {
	c.closed = true
	if err := c.link.HangUp(); err != nil {
		return fmt.Errorf("%s: %w", c.p.at(c.server), err)
	}
	return nil
}

// The method `end` closes the session and requires an answer. If the server closes the connection
// without an answer, the session may still exist.
func (c *client) end() error {
	c.closed = true
	defer c.link.Close()
	h, err := c.do(wire.OpCloseSession, nil, nil)
	return failed("close the session", h, err)
}

func (c *client) send(op wire.Op, req wire.Record) error {
	xid := c.link.NextXid()
	switch op {
	case wire.OpPing:
		xid = wire.XidPing
	case wire.OpSetWatches:
		xid = wire.XidSetWatches
	}
	var body []byte
	if req != nil {
		body = wire.Append(nil, req)
	}
	if err := c.link.Write(&wire.RequestHeader{Xid: xid, Op: op}, body); err != nil {
		return fmt.Errorf("%s: %w", c.p.at(c.server), err)
	}
	return nil
}

// The method `receive` returns the header of the next reply, and decodes the body of this reply
// into rsp, unless rsp is nil. If the server closes the connection instead, the code in the header
// is ConnectionLoss.
func (c *client) receive(rsp wire.Record) (h wire.ReplyHeader, err error) {
	frame, err := c.link.Read()
	if err != nil {
		return h, fmt.Errorf("%s: %w", c.p.at(c.server), err)
	}
	if frame == nil {
		return wire.ReplyHeader{Err: wire.ConnectionLoss}, nil
	}
	body, err := wire.Decode(frame, &h)
	if err == nil && rsp != nil && len(body) > 0 {
		_, err = wire.Decode(body, rsp)
	}
	if err != nil {
		return h, fmt.Errorf("%s: answer %x cannot be decoded: %w", c.p.at(c.server), frame, err)
	}
	return h, nil
}

// do sends one request and waits for its answer before it returns.
func (c *client) do(op wire.Op, req, rsp wire.Record) (wire.ReplyHeader, error) {
	if err := c.send(op, req); err != nil {
		return wire.ReplyHeader{}, err
	}
	return c.receive(rsp)
}

func said(code wire.Code) string {
	if code == wire.ConnectionLoss {
		return hungUp
	}
	return code.String()
}

// The function `failed` returns nil for a request that succeeded. For any other request, it says
// why the check cannot continue.
func failed(what string, h wire.ReplyHeader, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case h.Err != wire.OK:
		return fmt.Errorf("%s: %s", what, said(h.Err))
	}
	return nil
}

var everybody = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}

func newCreate(path string, mode int32) *wire.CreateRequest {
	return &wire.CreateRequest{Path: path, ACL: everybody, Mode: mode}
}

func (c *client) create(path string, mode int32) (h wire.ReplyHeader, created string, err error) {
	var rsp wire.Path
	h, err = c.do(wire.OpCreate, newCreate(path, mode), &rsp)
	return h, rsp.Path, err
}

func (c *client) set(path, data string) (wire.ReplyHeader, error) {
	return c.do(wire.OpSetData, &wire.SetDataRequest{Path: path, Data: []byte(data), Version: -1}, nil)
}

func (c *client) delete(path string) (wire.ReplyHeader, error) {
	return c.do(wire.OpDelete, &wire.PathVersion{Path: path, Version: -1}, nil)
}

func (c *client) exists(path string, watch bool) (stat wire.Stat, h wire.ReplyHeader, err error) {
	h, err = c.do(wire.OpExists, &wire.PathWatch{Path: path, Watch: watch}, &stat)
	return stat, h, err
}

func (c *client) sync(path string) (wire.ReplyHeader, error) {
	return c.do(wire.OpSync, &wire.Path{Path: path}, nil)
}

// barrier sends a quorum write that changes nothing. Later reads of c return everything that was
// committed before the write. A sync would not be enough, because a leader answers the sync of its
// own client before it has applied everything that it has committed. The path need not exist.
func (c *client) barrier(path string) (wire.ReplyHeader, error) {
	h, _, err := c.multi(check(path))
	if h.Err == wire.NoNode {
		h.Err = wire.OK
	}
	return h, err
}

func (c *client) multi(ops ...wire.MultiOp) (h wire.ReplyHeader, results []wire.MultiResult, err error) {
	var rsp wire.MultiResponse
	h, err = c.do(wire.OpMulti, &wire.MultiRequest{Ops: ops}, &rsp)
	return h, rsp.Results, err
}

func check(path string) wire.MultiOp {
	return wire.MultiOp{Op: wire.OpCheck, Request: &wire.PathVersion{Path: path, Version: -1}}
}

// event sends a quorum write and returns the first event that arrived before the answer, or nil.
func (c *client) event() (*trace.Event, error) {
	h, err := c.barrier(c.p.dir)
	if err := failed("check", h, err); err != nil {
		return nil, err
	}
	if events := c.link.Events(); len(events) > 0 {
		return &events[0], nil
	}
	return nil, nil
}

func (p *probe) after(d time.Duration) error {
	if !times.Sleep(p.ctx, d) {
		return context.Cause(p.ctx)
	}
	return nil
}
