package session

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/zktest"
)

// The ACL adminOnly gives all rights to the credential `admin` and to no other.
var (
	admin     = Auth{"digest", []byte("admin:secret")}
	adminOnly = zk.DigestACL(zk.PermAll, "admin", "secret")
)

// If the chroot is missing, the error of a request names the chroot. Regression: the error said
// only "node does not exist".
func TestAMissingChrootIsNamed(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		owner := open(t, on(e))
		defer owner.Close()
		var requests atomic.Int32
		opts := on(e)
		opts.Chroot = "/app"
		opts.Metrics.Request = func(string, time.Duration, error) { requests.Add(1) }
		s := open(t, opts)
		defer s.Close()
		calls := map[string]func() error{
			"create": func() error { _, err := s.Create(t.Context(), "/x", nil, Persistent); return err },
			"get":    func() error { _, err := s.Get(t.Context(), "/x"); return err },
			"multi": func() error {
				_, err := s.Multi(t.Context(), CheckOp{Path: "/x", Version: AnyVersion})
				return err
			},
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, zk.ErrNoNode) || !strings.Contains(err.Error(), "chroot /app does not exist") || OutcomeOf(err) != Failed {
				t.Errorf("%s without the chroot: got %v (%v), want %v with the chroot's name (%v)",
					name, err, OutcomeOf(err), zk.ErrNoNode, Failed)
			}
		}
		_, err := owner.Create(t.Context(), "/app", nil, Persistent)
		must(t, err)
		must(t, s.Sync(t.Context(), "/"))
		requests.Store(0)
		for range 10 {
			if err := calls["get"](); !errors.Is(err, zk.ErrNoNode) || strings.Contains(err.Error(), "chroot") {
				t.Errorf("with the chroot: got %v, want an error that does not mention the chroot", err)
			}
		}
		if n := requests.Load(); n != 11 {
			t.Errorf("10 calls sent %d requests, want 11", n)
		}
	})
}

// DeleteAll deletes many children with each request. Regression: it deleted 10,000 children one by
// one, in 18 s.
func TestDeleteAllSendsFewRequests(t *testing.T) {
	const n = 600
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var requests atomic.Int32
		opts := on(e)
		opts.Metrics.Request = func(string, time.Duration, error) { requests.Add(1) }
		s, other := open(t, opts), open(t, on(e))
		defer s.Close()
		defer other.Close()
		fill := func(every int) {
			ops := []Op{CreateOp{Path: "/d"}}
			for i := range n {
				path := fmt.Sprintf("/d/%s-%04d", strings.Repeat("n", 100), i)
				if ops = append(ops, CreateOp{Path: path}); every > 0 && i%every == 0 {
					ops = append(ops, CreateOp{Path: path + "/deep"}, CreateOp{Path: path + "/deep/er"})
				}
			}
			_, err := s.Multi(t.Context(), ops...)
			must(t, err)
			requests.Store(0)
		}
		gone := func(what string, most int32) {
			t.Helper()
			if got := requests.Load(); got > most {
				t.Errorf("%s: got %d requests, want at most %d", what, got, most)
			}
			if stat, err := s.Exists(t.Context(), "/d"); err != nil || stat != nil {
				t.Errorf("%s: after DeleteAll: got %+v, %v; want no znode", what, stat, err)
			}
		}
		fill(0)
		must(t, s.DeleteAll(t.Context(), "/d"))
		gone("leaves", 10)

		fill(1) // each child has children, so each needs about three requests
		must(t, s.DeleteAll(t.Context(), "/d"))
		gone("nested", 10*n)

		fill(100)
		must(t, s.DeleteAll(t.Context(), "/d"))
		gone("mixed", 500)

		// Replies are lost, and another client deletes too. That client gets its list of the
		// children late, so that it does not delete all of them before the first reply is lost.
		fill(0)
		e.Inject(zktest.Rule{Session: other.ID(), Op: "getChildren2", Count: 1, Fate: zktest.DelayReply, Delay: time.Millisecond})
		lost := e.Inject(zktest.Rule{Session: s.ID(), Op: "multi", Count: 2, Fate: zktest.CloseBeforeReply})
		racing := make(chan error, 1)
		go func() { racing <- other.DeleteAll(t.Context(), "/d") }()
		must(t, s.DeleteAll(t.Context(), "/d"))
		must(t, <-racing)
		if lost.Fired() == 0 { // one is enough, because the other client may delete most children
			t.Error("no reply was lost, so the test proved nothing")
		}
		gone("racing", 3000)
	})
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.MaxRequest = 2000 // fewer deletions fit into one request
		s := open(t, opts)
		defer s.Close()
		for i := range 50 {
			path := fmt.Sprintf("/d/%s-%04d", strings.Repeat("n", 500), i)
			makeParents(t, s, path)
			_, err := s.Create(t.Context(), path, nil, Persistent)
			must(t, err)
		}
		must(t, s.DeleteAll(t.Context(), "/d"))
		if stat, err := s.Exists(t.Context(), "/d"); err != nil || stat != nil {
			t.Errorf("after DeleteAll: got %+v, %v; want no znode", stat, err)
		}
	})
}
