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

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is an ensemble with a session that watches and a session that makes
// changes.
type world struct {
	*zktest.Ensemble
	t      *testing.T
	server atomic.Int32 // index of the server for the watching sessions; -1 refuses connections
	s      *session.Session
	admin  *session.Session
}

// The method `options` returns the options of a session that connects only to w.server.
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

// The function `bubble` runs f in a synctest bubble with a world in it.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubbleOn(t, zktest.Options{}, f)
}

// bubbleOn is like bubble, with options for the ensemble.
func bubbleOn(t *testing.T, opts zktest.Options, f func(t *testing.T, w *world)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		w := &world{Ensemble: zktest.Start(t, opts), t: t}
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

// The method `do` makes changes, written as "+/path data", "-/path" and "=/path data", one after
// another. Then it waits until all goroutines of the bubble are blocked.
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

// The method `cut` closes the watching session's connection and refuses new ones until the result
// `mend` is called.
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

// The method `word` returns a server's reply to a four-letter word.
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
		_, total, _ := strings.Cut(w.word(i, "mntr"), "zk_watch_count") // wchs leaves out watches on children
		var here int
		_, err := fmt.Sscan(total, &here)
		w.must(err)
		n += here
	}
	return n
}

// expireFollowers expires all sessions except the world's own.
func (w *world) expireFollowers() {
	w.t.Helper()
	for line := range strings.Lines(w.word(w.Leader(), "dump")) {
		var id int64
		if n, _ := fmt.Sscanf(line, "0x%x\t", &id); n == 1 && id != w.s.ID() && id != w.admin.ID() {
			w.must(w.Expire(id))
		}
	}
}

// A feed is a stream whose consumer is the test. The stream yields pairs of a change and an error.
// After each pair, the consumer counts as busy until the test takes that pair.
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

// The method `stop` makes the consumer leave its loop.
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
			f.t.Fatal("the stream did not end within an hour after its loop was left")
		}
	}
}

// The method `next` returns the next change, which must come within an hour.
func (f *feed[C]) next() C {
	f.t.Helper()
	select {
	case p := <-f.pairs:
		if p.err != nil {
			f.t.Fatalf("stream ended with %v, want a change", p.err)
		}
		return p.change
	case <-time.After(time.Hour):
		f.t.Fatal("no change within an hour")
	}
	panic("unreachable")
}

// A stream pauses before it repeats a read that a busy server has refused. The constant `quiet` is
// longer than any such pause.
const quiet = 30 * time.Second

// The method `all` returns the next change and all further ones, until none comes for the time
// `quiet`. The consumer was busy until this call, so the stream begins its next read only now. If a
// busy server refuses that read, the stream pauses. So `all` cannot use synctest.Wait, which would
// return during the pause.
func (f *feed[C]) all() []C {
	f.t.Helper()
	list := []C{f.next()}
	for {
		select {
		case p := <-f.pairs:
			if p.err != nil {
				f.t.Fatalf("stream ended with %v, want a change", p.err)
			}
			list = append(list, p.change)
		case <-time.After(quiet):
			return list
		}
	}
}

// The method `none` checks that the stream has no pair to yield.
func (f *feed[C]) none() {
	f.t.Helper()
	synctest.Wait()
	select {
	case p := <-f.pairs:
		f.t.Errorf("got %s, error %v; want no pair", say(p.change), p.err)
	default:
	}
}

// The method `end` takes the last pair and checks that no pair follows.
func (f *feed[C]) end() error {
	f.t.Helper()
	select {
	case p := <-f.pairs:
		if p.err == nil {
			f.t.Fatalf("got %s, want the end of the stream", say(p.change))
		}
		<-f.ended
		return p.err
	case <-time.After(time.Hour):
		f.t.Fatal("the stream did not end within an hour")
	}
	panic("unreachable")
}
