// Package crashpoint interrupts a call of a client at each of its requests, in each possible way,
// and checks the state that remains.
//
// It is not a part of package harness, because it links package testing and the ensemble of zktest.
package crashpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
)

// A Fate is the fault that strikes a client at one request of a call.
type Fate string

// The fates. If a fate makes the client lose its session, the session expires before the client
// reconnects. If a fate ends the call's context, the request and its reply still arrive after the
// end of the context.
const (
	RequestLost           Fate = "request-lost"             // the connection ends before the request is sent
	ReplyLost             Fate = "reply-lost"               // the request takes effect; the connection ends before the reply
	RequestAndSessionLost Fate = "request-and-session-lost" // like RequestLost, and the session is lost
	ReplyAndSessionLost   Fate = "reply-and-session-lost"   // like ReplyLost, and the session is lost
	ExpiredBefore         Fate = "expired-before"           // the session expires when the request is about to be sent
	ExpiredAfter          Fate = "expired-after"            // the reply arrives; then the session expires
	PausedAfter           Fate = "paused-after"             // the request takes effect; then nothing is carried in either direction for twice the session timeout
	CancelledBefore       Fate = "cancelled-before"         // the call's context ends when the request is about to be sent
	CancelledAfter        Fate = "cancelled-after"          // the call's context ends when the reply is about to arrive
)

// Fates returns all fates.
func Fates() []Fate {
	return []Fate{RequestLost, ReplyLost, RequestAndSessionLost, ReplyAndSessionLost,
		ExpiredBefore, ExpiredAfter, PausedAfter, CancelledBefore, CancelledAfter}
}

// Loses reports whether the fate makes the client lose its session or its lease.
func (f Fate) Loses() bool {
	switch f {
	case RequestLost, ReplyLost, CancelledBefore, CancelledAfter:
		return false
	}
	return true
}

// A Point is one trial of [Run].
type Point struct {
	Fate    Fate
	Request int // the number of the request that is struck, from 1

	// Ensemble is the trial's own ensemble of three nodes, without other faults.
	Ensemble *embedded.Ensemble

	ctx     context.Context
	proxy   *netfault.Proxy
	struck  bool
	cleanup []func()

	mu      sync.Mutex
	session harness.SessionInfo // of the last handshake over the proxy
}

// crashTime bounds a trial in virtual time.
const crashTime = 10 * time.Minute

// mostRequests bounds the number of requests of one call. Run assumes that a call with more
// requests never ends.
const mostRequests = 500

// Run tries each of the given fates, or all fates if none is given. For each fate, Run makes one
// trial after another. The fate strikes the first request of the call in the first trial, the
// second request in the second trial, and so on, up to the last request of the call. So the trials
// are enumerated, not drawn at random. Each trial is a subtest with a separate ensemble on a
// virtual clock.
//
// The function `trial` opens its clients, and then makes the call within [Point.Break]. If the
// result of the call or the state that remains is wrong, `trial` returns an error that describes
// the mistake. For example, a guarantee does not hold, or another client cannot continue. Before
// `trial` returns, it releases everything that it holds. After `trial` has returned, no ephemeral
// znode and no watch of the trial may remain, although the sessions of the trial are still open.
//
//	crashpoint.Run(t, func(p *crashpoint.Point) error {
//		s, err := p.Open(session.Options{})
//		if err != nil {
//			return err
//		}
//		return p.Break(func(ctx context.Context) error { return register(ctx, s) })
//	})
//
// PausedAfter stops the client's connection in both directions. The client's own timers continue,
// unlike the timers of a stopped process.
func Run(t *testing.T, trial func(p *Point) error, fates ...Fate) {
	t.Helper()
	if len(fates) == 0 {
		fates = Fates()
	}
	for _, fate := range fates {
		for request := 1; ; request++ {
			struck := false
			ok := t.Run(fmt.Sprintf("%s/%d", fate, request), func(t *testing.T) {
				virtual.Test(t, func(t *testing.T) {
					p := &Point{Fate: fate, Request: request}
					if err := p.run(t.Context(), trial); err != nil {
						t.Error(err)
					}
					struck = p.struck
				})
			})
			switch {
			case ok && !struck && request == 1:
				t.Errorf("%s: the call makes no request, want at least 1", fate)
			case ok && struck && request > mostRequests:
				t.Errorf("%s: the call makes more than %d requests, want at most %d",
					fate, mostRequests, mostRequests)
			case ok && struck:
				continue
			}
			break
		}
	}
}

func (p *Point) run(ctx context.Context, trial func(*Point) error) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, crashTime, fmt.Errorf("the trial has not ended after %v", crashTime))
	defer cancel()
	if p.Ensemble, err = embedded.Start(embedded.Options{}); err != nil {
		return err
	}
	p.ctx, p.proxy = ctx, netfault.New(p.dial)
	defer func() {
		for i := range p.cleanup {
			p.cleanup[len(p.cleanup)-1-i]()
		}
		err = errors.Join(err, p.Ensemble.Close(context.WithoutCancel(ctx)))
	}()
	return errors.Join(trial(p), p.left())
}

