package lockqueue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A place is one contender of a test, with its own session.
type place struct {
	*recipetest.Client
	line  *Queue
	claim *Place // set when it is served
	err   error
	end   context.CancelCauseFunc
	over  chan struct{}
}

// The function `joining` starts a Join, and returns when the contender is served or blocks.
func joining(t *testing.T, w *recipetest.World, r Request) *place {
	return joiningAs(t, w.Client(), r)
}

func joiningAs(t *testing.T, c *recipetest.Client, r Request) *place {
	ctx, end := context.WithCancelCause(t.Context())
	t.Cleanup(func() { end(nil) })
	p := &place{Client: c, line: &Queue{Session: c.Session, Dir: "/line", Naming: testNaming}, end: end, over: make(chan struct{})}
	go func() {
		defer close(p.over)
		p.claim, p.err = p.line.Join(ctx, r)
	}()
	synctest.Wait()
	return p
}

func (p *place) served() bool {
	synctest.Wait()
	select {
	case <-p.over:
		return p.err == nil && p.claim.Context().Err() == nil
	default:
		return false
	}
}

// The second of three contenders departs while the first one is served. The third one must list the
// queue again, in whatever way the second one departs. Without a new list, the third one would be
// served together with the first one.
func TestGoingFromTheMiddleServesNobody(t *testing.T) {
	writer, lock := Request{Name: "__WRIT__"}, Request{Name: "lock-"}
	reader := Request{Name: "__READ__", Kind: Shared}
	lines := map[string][3]Request{
		"locks": {lock, lock, lock}, "writers": {writer, writer, writer},
		"a reader last": {writer, writer, reader}, "a reader in the middle": {writer, reader, writer},
		"a reader first": {reader, writer, writer},
	}
	goings := map[string]func(t *testing.T, w *recipetest.World, p *place){
		"its session is lost": func(_ *testing.T, _ *recipetest.World, p *place) { p.Lose() },
		"it gives up":         func(_ *testing.T, _ *recipetest.World, p *place) { p.end(errors.New("enough")) },
		"somebody deletes it": func(t *testing.T, w *recipetest.World, _ *place) {
			for _, path := range w.Nodes("/line") {
				if _, name := znode.Split(path); strings.HasSuffix(name, "0000000001") {
					recipetest.Check(t, w.Admin().Delete(t.Context(), path, session.AnyVersion))
				}
			}
		},
	}
	for kinds, requests := range lines {
		for how, goes := range goings {
			t.Run(kinds+"/"+how, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					first := joining(t, w, requests[0])
					middle := joining(t, w, requests[1])
					last := joining(t, w, requests[2])
					if !first.served() || middle.served() || last.served() {
						t.Fatalf("served before the departure: got first %v, middle %v, last %v, want only the first", first.served(), middle.served(), last.served())
					}
					goes(t, w, middle)
					time.Sleep(2 * recipetest.Timeout)
					if !first.served() || last.served() {
						t.Fatalf("served after the departure: got first %v, last %v, want only the first", first.served(), last.served())
					}
					recipetest.Check(t, first.claim.Leave(t.Context(), errReleased))
					if !last.served() {
						t.Error("last contender: not served after the first one left")
					}
				})
			})
		}
	}
}

// The second of three contenders departs while the third one joins. The third one must not be
// served. The test is repeated with the departure at each request and each reply of the join.
func TestGoingFromTheMiddleAtEachMoment(t *testing.T) {
	for _, name := range []string{"lock-", "__WRIT__"} {
		moment := 1
		for reached := true; reached; moment++ {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				first, middle := joining(t, w, Request{Name: name}), joining(t, w, Request{Name: name})
				c := w.Client()
				c.At(moment, middle.Lose)
				last := joiningAs(t, c, Request{Name: name})
				if reached = c.Reached(); reached && last.served() {
					t.Errorf("%s: last contender served together with the first, after the middle one departed at moment %d", name, moment)
				}
				recipetest.Check(t, first.claim.Leave(t.Context(), errReleased))
			})
		}
		if moment < 8 {
			t.Errorf("%s: got %d moments, want at least 7", name, moment-1)
		}
	}
}

