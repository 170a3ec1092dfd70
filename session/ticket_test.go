package session

import (
	"context"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

var abandoned = flag.Int("abandoned", 200, "requests of each kind to give up before they are written")

// A heldConn is a connection of the client that a test can hold. While the test holds the
// connection, Write blocks. Write also records the requests that it has accepted.
type heldConn struct {
	net.Conn
	held   chan struct{} // a mutex: it is locked while it contains a token
	frames wire.Frames
	sent   []string
}

func (c *heldConn) hold()    { c.held <- struct{}{} }
func (c *heldConn) release() { <-c.held }

func (c *heldConn) Write(p []byte) (int, error) {
	c.hold()
	defer c.release()
	err := c.frames.Feed(p, func(f wire.Frame) error {
		if h, body, err := wire.CutRequest(f.Head); err == nil {
			c.sent = append(c.sent, h.Op.String()+" "+wire.FirstPath(h.Op, body))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// The method `took` returns the requests that were written since the last call.
func (c *heldConn) took() (sent []string) {
	c.hold()
	defer c.release()
	sent, c.sent = c.sent, nil
	return sent
}

// If the caller gives up a write request before the request is written to the connection, the
// request is never written, and its outcome is Failed. In half of the rounds, the connection
// accepts nothing until the caller has given up. In the other half, the connection accepts data
// again while the caller gives up, so the request may be written first.
//
// Covers S4, S5.
func TestAbandonedRequestIsNeverWritten(t *testing.T) {
	writes := map[string]func(ctx context.Context, s *Session, path string) error{
		"create": func(ctx context.Context, s *Session, path string) error {
			_, err := s.Create(ctx, path, nil, Ephemeral)
			return err
		},
		"setData": func(ctx context.Context, s *Session, path string) error {
			_, err := s.Set(ctx, path, []byte("x"), AnyVersion)
			return err
		},
		"delete": func(ctx context.Context, s *Session, path string) error { return s.Delete(ctx, path, AnyVersion) },
		"multi": func(ctx context.Context, s *Session, path string) error {
			_, err := s.Multi(ctx, CreateOp{Path: path}, DeleteOp{Path: path, Version: AnyVersion})
			return err
		},
	}
	for op, write := range writes {
		t.Run(op, func(t *testing.T) {
			inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
				held := &heldConn{held: make(chan struct{}, 1)}
				opts := on(e)
				opts.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
					held.Conn, err = e.DialContext(ctx, network, address)
					return held, err
				}
				s := open(t, opts)
				defer s.Close()
				var failed, indeterminate int
				for i := range *abandoned {
					path := fmt.Sprintf("/%s-%d", op, i)
					racing := i%2 == 1
					held.hold() // from now on, a request that the client writes has to wait
					var work sync.WaitGroup
					work.Go(func() { s.Exists(t.Context(), "/first") })
					synctest.Wait()
					ctx, cancel := context.WithCancel(t.Context())
					var err error
					work.Go(func() { err = write(ctx, s, path) })
					synctest.Wait() // the request is in the client's queue
					if racing {
						go cancel()
						held.release()
					} else {
						cancel()
						synctest.Wait()
						held.release()
					}
					work.Wait()
					must(t, s.Sync(t.Context(), "/"))
					synctest.Wait()
					sent := slices.Contains(held.took(), op+" "+path)
					switch outcome := OutcomeOf(err); {
					case outcome == Failed && strings.Contains(err.Error(), context.Canceled.Error()):
						if failed++; sent {
							t.Fatalf("%s was given up (%v) and then written, want it never to be written", path, err)
						}
					case racing:
						indeterminate++
					default:
						t.Fatalf("%s: got %v (%v), want it to fail", path, err, outcome)
					}
				}
				s.tap.tickets.mu.Lock()
				defer s.tap.tickets.mu.Unlock()
				if n := len(s.tap.tickets.open); n != 0 {
					t.Errorf("got %d tickets left, want none", n)
				}
				if failed < *abandoned/2 {
					t.Errorf("only %d of %d requests were given up in time, want at least half", failed, *abandoned)
				}
				t.Logf("%d failed, %d had been written", failed, indeterminate)
			})
		})
	}
}

func TestTicketNumbersAreRemoved(t *testing.T) {
	box := newTickets()
	for _, path := range []string{"/", "/a", "/app/lock-"} {
		for _, op := range []wire.Op{wire.OpCreate, wire.OpExists, wire.OpMulti} {
			ticket := box.issue(nil)
			frame := func(path string) []byte {
				records := []wire.Record{&wire.RequestHeader{Xid: 7, Op: op}}
				switch op {
				case wire.OpCreate:
					records = append(records, &wire.CreateRequest{Path: path, Data: []byte("data")})
				case wire.OpExists:
					records = append(records, &wire.PathWatch{Path: path})
				case wire.OpMulti:
					records = append(records, &wire.MultiRequest{Ops: []wire.MultiOp{
						{Op: wire.OpCheck, Request: &wire.PathVersion{Path: path}}, {Op: wire.OpCheck, Request: &wire.PathVersion{Path: "/second"}},
					}})
				}
				return wire.AppendFrame(nil, records...)
			}
			out, id, err := unmark(frame(ticket.mark(path)))
			if want := frame(path); err != nil || id != ticket || string(out) != string(want) {
				t.Errorf("%v of %q: got %q (ticket %d, %v), want %q (ticket %d)", op, path, out, id, err, want, ticket)
			}
		}
	}
	for _, path := range []string{"/a", "/not-in-hexadecimal/a"} {
		if _, _, err := unmark(wire.AppendFrame(nil, &wire.RequestHeader{Op: wire.OpExists}, &wire.PathWatch{Path: path})); err != errUnmarked {
			t.Errorf("a request for %q without a ticket: got %v, want %v", path, err, errUnmarked)
		}
	}
}

func passes(box *tickets, t ticket) bool {
	_, ok := box.pass(t)
	return ok
}

func TestTicketPassesOrIsVoid(t *testing.T) {
	box := newTickets()
	traced, abandoned := new(engine.Trace), new(engine.Trace)
	abandoned.Abandon()
	passed, gone, left := box.issue(traced), box.issue(nil), box.issue(abandoned)
	if trace, ok := box.pass(passed); !ok || trace != traced {
		t.Errorf("the ticket of a written request: passes %v, with its own trace %v; want true, true",
			ok, trace == traced)
	}
	if box.void(passed) {
		t.Error("the ticket of a written request: void returned true, want false")
	}
	if !box.void(gone) || passes(box, gone) {
		t.Error("a void request passes, want it to be dropped")
	}
	if passes(box, left) || !box.void(left) {
		t.Error("the request of an abandoned call passes, want it to be dropped")
	}
	if passes(box, passed) || len(box.open) != 0 {
		t.Errorf("a ticket passes twice, or is left: got %d tickets left, want none", len(box.open))
	}
}
