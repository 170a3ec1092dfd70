package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is an ensemble, a session that watches and one that changes things.
type world struct {
	*zktest.Ensemble
	t      *testing.T
	server atomic.Int32 // that the watching sessions connect to; -1 is refused
	s      *session.Session
	admin  *session.Session
}

// options are those of a session which connects to w.server only.
func (w *world) options() session.Options {
	return session.Options{
		Servers: w.Servers()[:1], Timeout: 6 * time.Second,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			i := w.server.Load()
			if i < 0 {
				return nil, errors.New("refused by the test")
			}
			return w.DialContext(ctx, network, w.Servers()[i])
		},
	}
}

// bubble runs f in a synctest bubble with a world in it.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{Ensemble: zktest.Start(t), t: t}
		w.server.Store(int32((w.Leader() + 1) % 3))
		w.s = w.open(w.options())
		w.admin = w.open(session.Options{Servers: w.Servers(), Dial: w.DialContext, Timeout: 30 * time.Second})
		f(t, w)
	})
}

func (w *world) open(o session.Options) *session.Session {
	w.t.Helper()
	s, err := session.Open(w.t.Context(), o)
	w.must(err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// do makes changes, written as "+/path data", "-/path", "=/path data", one
// after another, and waits until everybody was told.
func (w *world) do(changes ...string) {
	w.t.Helper()
	for _, change := range changes {
		path, data, _ := strings.Cut(change[1:], " ")
		var err error
		switch change[0] {
		case '+':
			_, err = w.admin.Create(w.t.Context(), path, []byte(data), session.Persistent)
		case '=':
			_, err = w.admin.Set(w.t.Context(), path, []byte(data), session.AnyVersion)
		case '-':
			err = w.admin.DeleteAll(w.t.Context(), path)
		}
		w.must(err)
	}
	synctest.Wait()
}

// cut ends the watching session's connection and lets it make no other, until
// the returned function is called.
func (w *world) cut() (mend func()) {
	server := w.server.Swap(-1)
	w.Kill(int(server))
	w.Start(int(server))
	time.Sleep(time.Second)
	return func() {
		w.server.Store((server + 1) % 3)
		for w.s.State() != session.Connected {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
	}
}

// word is a server's answer to a four-letter word.
func (w *world) word(server int, word string) string {
	w.t.Helper()
	c, err := w.DialContext(w.t.Context(), "tcp", w.Servers()[server])
	w.must(err)
	defer c.Close()
	_, err = c.Write([]byte(word))
	w.must(err)
	var answer bytes.Buffer
	_, err = answer.ReadFrom(c)
	w.must(err)
	return answer.String()
}

// serverWatches counts the watches at all servers.
func (w *world) serverWatches() (n int) {
	w.t.Helper()
	for i := range w.Servers() {
		_, total, _ := strings.Cut(w.word(i, "mntr"), "zk_watch_count") // wchs leaves out those on children
		var here int
		_, err := fmt.Sscan(total, &here)
		w.must(err)
		n += here
	}
	return n
}

// expireFollowers ends all sessions but the world's own.
func (w *world) expireFollowers() {
	w.t.Helper()
	for line := range strings.Lines(w.word(w.Leader(), "dump")) {
		var id int64
		if n, _ := fmt.Sscanf(line, "0x%x\t", &id); n == 1 && id != w.s.ID() && id != w.admin.ID() {
			w.must(w.Expire(id))
		}
	}
}

// A feed is a stream whose consumer is the test: what it does not take keeps
// the stream busy.
type feed[C any] struct {
	t     *testing.T
	pairs chan pair[C]
	leave chan struct{}
	ended chan struct{}
}

type pair[C any] struct {
	change C
	err    error
}

func listen[C any](t *testing.T, stream iter.Seq2[C, error]) *feed[C] {
	f := &feed[C]{t: t, pairs: make(chan pair[C]), leave: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for c, err := range stream {
			select {
			case f.pairs <- pair[C]{c, err}:
			case <-f.leave:
				return
			}
		}
	}()
	t.Cleanup(f.stop)
	return f
}

// stop leaves the loop.
func (f *feed[C]) stop() {
	select {
	case <-f.leave:
	default:
		close(f.leave)
	}
	for {
		select {
		case <-f.ended:
			return
		case <-time.After(time.Hour):
			f.t.Fatal("a stream cannot be left")
		}
	}
}

// next takes the next change, which must come within an hour.
func (f *feed[C]) next() C {
	f.t.Helper()
	select {
	case p := <-f.pairs:
		if p.err != nil {
			f.t.Fatalf("stream ended: %v", p.err)
		}
		return p.change
	case <-time.After(time.Hour):
		f.t.Fatal("no change")
	}
	panic("unreachable")
}

// all takes the next change and what else is told until nothing happens.
func (f *feed[C]) all() []C {
	f.t.Helper()
	list := []C{f.next()}
	for {
		synctest.Wait()
		select {
		case p := <-f.pairs:
			if p.err != nil {
				f.t.Fatalf("stream ended: %v", p.err)
			}
			list = append(list, p.change)
		default:
			return list
		}
	}
}

// none checks that there is nothing to tell.
func (f *feed[C]) none() {
	f.t.Helper()
	synctest.Wait()
	select {
	case p := <-f.pairs:
		f.t.Errorf("told %+v, %v", p.change, p.err)
	default:
	}
}

// end takes the last pair, and checks that nothing follows.
func (f *feed[C]) end() error {
	f.t.Helper()
	select {
	case p := <-f.pairs:
		if p.err == nil {
			f.t.Fatalf("told %+v, not the end", p.change)
		}
		<-f.ended
		return p.err
	case <-time.After(time.Hour):
		f.t.Fatal("no end")
	}
	panic("unreachable")
}
