package watch_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

var seeds = flag.Uint64("seeds", 8, "number of seeds to run under faults")

// A ledger records the states of a directory. One client makes all changes, and calls the method
// `note` after each of them.
type ledger struct {
	mu       sync.Mutex
	children map[int64]map[string]int64 // pzxid of the directory -> name of a child -> its czxid
	data     map[int64]string           // mzxid -> data
}

// The method `note` records the state after a change.
func (l *ledger) note(t *testing.T, s *session.Session) {
	t.Helper()
	var ids map[string]int64
	var listing session.Listing
	var value session.Value
	err := s.Retry(t.Context(), func(ctx context.Context) (err error) {
		if listing, err = s.Children(ctx, "/d"); err != nil {
			return err
		}
		ids = make(map[string]int64)
		for _, name := range listing.Names {
			stat, err := s.Exists(ctx, "/d/"+name)
			if err != nil {
				return err
			}
			ids[name] = stat.Czxid
		}
		value, err = s.Get(ctx, "/d")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.children[listing.Stat.Pzxid] = ids
	l.data[value.Stat.Mzxid] = string(value.Data)
}

// The type `reported` is a difference that a stream reported. The field `from` is the pzxid of the
// directory in the state before the difference, and `to` is the pzxid in the state after it. The
// test checks all differences at its end, because a stream may report a difference before the
// ledger has recorded the two states.
type reported struct {
	from, to       int64
	added, removed []string
}

// The method `judge` checks the reported differences against the ledger, and returns the number of
// those that it could check.
//
// A recreation is a deletion and a creation, and the stream normally reports both with one
// difference. Suppose that a child is recreated between two reads, and is deleted once more before
// the stream checks for recreations. The stream then reports neither the first deletion nor the
// creation. It reports the second deletion, with the next difference. The method `judge` accepts
// this.
func (l *ledger) judge(t *testing.T, what string, list []reported) (judged int) {
	t.Helper()
	for i, c := range list {
		was, known := l.children[c.from]
		is, known2 := l.children[c.to]
		if c.from != 0 && !known || !known2 {
			// The ledger has not recorded the state before the difference, or the state after it.
			// The reason is a lost reply to a change: another change was then made before the state
			// after the first change was recorded.
			continue
		}
		judged++
		var added, removed []string
		for name, id := range was {
			if is[name] != id && !later(list, i, name) {
				removed = append(removed, name)
			}
		}
		for name, id := range is {
			if was[name] != id && (was[name] == 0 || !later(list, i, name)) {
				added = append(added, name)
			}
		}
		slices.Sort(added)
		slices.Sort(removed)
		if !slices.Equal(c.added, added) || !slices.Equal(c.removed, removed) {
			t.Errorf("%s: got +%v -%v, want +%v -%v", what, c.added, c.removed, added, removed)
		}
	}
	return judged
}

// The function `later` reports whether the deletion of a child was reported not with list[i] but
// with the next difference.
func later(list []reported, i int, name string) bool {
	return !slices.Contains(list[i].removed, name) && i+1 < len(list) && slices.Contains(list[i+1].removed, name)
}

// Three streams follow a directory while connections, servers and sessions are lost, and while
// servers refuse requests because they are too busy. The test checks that each stream
//
//   - never goes back to an earlier state,
//   - reports the final state, and
//   - ends only when its context ends.
//
// For the streams of NewChildren and NewNode, the test also checks that each difference is exactly
// the change from the previous state, even if a child was recreated.
//
// Covers W2, W3, W4, W5, W6, W7.
func TestStreamsUnderFaults(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			opts := zktest.Options{Version: []zktest.Version{zktest.V39, zktest.V38}[seed%2]}
			bubbleOn(t, opts, func(t *testing.T, w *world) { underFaults(t, w, seed) })
		})
	}
}

