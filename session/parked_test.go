package session

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// If no server can be reached, Open returns when its context ends, and Close returns at once. The
// Close of go-zookeeper's client sometimes waits a whole second in this case, and a session must
// not wait for it.
//
// Covers S5, S7.
func TestOpenAndCloseWithoutAServerDoNotWait(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		refused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
		silent := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		closing := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			server.Close()
			return client, nil
		}
		hung := func(ctx context.Context, network, address string) (net.Conn, error) {
			e.Pause(0)
			return e.DialContext(ctx, network, address)
		}
		for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
			"refused": refused, "silent": silent, "closing": closing, "hung": hung,
		} {
			opts := on(e, 0)
			opts.Dial = dial
			late := 0
			for i := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second+time.Duration(i)*13*time.Millisecond)
				if _, err := Open(ctx, opts); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("%s: Open: got %v, want %v", name, err, context.DeadlineExceeded)
				}
				if deadline, _ := ctx.Deadline(); time.Since(deadline) > 0 {
					late++
				}
				cancel()
			}
			if late > 0 {
				t.Errorf("%s: Open returned late in %d of 200 calls, want none", name, late)
			}
		}
		e.Resume(0)
		time.Sleep(time.Minute)
		for way, down := range []func(int){e.Kill, e.Pause} {
			late := 0
			for i := range 100 {
				s := open(t, on(e, 0))
				down(0)
				for s.State() == Connected {
					time.Sleep(time.Second)
				}
				time.Sleep(time.Duration(i) * 13 * time.Millisecond)
				start := time.Now()
				must(t, s.Close())
				if time.Since(start) > 0 {
					late++
				}
				e.Resume(0)
				e.Start(0)
				time.Sleep(time.Minute)
			}
			if late > 0 {
				t.Errorf("Close while the server is %s returned late in %d of 100 calls, want none",
					[]string{"down", "hung"}[way], late)
			}
		}
	})
}