// A downgraded writer still holds the lock as a reader. Readers behind it are served, and writers
// behind it are not. In this test, one writer joins before the downgrade and waits. After the
// downgrade, two writers and a reader join with Request.Try, and one more writer joins and waits.
func TestDowngradedWriterLetsNoWriterPass(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		first := joining(t, w, Request{Name: "__WRIT__"})
		second := joining(t, w, Request{Name: "__WRIT__"})
		recipetest.Check(t, first.claim.Downgrade(t.Context()))
		third := joining(t, w, Request{Name: "__WRIT__", Try: true})
		if !first.served() || second.served() || third.served() || !errors.Is(third.err, ErrBusy) {
			t.Fatalf("served: got first %v, second %v, third %v (%v), want only the first, and %v", first.served(), second.served(), third.served(), third.err, ErrBusy)
		}
		second.end(errors.New("enough"))
		time.Sleep(time.Second)
		alone := joining(t, w, Request{Name: "__WRIT__", Try: true}) // behind the first one
		reader := joining(t, w, Request{Name: "__READ__", Kind: Shared, Try: true})
		after := joining(t, w, Request{Name: "__WRIT__"})
		if alone.served() || !reader.served() || after.served() {
			t.Fatalf("served: got trying writer %v, reader %v, waiting writer %v, want only the reader", alone.served(), reader.served(), after.served())
		}
		recipetest.Check(t, reader.claim.Leave(t.Context(), errReleased))
		if after.served() {
			t.Fatal("waiting writer: served together with the downgraded one")
		}
		recipetest.Check(t, first.claim.Leave(t.Context(), errReleased))
		if !after.served() {
			t.Error("waiting writer: not served after the downgraded one left")
		}
	})
}

// A writer that was not downgraded lets no reader pass.
func TestWriterLetsNoReaderTryPass(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		first := joining(t, w, Request{Name: "__WRIT__"})
		reader := joining(t, w, Request{Name: "__READ__", Kind: Shared, Try: true})
		if !first.served() || reader.served() || !errors.Is(reader.err, ErrBusy) {
			t.Fatalf("served: got writer %v, reader %v (%v), want only the writer, and %v", first.served(), reader.served(), reader.err, ErrBusy)
		}
	})
}

// The context of a place ends before the request that deletes its znode is sent. If the context
// ended only with the reply to this request, another contender could be served before that.
func TestContextEndsBeforeTheNodeIsDeleted(t *testing.T) {
	for _, name := range []string{"lock-", "__WRIT__", "__READ__"} {
		for _, op := range []string{"delete", "multi"} {
			kind := Exclusive
			if name == "__READ__" {
				kind = Shared
			}
			if kind == Shared && op == "multi" {
				continue // a shared contender leaves no release mark
			}
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				r := Request{Name: name, Kind: kind}
				// Create the directory, so that the first create request of a contender succeeds.
				// If the directory were missing, the contender would have to repeat the create. Its
				// list of the queue would then not contain its znode, and so not show that the
				// queue was empty. Therefore an exclusive contender would leave a release mark when
				// it departs. That takes a multi, even where the test expects a delete.
				recipetest.Check(t, recipe.CreateParents(t.Context(), w.Admin().Session, "/line/any"))
				if op == "multi" { // a contender behind another one departs with a multi
					before := joining(t, w, r)
					defer func() { recipetest.Check(t, before.Close()) }()
					time.AfterFunc(time.Second, func() { before.claim.Leave(t.Context(), errReleased) })
				}
				p := joining(t, w, r)
				time.Sleep(2 * time.Second)
				if !p.served() {
					t.Fatalf("%s, %s: not served within 2s: error %v", name, op, p.err)
				}
				var sent, stood bool
				p.Before(op, func() { sent, stood = true, p.claim.Context().Err() == nil })
				recipetest.Check(t, p.claim.Leave(t.Context(), errReleased))
				if !sent || stood {
					t.Errorf("%s: %s sent %v, context alive then %v, want it sent after the context ended", name, op, sent, stood)
				}
			})
		}
	}
}
