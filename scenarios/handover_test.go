package scenarios

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

var handover = flag.Bool("handover", false, "measure hand-overs on the ensemble of the flag -ensemble instead of the embedded one")

// busy is the delay that a busy machine may add.
const busy = 3 * time.Second

// An electorate is a running ensemble with its clients.
type electorate struct {
	t   *testing.T
	ens ensemble.Ensemble
}

func startElectorate(t *testing.T) *electorate {
	t.Helper()
	start := func(_ context.Context, c ensemble.Config) (ensemble.Ensemble, error) {
		return embedded.Start(embedded.Options{Config: c})
	}
	if *handover {
		start = options(t, 0).Ensemble
	}
	e, err := start(t.Context(), ensemble.Config{Nodes: 3, TickTime: sessionTimeout / 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the ensemble: got error %v, want none", err)
		}
	})
	if err := e.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &electorate{t, e}
}

// A voter is one client with its session, its proxy and the names of its requests.
type voter struct {
	*session.Session
	link *netfault.Proxy
	t    *testing.T

	mu    sync.Mutex
	asked []string
}

func (e *electorate) voter(timeout time.Duration) *voter {
	e.t.Helper()
	v := &voter{link: netfault.New(e.ens.DialContext), t: e.t}
	s, err := session.Open(e.t.Context(), session.Options{Servers: e.ens.Servers(), Dial: v.link.DialContext, Timeout: timeout,
		Metrics: session.Metrics{Request: func(op string, _ time.Duration, _ error) {
			v.mu.Lock()
			defer v.mu.Unlock()
			// Exists requests do not count. A session sends such a request after a while, to set a
			// watch on the znode of a hold. It does so independently of the hand-over.
			if op != "exists" {
				v.asked = append(v.asked, op)
			}
		}}})
	if err != nil {
		e.t.Fatal(err)
	}
	v.Session = s
	e.t.Cleanup(func() {
		v.link.Heal()
		s.Close()
	})
	return v
}

// The method `requests` returns the sorted names of the requests since the last call.
func (v *voter) requests() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	slices.Sort(v.asked)
	asked := fmt.Sprint(v.asked)
	v.asked = nil
	return asked
}

type vote struct {
	*election.Term
	at time.Time
}

// The method `campaign` calls Campaign in the background.
func (v *voter) campaign(path string) <-chan vote {
	elected := make(chan vote, 1)
	go func() {
		term, err := election.New(v.Session, path, election.Options{}).Campaign(v.t.Context())
		if err != nil {
			v.t.Error(err)
		}
		elected <- vote{term, time.Now()}
	}()
	return elected
}

// The method `queued` waits until path has at least n candidates and the candidate `last` watches
// its predecessor.
func (v *voter) queued(path string, n int, last *voter) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	for {
		listing, err := v.Children(ctx, path)
		if err == nil && len(listing.Names) >= n && last.waits() {
			return
		}
		if ctx.Err() != nil {
			v.t.Fatalf("%s: got candidates %q, error %v, the last one waits: %t; want at least "+
				"%d candidates, and that it waits", path, listing.Names, err, last.waits(), n)
		}
	}
}

// The method `waits` reports whether the client has sent the requests of a candidate that waits for
// its predecessor.
func (v *voter) waits() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	// A candidate that waits has sent two children requests: one lists the queue, and one sets a
	// watch.
	lists := 0
	for _, op := range v.asked {
		if op == "children" {
			lists++
		}
	}
	return lists >= 2
}

