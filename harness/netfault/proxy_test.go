package netfault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The type `world` is a proxy whose connections all lead to the test. The channel `accepted` has
// the servers' ends of these connections.
type world struct {
	*Proxy
	accepted chan net.Conn
}

// inMemory returns a proxy over net.Pipe.
func inMemory() *world {
	w := &world{accepted: make(chan net.Conn, 100)}
	w.Proxy = New(func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		w.accepted <- server
		return client, nil
	})
	return w
}

// overTCP returns a proxy over TCP on the loopback interface.
func overTCP(t *testing.T) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &world{accepted: make(chan net.Conn, 100)}
	w.Proxy = New(func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, l.Addr().String())
		if err != nil {
			return nil, err
		}
		server, err := l.Accept()
		if err != nil {
			return nil, err
		}
		w.accepted <- server
		return conn, nil
	})
	return w
}

// The method `connect` dials a server and returns both ends.
func (w *world) connect(t *testing.T, address string) (client, server net.Conn) {
	t.Helper()
	client, err := w.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("dial %s: got error %v, want none", address, err)
	}
	server = <-w.accepted
	t.Cleanup(func() {
		client.Close()
		server.Close()
		w.Heal() // so that a closed connection does not linger in a stalled proxy
	})
	return client, server
}

// The function `everywhere` runs a test twice: in memory and in virtual time, and over TCP.
func everywhere(t *testing.T, test func(*testing.T, *world)) {
	t.Run("memory", func(t *testing.T) { virtual.Test(t, func(t *testing.T) { test(t, inMemory()) }) })
	t.Run("tcp", func(t *testing.T) { test(t, overTCP(t)) })
}

// The function `send` writes in the background and returns a channel for the error.
func send(c net.Conn, text string) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, text)
		result <- err
	}()
	return result
}

// The function `expect` reads from c, and requires that it gets exactly the given text.
func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

// The function `nothing` checks that no byte arrives within 50 ms.
func nothing(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	defer c.SetReadDeadline(time.Time{})
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want a timeout", n, err)
	}
}

func TestWholeLinkCarriesBothWays(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		send(client, "up")
		expect(t, server, "up")
		send(server, "down")
		expect(t, client, "down")
		client.Close()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the server reads %v after the client's Close, want %v", err, io.EOF)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the client reads %v after its own Close, want %v", err, net.ErrClosed)
		}
	})
}

func TestCloseSendsWhatWasWritten(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		if err := <-send(client, "last words"); err != nil {
			t.Fatalf("write %q: got error %v, want none", "last words", err)
		}
		client.Close()
		got, err := io.ReadAll(server)
		if string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v; want %q", got, err, "last words")
		}
	})
}

func TestHeldLinkHealsOnTheSameConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Stall()
		if err := <-send(client, "up"); err != nil {
			t.Fatalf("the first write into a stalled proxy: got error %v, want none", err)
		}
		sent := send(server, "down")
		nothing(t, server)
		nothing(t, client)
		w.Resume()
		expect(t, server, "up")
		expect(t, client, "down")
		if err := <-sent; err != nil {
			t.Errorf("write %q: got error %v, want none", "down", err)
		}
		if s := w.Stats(); s.Stalled != 2 {
			t.Errorf("stalled after a chunk each way: got %d chunks, want 2", s.Stalled)
		}
	})
}

func TestOneWayHoldIsOneWay(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Stall(Down)
		send(client, "up")
		expect(t, server, "up")
		send(server, "down")
		nothing(t, client)
		w.Resume()
		expect(t, client, "down")
		w.Stall(Up)
		send(server, "more")
		expect(t, client, "more")
		send(client, "up")
		nothing(t, server)
		w.Resume()
		expect(t, server, "up")
	})
}

func TestHeldLinkHidesTheServersEnd(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Stall()
		if err := <-send(server, "bye"); err != nil {
			t.Fatalf("write %q into a stalled proxy: got error %v, want none", "bye", err)
		}
		server.Close()
		nothing(t, client)
		w.Resume()
		got, err := io.ReadAll(client)
		if string(got) != "bye" || err != nil {
			t.Errorf("read %q, %v; want %q", got, err, "bye")
		}
	})
}

func TestHeldLinkPushesBack(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Stall()
		client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := client.Write(make([]byte, 2*room))
		if n < room || n > room+64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes, %v; want %d to %d bytes and a timeout", n, err, room, room+64<<10)
		}
		w.Resume()
		if got, err := io.CopyN(io.Discard, server, int64(n)); err != nil {
			t.Errorf("read %d bytes after Resume, error %v; want the %d bytes that were written",
				got, err, n)
		}
	})
}

func TestDialOverAHeldLinkWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.Stall(Down)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := w.DialContext(ctx, "tcp", "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: got %v, want %v", err, context.DeadlineExceeded)
		}
		time.AfterFunc(50*time.Millisecond, func() { w.Resume() })
		client, server := w.connect(t, "a")
		send(client, "x")
		expect(t, server, "x")
	})
}

func TestResetReachesTheClientOverAHeldLink(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, _ := w.connect(t, "a")
		w.Stall()
		read := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			read <- err
		}()
		if n := w.Reset(); n != 1 {
			t.Errorf("reset %d connections, want 1", n)
		}
		if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: got %v, want %v", err, syscall.ECONNRESET)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: got %v, want %v", err, syscall.ECONNRESET)
		}
		if n := w.Reset(); n != 0 || len(w.Connected()) != 0 {
			t.Errorf("second Reset: got %d connections reset, %v still connected; want none", n, w.Connected())
		}
	})
}

func TestRefusedDialsFailAndConnectionsStay(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Refuse(true)
		if _, err := w.DialContext(t.Context(), "tcp", "a"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		send(client, "x")
		expect(t, server, "x")
		w.Refuse(false)
		w.connect(t, "a")
		if s := w.Stats(); s.Refused != 1 || s.Dials != 2 {
			t.Errorf("got %+v, want 1 refused and 2 dials", s)
		}
	})
}

func TestPinLeavesOneServer(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		a, _ := w.connect(t, "a")
		b, server := w.connect(t, "b")
		w.Pin("b")
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from a: got %v, want %v", err, syscall.ECONNRESET)
		}
		if _, err := w.DialContext(t.Context(), "tcp", "a"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		send(b, "x")
		expect(t, server, "x")
		w.Pin("")
		w.connect(t, "a")
	})
}

func TestDelayIsExactAndKeepsTheRate(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		w := inMemory()
		client, server := w.connect(t, "a")
		w.Delay(30*time.Millisecond, 70*time.Millisecond)
		start := time.Now()
		for _, text := range []string{"a", "b", "c"} { // They arrive together, because a delay does not limit the bandwidth.
			if _, err := io.WriteString(client, text); err != nil {
				t.Fatalf("write %q: got error %v, want none", text, err)
			}
		}
		expect(t, server, "abc")
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("up took %v, want 30ms", took)
		}
		start = time.Now()
		send(server, "x")
		expect(t, client, "x")
		if took := time.Since(start); took != 70*time.Millisecond {
			t.Errorf("down took %v, want 70ms", took)
		}
		if up, down := w.Delay(0, 0); up != 30*time.Millisecond || down != 70*time.Millisecond {
			t.Errorf("got previous delays %v and %v, want 30ms and 70ms", up, down)
		}
	})
}

func TestHealUndoesEverything(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		w.Stall()
		w.Delay(time.Hour, time.Hour)
		w.Refuse(true)
		w.Pin("a")
		w.Set(Request{}, Reset)
		w.Heal()
		send(client, "x")
		expect(t, server, "x")
		w.connect(t, "b")
	})
}

func TestClosedConnectionLingersOneSecondAtMost(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		w := inMemory()
		client, server := w.connect(t, "a")
		w.Stall()
		send(client, "x")
		synctest.Wait()
		start := time.Now()
		client.Close()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: got %v, want %v", err, io.EOF)
		}
		if took := time.Since(start); took > lingerTime {
			t.Errorf("lingered %v, want at most %v", took, lingerTime)
		}
	})
}

// Bytes keep their order and number under all faults of the proxy. Run with -race, the test also
// detects data races.
func TestBytesKeepTheirOrderUnderFaults(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		client, server := w.connect(t, "a")
		want := make([]byte, 1<<20)
		for i := range want {
			want[i] = byte(i * 7)
		}
		var all sync.WaitGroup
		for way, pair := range map[string][2]net.Conn{"up": {client, server}, "down": {server, client}} {
			all.Go(func() {
				for b := want; len(b) > 0; b = b[min(len(b), 3001):] {
					if _, err := pair[0].Write(b[:min(len(b), 3001)]); err != nil {
						t.Errorf("%s: write with %d bytes left: got error %v, want none",
							way, len(b), err)
						return
					}
				}
			})
			all.Go(func() {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: got other bytes than those written, error %v; want the same "+
						"%d bytes", way, err, len(want))
				}
			})
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		for i := 0; ; i++ {
			switch i % 4 {
			case 0:
				w.Stall(Direction(i / 4 % 2))
			case 1:
				w.Delay(time.Millisecond, 0)
			case 2:
				w.Resume()
			case 3:
				w.Delay(0, 0)
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				w.Resume()
			}
		}
	})
}