// Context returns the context of the trial. It ends after ten minutes of virtual time.
func (p *Point) Context() context.Context { return p.ctx }

// Servers returns the addresses of the ensemble.
func (p *Point) Servers() []string { return p.Ensemble.Servers() }

// Dial opens a connection to a server, for a client of any library. The fate of this point applies
// to the connection.
func (p *Point) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return p.proxy.DialContext(ctx, network, address)
}

// Cleanup calls f after the trial, when the remaining state has been checked. The function that was
// added last is called first.
func (p *Point) Cleanup(f func()) { p.cleanup = append(p.cleanup, f) }

// Open opens a session, and closes it at the end of the trial. The fate of this point applies to
// the session's connections. Open sets Servers and Dial of opts.
func (p *Point) Open(opts session.Options) (*session.Session, error) {
	return p.open(opts, p.Dial)
}

// OpenOther opens a session that the fate does not strike, and closes it at the end of the trial.
func (p *Point) OpenOther(opts session.Options) (*session.Session, error) {
	return p.open(opts, p.Ensemble.DialContext)
}

func (p *Point) open(opts session.Options, dial ensemble.DialFunc) (*session.Session, error) {
	opts.Servers, opts.Dial = p.Servers(), dial
	s, err := session.Open(p.ctx, opts)
	if err != nil {
		return nil, err
	}
	p.Cleanup(func() { s.Close() })
	return s, nil
}

// Break runs the function `call` and returns its error. During the call, the fate strikes the
// request whose number is Point.Request. Requests before and after Break do not count. Break
// returns when the call has returned and the fate is complete.
func (p *Point) Break(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	when := netfault.BeforeReply
	switch p.Fate {
	case RequestLost, RequestAndSessionLost, ExpiredBefore, CancelledBefore:
		when = netfault.BeforeSending
	}
	trap := p.proxy.Set(netfault.Request{N: p.Request, When: when}, netfault.Stall)
	returned := make(chan struct{})
	var striker sync.WaitGroup
	striker.Go(func() {
		select {
		case <-trap.Sprung():
			p.struck = true
			p.strike(cancel)
		case <-returned:
		}
	})
	err := call(ctx)
	if p.proxy.Remove(trap) {
		close(returned)
	}
	striker.Wait()
	return err
}

// The method `strike` injects the fate, while the proxy is stalled at the request.
func (p *Point) strike(cancel func()) {
	switch p.Fate {
	case RequestAndSessionLost, ReplyAndSessionLost:
		p.expire()
		p.proxy.Reset()
	case RequestLost, ReplyLost:
		p.proxy.Reset()
	case ExpiredBefore:
		p.expire()
	case ExpiredAfter:
		p.proxy.Resume()
		time.Sleep(time.Nanosecond) // in virtual time, this returns when all goroutines are blocked
		p.expire()
	case PausedAfter:
		p.proxy.Stall()
		time.Sleep(2 * p.last().Timeout)
	case CancelledBefore, CancelledAfter:
		cancel()
		time.Sleep(time.Nanosecond)
	}
	p.proxy.Resume()
}

// The method `expire` expires the client's session. It ignores the error, which only means that the
// session has already ended.
func (p *Point) expire() { _ = p.Ensemble.Model.Expire(p.last().ID) }

func (p *Point) last() harness.SessionInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// The method `dial` returns a connection that records the client's session from the handshake.
func (p *Point) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.Ensemble.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &greeted{Conn: conn, point: p}, nil
}

// The type `greeted` is a connection that parses its first reply, the handshake.
type greeted struct {
	net.Conn
	point  *Point
	frames wire.Frames
	done   bool
}

func (g *greeted) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if !g.done {
		g.frames.Feed(b[:n], func(f wire.Frame) error {
			var hello wire.ConnectResponse
			if _, err := wire.Decode(f.Head, &hello); err == nil && !g.done {
				g.point.mu.Lock()
				g.point.session = harness.SessionInfo{ID: hello.SessionID, Timeout: time.Duration(hello.Timeout) * time.Millisecond}
				g.point.mu.Unlock()
			}
			g.done = true
			return nil
		})
	}
	return n, err
}

// leftTime is the time within which everything that the trial released must be gone. For example, a
// stopped watch is removed with the next frame that is sent.
const leftTime = 30 * time.Second

// The method `left` returns an error that lists the znodes and watches that the trial left behind.
func (p *Point) left() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 2*leftTime)
	defer cancel()
	left, err := harness.LeftBehind(ctx, p.Ensemble, leftTime)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, "; "))
	}
	return err
}