func (v *voter) resign(term *election.Term) {
	v.t.Helper()
	if err := term.Resign(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
}

// TestHandOver checks which requests a hand-over needs, and logs how long it takes.
//
//	go test ./scenarios -run HandOver -handover -v
//
// Covers E7.
func TestHandOver(t *testing.T) {
	e := startElectorate(t)
	for name, test := range map[string]func(*testing.T, *electorate){
		"resignation": resignations, "crash": crashes, "crowd": crowds,
	} {
		t.Run(name, func(t *testing.T) { test(t, &electorate{t, e.ens}) })
	}
}

// When a leader resigns, one write and one event suffice to elect the next leader.
func resignations(t *testing.T, e *electorate) {
	a, b := e.voter(sessionTimeout), e.voter(sessionTimeout)
	const path, rounds = "/resign", 20
	var took, writes []time.Duration
	leader := <-a.campaign(path)
	for range rounds {
		begun := time.Now()
		if err := recipe.ReadBarrier(t.Context(), a.Session, path); err != nil {
			t.Fatal(err)
		}
		writes = append(writes, time.Since(begun))
		b.requests()
		next := b.campaign(path)
		a.queued(path, 2, b)
		a.requests()
		b.requests()
		begun = time.Now()
		a.resign(leader.Term)
		leader = <-next
		took = append(took, leader.at.Sub(begun))
		if asked := a.requests() + b.requests(); asked != "[delete][]" {
			t.Errorf("requests of a hand-over: got %s, want [delete][]", asked)
		}
		a, b = b, a
	}
	slices.Sort(took)
	slices.Sort(writes)
	t.Logf("median of %d resignations to the next term: %v; of one quorum write: %v", rounds, took[rounds/2], writes[rounds/2])
	a.resign(leader.Term)
}

// If the client that leads the election crashes, the next candidate leads within one session
// timeout plus one tick. If the server that leads the ensemble crashes too, this limit is extended
// by the time until writes succeed again. In addition, the test allows the time `busy`.
func crashes(t *testing.T, e *electorate) {
	const path, tick = "/crash", sessionTimeout / 4
	for _, server := range []bool{false, true} {
		a, b, c := e.voter(sessionTimeout), e.voter(sessionTimeout), e.voter(sessionTimeout)
		<-a.campaign(path)
		next := b.campaign(path)
		c.queued(path, 2, b)
		begun := time.Now()
		a.link.Stall()
		bound := sessionTimeout + tick
		if server {
			bound += e.killLeader(c)
		}
		leader := <-next
		took := leader.at.Sub(begun)
		t.Logf("with a server: %t: the next leader after %v, the bound is %v", server, took, bound)
		if took > bound+busy {
			t.Errorf("with a server: %t: got the next leader after %v, want at most %v",
				server, took, bound+busy)
		}
		b.resign(leader.Term)
	}
}

// killLeader kills the ensemble's leader, and starts it again once writes succeed. It returns how
// long writes failed.
func (e *electorate) killLeader(v *voter) time.Duration {
	e.t.Helper()
	killer, able := e.ens.(ensemble.Killer)
	if !able {
		e.t.Skip("the ensemble cannot be killed")
	}
	leader, err := e.ens.Leader(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	begun := time.Now()
	if err := killer.Kill(e.t.Context(), leader); err != nil {
		e.t.Fatal(err)
	}
	for recipe.ReadBarrier(e.t.Context(), v.Session, "/") != nil {
		if v.Err() != nil {
			e.t.Fatalf("while the servers elected a leader: got the end of the client's "+
				"session, %v, want that it stays", v.Err())
		}
	}
	took := time.Since(begun)
	if err := killer.Start(e.t.Context(), leader); err != nil {
		e.t.Fatal(err)
	}
	return took
}

// The requests of a hand-over do not depend on the number of candidates in the queue. In a large
// crowd, a list of all candidates would even be larger than 1 MiB, the default of ZooKeeper's
// jute.maxbuffer.
func crowds(t *testing.T, e *electorate) {
	const patient = 5 * sessionTimeout // long enough for the crowd
	sizes := []int{10, 500}
	if *handover {
		sizes = append(sizes, 10_000, 25_000)
	}
	for _, crowd := range sizes {
		path := fmt.Sprintf("/crowd-%d", crowd)
		a, b, c, last := e.voter(patient), e.voter(patient), e.voter(patient), e.voter(patient)
		leader := <-a.campaign(path)
		next := b.campaign(path)
		c.queued(path, 2, b)
		c.gather(path, crowd)
		begun := time.Now()
		final := last.campaign(path)
		for !last.waits() {
			if _, err := c.Exists(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
		joined := time.Since(begun)
		if got := last.requests(); got != "[children children create]" {
			t.Errorf("requests of the last of %d candidates: got %s, want [children children create]", crowd, got)
		}
		a.requests()
		b.requests()
		a.resign(leader.Term)
		leader = <-next
		b.resign(leader.Term)
		if asked := a.requests() + b.requests(); asked != "[delete][delete]" {
			t.Errorf("before %d others, requests of two hand-overs: got %s, want [delete][delete]", crowd, asked)
		}
		c.scatter(path)
		term := <-final
		t.Logf("behind %d: joined after %v, elected with %s", crowd, joined, last.requests())
		last.resign(term.Term)
	}
}

// The method `gather` creates n candidates with persistent znodes. If the znodes were ephemeral,
// all would be deleted when one session ends. A server could not report so many deletions to the
// other servers.
func (v *voter) gather(path string, n int) {
	v.t.Helper()
	for made := 0; made < n; {
		var ops []session.Op
		for ; len(ops) < 1000 && made < n; made++ {
			ops = append(ops, session.CreateOp{Path: path + "/" + recipe.NewID(v.Session) + "-latch-", Mode: session.PersistentSequential})
		}
		if _, err := v.Multi(v.t.Context(), ops...); err != nil {
			v.t.Fatal(err)
		}
	}
}

// The method `scatter` deletes all candidates except the last.
func (v *voter) scatter(path string) {
	v.t.Helper()
	listing, err := v.Children(v.t.Context(), path)
	if err != nil {
		v.t.Fatal(err)
	}
	slices.SortFunc(listing.Names, func(a, b string) int { return strings.Compare(a[len(a)-10:], b[len(b)-10:]) })
	for part := range slices.Chunk(listing.Names[:len(listing.Names)-1], 1000) {
		var ops []session.Op
		for _, name := range part {
			ops = append(ops, session.DeleteOp{Path: path + "/" + name, Version: session.AnyVersion})
		}
		if _, err := v.Multi(v.t.Context(), ops...); err != nil {
			v.t.Fatal(err)
		}
	}
}
