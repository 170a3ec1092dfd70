package session

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// A dialer connects to a server by its name. A name can have several addresses, which may belong to
// different servers. An address counts as dead after it failed or was too slow, or after its
// connection has ended. Dead addresses come last, so they rarely delay an attempt to connect.
type dialer struct {
	lookup func(ctx context.Context, host string) ([]string, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	rand   rand.Source

	mu   sync.Mutex
	dead map[string]time.Time // when each address was last found dead; kept for deadFor
}

func newDialer(source rand.Source) *dialer {
	return &dialer{
		lookup: net.DefaultResolver.LookupHost, dial: new(net.Dialer).DialContext, rand: source,
		dead: make(map[string]time.Time),
	}
}

// stagger is how long an address may take before the next one is tried in parallel. RFC 8305
// ("Happy Eyeballs") recommends this value.
const stagger = 250 * time.Millisecond

// deadFor is how long an address is remembered as dead. The addresses of a name may change, for
// example when Kubernetes replaces pods, and the old addresses must not fill the memory.
const deadFor = time.Hour

// DialContext resolves the host and returns the first connection to one of its addresses. It tries
// the next address as soon as an attempt has failed or has taken too long. A slow attempt continues
// meanwhile.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	hosts, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, len(hosts))
	for i, h := range hosts {
		addresses[i] = net.JoinHostPort(h, port)
	}
	d.order(addresses)
	conn, err := d.race(ctx, network, addresses)
	if conn == nil {
		return nil, cmp.Or(err, fmt.Errorf("%s has no address", host))
	}
	return conn, nil
}

// The method `order` shuffles the addresses and moves those that were found dead to the end.
func (d *dialer) order(addresses []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	shuffle(addresses, d.rand)
	slices.SortStableFunc(addresses, func(a, b string) int { return d.dead[a].Compare(d.dead[b]) })
}

// avoid moves an address behind the other addresses of its name. It is called when the address
// failed or was too slow, or when its connection has ended.
func (d *dialer) avoid(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(d.dead, func(_ string, found time.Time) bool { return now.Sub(found) >= deadFor })
	d.dead[address] = now
}

type attempt struct {
	address string
	conn    net.Conn
	err     error
}

// The method `race` returns the first connection, or the first error if there is no connection.
// When it returns, no attempt is in progress.
func (d *dialer) race(ctx context.Context, network string, addresses []string) (net.Conn, error) {
	racing, cancel := context.WithCancel(ctx)
	ended := make(chan attempt)
	running := 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			late := <-ended
			d.avoid(late.address)
			if late.conn != nil {
				late.conn.Close()
			}
		}
	}()
	var first error
	next := time.NewTimer(0)
	defer next.Stop()
	for len(addresses) > 0 || running > 0 {
		select {
		case <-next.C:
			if len(addresses) == 0 {
				continue
			}
			a := attempt{address: addresses[0]}
			addresses = addresses[1:]
			running++
			go func() {
				a.conn, a.err = d.dial(racing, network, a.address)
				ended <- a
			}()
			next.Reset(patience(ctx, len(addresses)))
		case a := <-ended:
			running--
			if a.err == nil {
				return a.conn, nil
			}
			d.avoid(a.address)
			first = cmp.Or(first, a.err)
			if ctx.Err() != nil {
				return nil, first
			}
			next.Reset(0)
		}
	}
	return nil, first
}

// The function `patience` returns how long to wait for an address before the next one is tried.
// `left` is the number of addresses that were not tried yet; all of them must be tried before ctx
// ends.
func patience(ctx context.Context, left int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return stagger
	}
	return min(stagger, time.Until(deadline)/time.Duration(left+2))
}
