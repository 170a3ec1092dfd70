package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/zktest"
)

// oneName returns Options with one host name, whose addresses lead to the servers of e. The
// addresses in `dead` accept no connection.
func oneName(e *zktest.Ensemble, dead map[string]bool) Options {
	d := newDialer(cryptoRand{})
	d.lookup = func(context.Context, string) ([]string, error) {
		hosts := make([]string, len(e.Servers()))
		for i := range hosts {
			hosts[i] = fmt.Sprintf("10.0.0.%d", i+1)
		}
		return hosts, nil
	}
	d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dead[address] {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var i int
		fmt.Sscanf(address, "10.0.0.%d:2181", &i)
		conn, err := e.DialContext(ctx, network, e.Servers()[i-1])
		if err != nil {
			return nil, err
		}
		return at{conn, address}, nil
	}
	return Options{Servers: []string{"zk"}, Dial: d.DialContext, dialer: d}
}

// The type `at` is a connection whose remote address is its field `address`.
type at struct {
	net.Conn
	address string
}

func (c at) RemoteAddr() net.Addr { return c }
func (c at) Network() string      { return "tcp" }
func (c at) String() string       { return c.address }

// Each dead address of a host name delays Open by at most 250 ms (the constant `stagger`).
// Regression: a dead address cost a third of the session timeout each time that it was chosen, up
// to 10.6 s in total.
func TestADeadAddressOfANameCostsLittle(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for _, dead := range []map[string]bool{
			{"10.0.0.1:2181": true},
			{"10.0.0.1:2181": true, "10.0.0.3:2181": true},
		} {
			for range 50 {
				opts := oneName(e, dead)
				start := time.Now()
				s := open(t, opts)
				if d := time.Since(start); d > time.Duration(len(dead))*stagger {
					t.Errorf("%d dead addresses: Open took %v, want at most %v", len(dead), d, time.Duration(len(dead))*stagger)
				}
				// If Open took time, it chose a dead address, which must not be chosen again.
				if d := time.Since(start); d > 0 {
					c := s.current()
					start := time.Now()
					c.Close()
					must(t, s.Sync(t.Context(), "/"))
					if d := time.Since(start); d > time.Duration(len(dead))*stagger+longestPause {
						t.Errorf("%d dead addresses: a new connection took %v, want at most %v", len(dead), d, time.Duration(len(dead))*stagger+longestPause)
					}
				}
				must(t, s.Close())
			}
		}
	})
}

// In this test one server accepts connections but never answers. The address of this server is not
// chosen again until the other addresses of the host name have been tried.
func TestASilentAddressIsNotDrawnAgain(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		e.Pause(0)
		for range 20 {
			opts := oneName(e, nil)
			start := time.Now()
			s := open(t, opts)
			if d := time.Since(start); d > handshakeBound(s.Timeout())+time.Second {
				t.Errorf("Open took %v, want at most %v", d, handshakeBound(s.Timeout())+time.Second)
			}
			must(t, s.Close())
		}
	})
}

// DialContext uses the connection of the first address that answers, and the other attempts leave
// nothing behind.
func TestAddressesRace(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var open atomic.Int32
		d := newDialer(cryptoRand{})
		d.lookup = func(context.Context, string) ([]string, error) { return []string{"a", "b", "c"}, nil }
		d.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			if d := map[string]time.Duration{"a:1": time.Second, "b:1": 2 * time.Second}[address]; d > 0 {
				time.Sleep(d) // even if ctx ends
				open.Add(1)
				client, _ := net.Pipe()
				return counting{client, &open}, nil
			}
			return nil, errors.New(address)
		}
		for range 20 {
			conn, err := d.DialContext(t.Context(), "tcp", "zk:1")
			if err != nil {
				t.Fatal(err)
			}
			if n := open.Load(); n != 1 {
				t.Errorf("got %d open connections, want 1", n)
			}
			conn.Close()
		}
		d.dial = func(_ context.Context, _, address string) (net.Conn, error) { return nil, errors.New(address) }
		if conn, err := d.DialContext(t.Context(), "tcp", "zk:1"); conn != nil || err == nil {
			t.Errorf("all addresses fail: got a connection %v, error %v; want false and an error",
				conn != nil, err)
		}
		d.lookup = func(context.Context, string) ([]string, error) { return nil, nil }
		if conn, err := d.DialContext(t.Context(), "tcp", "zk:1"); conn != nil || err == nil {
			t.Errorf("no address: got a connection %v, error %v; want false and an error",
				conn != nil, err)
		}
	})
}

// All addresses of a host name are tried before the context ends, however many there are.
func TestEachAddressIsTriedInTime(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		for _, n := range []int{1, 3, 40} {
			var mu sync.Mutex
			var tried []string
			d := newDialer(cryptoRand{})
			d.lookup = func(context.Context, string) (hosts []string, err error) {
				for i := range n {
					hosts = append(hosts, fmt.Sprint("h", i))
				}
				return hosts, nil
			}
			d.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
				mu.Lock()
				tried = append(tried, address)
				mu.Unlock()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			start := time.Now()
			if _, err := d.DialContext(ctx, "tcp", "zk:1"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 400*time.Millisecond {
				t.Errorf("%d addresses: got %v after %v, want a deadline exceeded within 400 ms",
					n, err, time.Since(start))
			}
			cancel()
			slices.Sort(tried)
			if got := len(slices.Compact(tried)); got != n {
				t.Errorf("tried %d of %d addresses, want all", got, n)
			}
		}
	})
}

// A dialer remembers only the addresses that were found dead within the last hour (the constant
// `deadFor`). If it remembered all, they would fill the memory of a session that lives for months,
// because the servers of a name may get new addresses again and again.
func TestOldDeadAddressesAreForgotten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		d := newDialer(cryptoRand{})
		for i := range 240 {
			d.avoid(fmt.Sprintf("10.0.0.%d:2181", i))
			time.Sleep(time.Minute)
		}
		if most := int(deadFor / time.Minute); len(d.dead) > most {
			t.Errorf("after 240 minutes with a dead address each: got %d addresses, want at most %d", len(d.dead), most)
		}
		addresses := []string{"10.0.0.239:2181", "10.0.0.1:2181", "10.0.9.9:2181"}
		if d.order(addresses); addresses[2] != "10.0.0.239:2181" {
			t.Errorf("order: got %q, want the address that was found dead a minute ago to be the last", addresses)
		}
	})
}

type counting struct {
	net.Conn
	open *atomic.Int32
}

func (c counting) Close() error { c.open.Add(-1); return c.Conn.Close() }