func underFaults(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	l := &ledger{children: map[int64]map[string]int64{}, data: map[int64]string{}}
	w.do("+/d 0")
	l.note(t, w.admin)

	opts := session.Options{Servers: w.Servers(), Dial: w.DialContext, Timeout: 4 * time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	var names, node, tree state
	common := &shared{t: t, opts: opts, turn: make(chan struct{}, 1)}
	defer common.close()
	together := seed%4 < 2 // whether the streams share one session and its watches
	children, both, all := watch.NewChildren("/d"), watch.NewNode("/d"), watch.NewTree("/d", watch.TreeOptions{})
	streams.Go(func() { followChildren(t, over(ctx, children, common, together), &names) })
	streams.Go(func() { followNode(t, l, over(ctx, both, common, together), &node) })
	streams.Go(func() { followTree(t, over(ctx, &all.Watcher, common, together), &tree) })

	var refusals []*zktest.Injection
	for i := range 60 {
		if in := breakSomething(w, r); in != nil {
			refusals = append(refusals, in)
		}
		for range r.IntN(6) {
			changeSomething(t, w, r, i)
			l.note(t, w.admin)
		}
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
	}
	for i := range 3 {
		w.Start(i)
		w.Resume(i)
		w.Lag(i, 0)
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()

	var listing session.Listing
	w.must(w.admin.Retry(t.Context(), func(ctx context.Context) (err error) {
		listing, err = w.admin.Children(ctx, "/d")
		return err
	}))
	slices.Sort(listing.Names)
	for what, got := range map[string][]string{"children": names.get(), "node": node.get(), "tree": tree.get()} {
		if !slices.Equal(got, listing.Names) {
			t.Errorf("%s: final state %v, want %v", what, got, listing.Names)
		}
	}
	cancel()
	streams.Wait()
	refused := 0
	for _, in := range refusals {
		refused += in.Fired()
	}
	if refused == 0 {
		t.Errorf("none of %d refusals selected a request, want at least one that did", len(refusals))
	}
	if n := min(l.judge(t, "children", names.reported), l.judge(t, "node", node.reported)); n < 10 {
		t.Errorf("only %d changes were judged, want at least 10", n)
	}
}

// The function `over` returns a stream of w that continues over any number of sessions. If
// `together` is true, the stream shares these sessions with other streams.
func over[C any](ctx context.Context, w *watch.Watcher[C], on *shared, together bool) iter.Seq2[C, error] {
	if !together {
		return w.Run(ctx, on.opts)
	}
	return func(yield func(C, error) bool) {
		for {
			s := on.session(ctx)
			for c, err := range w.Changes(ctx, s) {
				if err != nil && ctx.Err() == nil && s.Err() != nil {
					break // the stream continues on the next session
				}
				if !yield(c, err) || err != nil {
					return
				}
			}
		}
	}
}

// The type `shared` has the session that several streams use. If this session is lost, a new one
// replaces it.
type shared struct {
	t    *testing.T
	opts session.Options
	turn chan struct{} // not a mutex, because waiting for a mutex would stop the virtual clock
	s    *session.Session
}

// The method `session` returns the current session, or a new one if the current one is lost. If ctx
// has ended, the method may return a lost session.
func (f *shared) session(ctx context.Context) *session.Session {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	for f.s == nil || f.s.Err() != nil && ctx.Err() == nil {
		f.close()
		// The session is opened with the context of the test. If ctx has ended, no session can be
		// opened with ctx, and Changes needs a session even then.
		if s, err := session.Open(f.t.Context(), f.opts); err == nil {
			f.s = s
		}
	}
	return f.s
}

func (f *shared) close() {
	if f.s != nil {
		f.s.Close()
	}
}

// breakSomething injects a random fault, or none. If the fault makes servers refuse requests
// because they are too busy, breakSomething returns the injection.
func breakSomething(w *world, r *rand.Rand) (refusal *zktest.Injection) {
	server := r.IntN(3)
	switch r.IntN(10) {
	case 0:
		w.Kill(server)
		time.Sleep(time.Second)
		w.Start(server)
	case 1:
		w.Pause(server)
		time.Sleep(time.Duration(r.IntN(8000)) * time.Millisecond)
		w.Resume(server)
	case 2:
		w.Lag(server, time.Duration(r.IntN(1500))*time.Millisecond)
	case 3:
		if w.Ready() {
			w.expireFollowers()
		}
	case 4:
		w.ElectLeader(server)
	case 5:
		w.Inject(zktest.Rule{Op: []string{"getChildren2", "getData", "exists", "setWatches"}[r.IntN(4)],
			Fate: []zktest.Fate{zktest.CloseBeforeReply, zktest.CloseBeforeRequest}[r.IntN(2)]})
	case 6, 7:
		return w.Inject(zktest.Rule{Op: []string{"getChildren2", "getData", "exists", "setWatches", "removeWatches", "multi"}[r.IntN(6)],
			Count: 1 + r.IntN(4), Fate: zktest.ThrottleRequest})
	}
	return nil
}

// changeSomething tries to make a random change. After ErrNodeExists or ErrNoNode, it gives up.
// After any other error, it tries again, possibly with another change. If replies were lost, it may
// have made several changes. This violates no property.
func changeSomething(t *testing.T, w *world, r *rand.Rand, i int) {
	t.Helper()
	path := fmt.Sprintf("/d/%d", r.IntN(4))
	for {
		var err error
		switch stat, _ := w.admin.Exists(t.Context(), path); {
		case r.IntN(4) == 0:
			_, err = w.admin.Set(t.Context(), "/d", fmt.Append(nil, i), session.AnyVersion)
		case stat == nil:
			_, err = w.admin.Create(t.Context(), path, nil, session.Persistent)
		default:
			err = w.admin.Delete(t.Context(), path, session.AnyVersion)
		}
		if err == nil || errors.Is(err, zk.ErrNodeExists) || errors.Is(err, zk.ErrNoNode) {
			return
		}
	}
}

// A state has the names that a stream reported last, and the differences that
// led to them.
type state struct {
	reported []reported // written by the stream until it ends

	mu    sync.Mutex
	names []string
}

func (s *state) set(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = names
}

func (s *state) get() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names
}

func followChildren(t *testing.T, stream func(func(watch.ChildrenChange, error) bool), end *state) {
	last := int64(0)
	for c, err := range stream {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("children: ended with %v, want context.Canceled", err)
			}
			return
		}
		if c.Stat.Pzxid <= last {
			t.Errorf("children: got zxid %d after %d, want a larger one", c.Stat.Pzxid, last)
		}
		end.reported = append(end.reported, reported{last, c.Stat.Pzxid, c.Added, c.Removed})
		last = c.Stat.Pzxid
		end.set(c.Names)
	}
}

