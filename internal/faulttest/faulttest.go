// Package faulttest is what the tests of queues and barriers share: an ensemble on a
// virtual clock, sessions that count their requests, and a fault at each
// request of a call in turn. Only tests import it.
package faulttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Timeout is that of the sessions.
const Timeout = 6 * time.Second

// An Ensemble runs in a test's bubble.
type Ensemble struct {
	*zktest.Ensemble
	T *testing.T
}

// Bubble runs f with an ensemble of three servers on a virtual clock.
func Bubble(t *testing.T, f func(t *testing.T, e *Ensemble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, &Ensemble{zktest.Start(t), t}) })
}

// Open opens a session that counts its requests, and closes it with the test.
// It uses the servers of the indexes, all if there are none.
func (e *Ensemble) Open(servers ...int) (*session.Session, *Requests) {
	e.T.Helper()
	addresses := e.Servers()
	if len(servers) > 0 {
		addresses = nil
	}
	for _, i := range servers {
		addresses = append(addresses, e.Servers()[i])
	}
	r := &Requests{n: map[string]int{}}
	s, err := session.Open(e.T.Context(), session.Options{
		Servers: addresses, Dial: e.DialContext, Timeout: Timeout, Metrics: session.Metrics{Request: r.add},
	})
	Check(e.T, err)
	e.T.Cleanup(func() { s.Close() })
	return s, r
}

// Behind returns a session of a leader that from now on applies what is
// committed later than its followers do, but answers sync at once, and one of
// a follower.
func (e *Ensemble) Behind() (behind, other *session.Session) {
	leader := e.Leader()
	behind, _ = e.Open(leader)
	other, _ = e.Open((leader + 1) % len(e.Servers()))
	e.Lag(leader, 2*time.Second)
	return behind, other
}

// Requests counts the requests of a session by kind.
type Requests struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *Requests) add(op string, _ time.Duration, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n[op]++
}

// A Count is a number of requests by kind.
type Count map[string]int

// Total is the number of all requests.
func (c Count) Total() (sum int) {
	for _, n := range c {
		sum += n
	}
	return sum
}

// Since returns the requests since the last call, once all is at rest.
func (r *Requests) Since() Count {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.n
	r.n = map[string]int{}
	return n
}

// Check fails the test if there is an error.
func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Must returns the value of a call that must not fail.
func Must[V any](value V, err error) V {
	if err != nil {
		panic(err)
	}
	return value
}

// Znodes lists all nodes below path, as a majority knows them.
func Znodes(t *testing.T, s *session.Session, path string) []string {
	t.Helper()
	Check(t, s.Sync(context.Background(), "/"))
	return znodes(s, path)
}

func znodes(s *session.Session, path string) []string {
	listing, err := s.Children(context.Background(), path)
	if err != nil {
		return nil
	}
	var all []string
	slices.Sort(listing.Names)
	for _, name := range listing.Names {
		child := strings.TrimSuffix(path, "/") + "/" + name
		all = append(append(all, child), znodes(s, child)...)
	}
	return all
}

// A Fault is what EachRequest lets happen to a request.
type Fault struct {
	Name  string
	Fate  zktest.Fate
	Loses bool // the session is expired right after
}

// Faults are those that EachRequest goes through: the connection closed before
// the request is carried out and after it, and the session lost after either.
func Faults() []Fault {
	return []Fault{
		{Name: "request-lost", Fate: zktest.CloseBeforeRequest},
		{Name: "reply-lost", Fate: zktest.CloseBeforeReply},
		{Name: "request-and-session-lost", Fate: zktest.CloseBeforeRequest, Loses: true},
		{Name: "reply-and-session-lost", Fate: zktest.CloseBeforeReply, Loses: true},
	}
}

// A Trial is one run of EachRequest.
type Trial struct {
	*Ensemble
	fault Fault
	at    int
	hit   bool
}

// Strike arms the fault for the requests that s makes from now on.
func (tr *Trial) Strike(s *session.Session) {
	id := s.ID()
	in := tr.Inject(zktest.Rule{Session: id, Skip: tr.at, Fate: tr.fault.Fate})
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		for state := range s.States(ctx) {
			if tr.fault.Loses && state == session.Suspended && in.Fired() > 0 {
				tr.Expire(id)
			}
		}
	})
	tr.T.Cleanup(func() {
		tr.hit = in.Fired() > 0
		in.Remove()
		stop()
		watch.Wait()
	})
}

// Loses reports whether the fault takes the session.
func (tr *Trial) Loses() bool { return tr.fault.Loses }

// EachRequest runs f for each fault, at the first request of the session that
// f gives to Strike, at the second, and so on until one run makes too few
// requests for the fault to strike.
func EachRequest(t *testing.T, f func(t *testing.T, tr *Trial)) {
	t.Helper()
	for _, fault := range Faults() {
		struck := 0
		for at := 0; ; at++ {
			hit := false
			ok := t.Run(fmt.Sprintf("%s/%d", fault.Name, at), func(t *testing.T) {
				var tr *Trial
				Bubble(t, func(t *testing.T, e *Ensemble) {
					tr = &Trial{Ensemble: e, fault: fault, at: at}
					f(t, tr)
				})
				hit = tr.hit
			})
			if !ok || !hit {
				break
			}
			struck++
		}
		if struck == 0 && !t.Failed() {
			t.Errorf("%s never struck", fault.Name)
		}
	}
}

// CancelAtEach runs f with a context that ends when the session has made n
// requests, for each n from 0 until f makes fewer.
func CancelAtEach(t *testing.T, f func(ctx context.Context, t *testing.T, e *Ensemble, s *session.Session)) {
	t.Helper()
	for n := int64(0); ; n++ {
		var left atomic.Int64
		left.Store(n)
		Bubble(t, func(t *testing.T, e *Ensemble) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := session.Open(t.Context(), session.Options{
				Servers: e.Servers(), Dial: e.DialContext, Timeout: Timeout,
				Metrics: session.Metrics{Request: func(string, time.Duration, error) {
					if left.Add(-1) == -1 {
						cancel()
					}
				}},
			})
			Check(t, err)
			t.Cleanup(func() { s.Close() })
			f(ctx, t, e, s)
		})
		if left.Load() >= 0 {
			if n < 2 {
				t.Errorf("only %d requests were made", n)
			}
			return
		}
	}
}