func followNode(t *testing.T, l *ledger, stream func(func(watch.NodeChange, error) bool), end *state) {
	var last zk.Stat
	for c, err := range stream {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("node: ended with %v, want context.Canceled", err)
			}
			return
		}
		if c.Stat.Pzxid < last.Pzxid || c.Stat.Mzxid < last.Mzxid || c.Stat.Pzxid == last.Pzxid && c.Stat.Mzxid == last.Mzxid {
			t.Errorf("node: got stat %+v after %+v, want a later one", c.Stat, last)
		}
		end.reported = append(end.reported, reported{last.Pzxid, c.Stat.Pzxid, c.Added, c.Removed})
		l.mu.Lock()
		if want, known := l.data[c.Stat.Mzxid]; known && want != string(c.Data) {
			t.Errorf("node: got data %q, want %q", c.Data, want)
		}
		l.mu.Unlock()
		last = *c.Stat
		end.set(c.Names)
	}
}

func followTree(t *testing.T, stream func(func(watch.TreeChange, error) bool), end *state) {
	reported := map[string]zk.Stat{}
	for c, err := range stream {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("tree: ended with %v, want context.Canceled", err)
			}
			return
		}
		for _, e := range c.Changes {
			old, had := reported[e.Path]
			ok := true
			switch e.Kind {
			case watch.Initial, watch.Created:
				ok = !had
			case watch.Changed:
				ok = had && old.Czxid == e.Stat.Czxid && old.Mzxid < e.Stat.Mzxid
			case watch.Recreated:
				ok = had && old.Czxid < e.Stat.Czxid
			case watch.Deleted:
				ok = had
			}
			if !ok {
				t.Errorf("tree: got %v of %s with stat %+v, which contradicts the one before, %+v", e.Kind, e.Path, e.Stat, old)
			}
			if delete(reported, e.Path); e.Stat != nil {
				reported[e.Path] = *e.Stat
			}
		}
		var names []string
		for _, path := range slices.Sorted(maps.Keys(reported)) {
			if path != "/d" {
				names = append(names, path[len("/d/"):])
			}
		}
		end.set(names)
	}
}
