package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/zktest"
)

// OutcomeOf returns Failed only for errors which prove that the request was not applied.
//
// Covers S4.
func TestOutcomeOfEveryError(t *testing.T) {
	connection := &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	for _, test := range []struct {
		err  error
		want Outcome
	}{
		{nil, OK},
		{zk.ErrNoNode, Failed}, {zk.ErrNodeExists, Failed}, {zk.ErrBadVersion, Failed}, {zk.ErrNotEmpty, Failed},
		{zk.ErrNoChildrenForEphemerals, Failed}, {zk.ErrNoAuth, Failed}, {zk.ErrInvalidACL, Failed},
		{zk.ErrAuthFailed, Failed}, {zk.ErrSessionMoved, Failed}, {zk.ErrBadArguments, Failed},
		{zk.ErrReconfigDisabled, Failed}, {zk.ErrNoServer, Failed}, {zk.ErrInvalidPath, Failed},
		{zk.ErrInvalidFlags, Failed}, {ErrTooLarge, Failed},
		{ErrQuota, Failed}, {ErrThrottled, Failed}, {ErrReadOnly, Failed}, {ErrUnimplemented, Failed}, {ErrAuthRequired, Failed},
		{&MultiError{1, "/a", ErrUnknown}, Failed},

		{zk.ErrConnectionClosed, Indeterminate}, {zk.ErrSessionExpired, Indeterminate}, {zk.ErrClosing, Indeterminate},
		{zk.ErrAPIError, Indeterminate}, {zk.ErrNothing, Indeterminate}, {zk.ErrUnknown, Indeterminate},
		{zk.ErrUnhandledFieldType, Indeterminate}, {zk.ErrPtrExpected, Indeterminate}, {zk.ErrShortBuffer, Indeterminate},
		{connection, Indeterminate}, {io.EOF, Indeterminate}, {context.Canceled, Indeterminate},
		{ErrUnknown, Indeterminate}, {ErrLost, Indeterminate}, {ErrClosed, Indeterminate}, {errBroken, Indeterminate},

		{unsent("create", "/a", zk.ErrConnectionClosed), Failed},
		{ended("create", "/a", zk.ErrNoNode), Indeterminate},
		{answered("create", "/a", zk.ErrNoNode), Failed},
		{fmt.Errorf("lock: %w", answered("create", "/a", zk.ErrConnectionClosed)), Indeterminate},
		{fmt.Errorf("wrapped: %w", zk.ErrNodeExists), Failed},
	} {
		if got := OutcomeOf(test.err); got != test.want {
			t.Errorf("OutcomeOf(%v): got %v, want %v", test.err, got, test.want)
		}
	}
	if s := OK.String() + " " + Failed.String() + " " + Indeterminate.String(); s != "ok fail info" {
		t.Errorf("names of the outcomes: got %s, want ok fail info", s)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opts := range map[string]Options{
		"no servers":       {},
		"empty server":     {Servers: []string{""}},
		"no host":          {Servers: []string{":2181"}},
		"no port":          {Servers: []string{"a:"}},
		"two ports":        {Servers: []string{"a:1:2"}},
		"short timeout":    {Servers: []string{"a"}, Timeout: time.Millisecond},
		"negative timeout": {Servers: []string{"a"}, Timeout: -time.Second},
		"long timeout":     {Servers: []string{"a"}, Timeout: 1000 * time.Hour},
		"chroot":           {Servers: []string{"a"}, Chroot: "a"},
		"chroot name":      {Servers: []string{"a"}, Chroot: "/a/../b"},
		"tick":             {Servers: []string{"a"}, TickTime: -1},
		"request":          {Servers: []string{"a"}, MaxRequest: -1},
	} {
		if _, err := Open(t.Context(), opts); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Open: got %v, want %v", name, err, ErrInvalid)
		}
		if err := Run(t.Context(), opts, nil); !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), "session: ") {
			t.Errorf("%s: Run: got %v, want %v", name, err, ErrInvalid)
		}
	}
	opts := Options{Servers: []string{"a", "[::1]:3"}, Chroot: "/b/"}
	must(t, opts.complete())
	if want := []string{"a:2181", "[::1]:3"}; !slices.Equal(opts.Servers, want) || opts.Chroot != "/b" || opts.Timeout != 10*time.Second {
		t.Errorf("completed options: got %+v, want the servers a:2181 and [::1]:3, the chroot /b and the timeout 10 s", opts)
	}
	for _, root := range []string{"/", "//"} {
		opts := Options{Servers: []string{"a"}, Chroot: root}
		if err := opts.complete(); (err == nil) != (root == "/") || err == nil && opts.Chroot != "" {
			t.Errorf("chroot %q: got %q, %v; want \"\" for the root and an error for all others", root, opts.Chroot, err)
		}
	}
	opts = Options{Servers: []string{"a"}, Chroot: "app"}
	if err := opts.complete(); err == nil || !strings.Contains(err.Error(), `"app"`) {
		t.Errorf("got %v, want an error that quotes the chroot", err)
	}
}

func TestEveryRequest(t *testing.T) {
	inBubble(t, zktest.Options{TTLNodes: true}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ctx := t.Context()
		path, err := s.Create(ctx, "/a", []byte("1"), Persistent)
		must(t, err)
		value, err := s.Get(ctx, path)
		must(t, err)
		if string(value.Data) != "1" || value.Stat.Version != 0 {
			t.Errorf("Get: got %q in version %d, want \"1\" in version 0",
				value.Data, value.Stat.Version)
		}
		stat, err := s.Set(ctx, path, []byte("22"), 0)
		must(t, err)
		if stat.Version != 1 || stat.DataLength != 2 {
			t.Errorf("Set: got %+v, want version 1 and 2 bytes", stat)
		}
		if _, err := s.Set(ctx, path, nil, 0); !errors.Is(err, zk.ErrBadVersion) || OutcomeOf(err) != Failed {
			t.Errorf("Set of an old version: got %v (%v), want %v (%v)",
				err, OutcomeOf(err), zk.ErrBadVersion, Failed)
		}
		for mode, prefix := range map[Mode]string{
			Ephemeral: "/a/e", EphemeralSequential: "/a/es-", PersistentSequential: "/a/", Container: "/a/c",
		} {
			made, err := s.Create(ctx, prefix, nil, mode)
			if err != nil || !strings.HasPrefix(made, prefix) {
				t.Errorf("Create with mode %d: got %q, %v; want the prefix %q", mode, made, err, prefix)
			}
		}
		for _, sequential := range []bool{false, true} {
			for _, ttl := range []time.Duration{-time.Second, 0, time.Microsecond, math.MaxInt64} {
				if _, err := s.CreateTTL(ctx, "/a/t", nil, ttl, sequential); !errors.Is(err, ErrInvalid) || OutcomeOf(err) != Failed {
					t.Errorf("CreateTTL for %v: got %v (%v), want %v (%v)", ttl, err, OutcomeOf(err), ErrInvalid, Failed)
				}
			}
			if made, err := s.CreateTTL(ctx, "/a/t", nil, time.Minute, sequential); err != nil || (made == "/a/t") == sequential {
				t.Errorf("CreateTTL: got %q, %v; want a number after the path only if it is sequential", made, err)
			}
		}
		listing, err := s.Children(ctx, "/a")
		must(t, err)
		if len(listing.Names) != 6 || listing.Stat.NumChildren != 6 {
			t.Errorf("Children: got %v, want 6 names", listing.Names)
		}
		if err := s.Delete(ctx, "/a", AnyVersion); !errors.Is(err, zk.ErrNotEmpty) {
			t.Errorf("Delete of a parent: got %v, want %v", err, zk.ErrNotEmpty)
		}
		makeParents(t, s, "/a/c/d/e/f")
		must(t, s.DeleteAll(ctx, "/a"))
		must(t, s.DeleteAll(ctx, "/a"))
		if stat, err := s.Exists(ctx, "/a"); stat != nil || err != nil {
			t.Errorf("Exists after the deletion: got %+v, %v; want no znode", stat, err)
		}
		must(t, s.Sync(ctx, "/"))
		if path, err := s.Create(ctx, "/x/y", nil, Persistent); path != "" || OutcomeOf(err) != Failed {
			t.Errorf("Create without a parent: got %q, %v (%v); want no path (%v)",
				path, err, OutcomeOf(err), Failed)
		}
	})
}

func TestMultiAppliesAllOrNothing(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ctx := t.Context()
		results, err := s.Multi(ctx, CreateOp{Path: "/m"}, SetOp{"/m", []byte("x"), 0}, CheckOp{"/m", 1},
			CreateOp{Path: "/m/a-", Mode: EphemeralSequential}, CreateOp{Path: "/m/b"}, DeleteOp{"/m/b", AnyVersion})
		must(t, err)
		if results[0].Path != "/m" || results[1].Path != "" || results[1].Stat.Version != 1 || results[3].Path != "/m/a-0000000000" {
			t.Errorf("results: got paths %q, %q and %q, stat %+v; want /m, none and /m/a-0000000000, version 1", results[0].Path, results[1].Path, results[3].Path, results[1].Stat)
		}
		_, err = s.Multi(ctx, SetOp{"/m", nil, AnyVersion}, CheckOp{"/m", 7}, DeleteOp{"/none", 0})
		if failed := (*MultiError)(nil); !errors.As(err, &failed) || failed.Index != 1 || failed.Path != "/m" ||
			!errors.Is(err, zk.ErrBadVersion) || OutcomeOf(err) != Failed {
			t.Errorf("Multi: got %v, want %v of part 1 on /m (%v)", err, zk.ErrBadVersion, Failed)
		}
		if value, err := s.Get(ctx, "/m"); err != nil || string(value.Data) != "x" {
			t.Errorf("after a failed Multi: got the data %q, %v; want the old data \"x\"",
				value.Data, err)
		}
		if _, err := s.Multi(ctx); err != nil {
			t.Errorf("empty Multi: got %v, want no error", err)
		}
		for _, op := range []Op{CreateOp{Path: "/c", Mode: Container}, CreateOp{Path: "/c", Mode: 5}, CreateOp{Path: "c"}, CheckOp{}} {
			if _, err := s.Multi(ctx, CheckOp{"/m", AnyVersion}, op); !errors.Is(err, ErrInvalid) || OutcomeOf(err) != Failed {
				t.Errorf("Multi with %+v: got %v (%v), want %v (%v)",
					op, err, OutcomeOf(err), ErrInvalid, Failed)
			}
		}
	})
}

func TestTooLargeIsRefusedUnsent(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		must(t, func() error {
			s := open(t, on(e))
			defer s.Close()
			_, err := s.Create(t.Context(), "/long-chroot-name", nil, Persistent)
			return err
		}())
		opts := on(e)
		opts.Chroot = "/long-chroot-name"
		s := open(t, opts)
		defer s.Close()
		ctx, big := t.Context(), make([]byte, 1<<20)
		counter := e.Inject(zktest.Rule{Session: s.ID(), Count: -1, Fate: zktest.DelayRequest})
		_, create := s.Create(ctx, "/a", big, Persistent)
		_, set := s.Set(ctx, "/a", big, 0)
		_, acl := s.CreateACL(ctx, "/a", nil, Persistent, []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: string(big)}})
		var many []Op
		for range 30_000 {
			many = append(many, CheckOp{"/0123", 0})
		}
		_, multi := s.Multi(ctx, many...)
		fits := s.fits(many...)
		must(t, s.fits(many[0]))
		for name, err := range map[string]error{"create": create, "acl": acl, "set": set, "multi": multi, "fits": fits} {
			if !errors.Is(err, ErrTooLarge) || OutcomeOf(err) != Failed {
				t.Errorf("%s: got %v (%v), want %v (%v)",
					name, err, OutcomeOf(err), ErrTooLarge, Failed)
			}
		}
		if n := counter.Fired(); n != 0 {
			t.Errorf("got %d requests sent, want none", n)
		}
		_, err := s.Create(ctx, "/a", make([]byte, 1<<20-1<<11), Persistent)
		must(t, err)
	})
}

// Each kind of request returns when its context ends. If the request was not sent, its outcome is
// Failed. If it was sent and not answered, its outcome is Indeterminate.
//
// Covers S5.
func TestRequestsEndWithTheirContext(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		opts.Abandon = time.Hour
		s := open(t, opts)
		defer s.Close()
		makeParents(t, s, "/a/b")
		requests := map[string]func(context.Context) error{
			"create":    func(ctx context.Context) error { _, err := s.Create(ctx, "/a/x", nil, Persistent); return err },
			"exists":    func(ctx context.Context) error { _, err := s.Exists(ctx, "/a"); return err },
			"existsW":   func(ctx context.Context) error { _, _, err := s.ExistsWatch(ctx, "/a"); return err },
			"get":       func(ctx context.Context) error { _, err := s.Get(ctx, "/a"); return err },
			"getW":      func(ctx context.Context) error { _, _, err := s.GetWatch(ctx, "/a"); return err },
			"children":  func(ctx context.Context) error { _, err := s.Children(ctx, "/a"); return err },
			"childrenW": func(ctx context.Context) error { _, _, err := s.ChildrenWatch(ctx, "/a"); return err },
			"set":       func(ctx context.Context) error { _, err := s.Set(ctx, "/a", nil, 0); return err },
			"delete":    func(ctx context.Context) error { return s.Delete(ctx, "/a", 0) },
			"deleteAll": func(ctx context.Context) error { return s.DeleteAll(ctx, "/a") },
			"multi":     func(ctx context.Context) error { _, err := s.Multi(ctx, CheckOp{"/a", 0}); return err },
			"sync":      func(ctx context.Context) error { return s.Sync(ctx, "/a") },
			"getACL":    func(ctx context.Context) error { _, err := s.GetACL(ctx, "/a"); return err },
			"setACL":    func(ctx context.Context) error { return s.SetACL(ctx, "/a", zk.WorldACL(zk.PermAll), 0) },
			"ttl": func(ctx context.Context) error {
				_, err := s.CreateTTL(ctx, "/a/t", nil, time.Minute, false)
				return err
			},
		}
		before := mntr(t, e, "znode_count")
		try := func(when string, sent bool) {
			why := errors.New("enough")
			for name, request := range requests {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
				start := time.Now()
				err := request(ctx)
				cancel()
				// If sent is true, the servers delay all replies by a minute, and the connection is
				// closed after some time. Then the error can be zk.ErrConnectionClosed.
				if d := time.Since(start); d > time.Second || !errors.Is(err, why) && !(sent && errors.Is(err, zk.ErrConnectionClosed)) {
					t.Errorf("%s: %s: got %v after %v, want %v within 1 s", when, name, err, d, why)
				}
				if want := map[bool]Outcome{false: Failed, true: Indeterminate}[sent]; OutcomeOf(err) != want {
					t.Errorf("%s: %s: got the outcome %v, want %v", when, name, OutcomeOf(err), want)
				}
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, request := range requests {
			if err := request(ended); !errors.Is(err, context.Canceled) || OutcomeOf(err) != Failed {
				t.Errorf("%s with an ended context: got %v (%v), want %v (%v)",
					name, err, OutcomeOf(err), context.Canceled, Failed)
			}
		}
		for i := range e.Servers() {
			e.Kill(i)
		}
		synctest.Wait()
		try("disconnected", false)
		for i := range e.Servers() {
			e.Start(i)
		}
		time.Sleep(5 * time.Second)
		must(t, s.Sync(t.Context(), "/"))
		if after := mntr(t, e, "znode_count"); after != before {
			t.Errorf("the number of znodes changed from %d to %d, want no change because nothing was sent",
				before, after)
		}
		injection := e.Inject(zktest.Rule{Count: -1, Fate: zktest.DelayReply, Delay: time.Minute})
		try("held", true)
		injection.Remove()
	})
}

// A caller that has given up a request is allowed to change the buffer that it passed to the
// request. The client might encode the request later, so the client gets a copy of the buffer. The
// abandoned request is never written, neither with the old data nor with the new.
//
// Covers S5.
func TestBufferOfAnAbandonedCallIsReusable(t *testing.T) {
	writes := map[string]func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error{
		"create": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.Create(ctx, "/made", data, Persistent)
			return err
		},
		"ttl": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.CreateTTL(ctx, "/made", data, time.Hour, false)
			return err
		},
		"set": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.Set(ctx, "/", data, AnyVersion)
			return err
		},
		"multi": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.Multi(ctx, SetOp{Path: "/", Data: data, Version: AnyVersion}, CreateOp{Path: "/made", Data: data})
			return err
		},
		"acl": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			return s.SetACL(ctx, "/", acl, AnyVersion)
		},
		"create with an ACL": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.CreateACL(ctx, "/made", nil, Persistent, acl)
			return err
		},
		"multi with an ACL": func(ctx context.Context, s *Session, data []byte, acl []zk.ACL) error {
			_, err := s.Multi(ctx, CreateOp{Path: "/made", ACL: acl})
			return err
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
				opts := on(e)
				stuck := &stuckConn{}
				opts.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
					stuck.Conn, err = e.DialContext(ctx, network, address)
					return stuck, err
				}
				s := open(t, opts)
				defer s.Close()

				goOn := make(chan struct{})
				stuck.until.Store(&goOn)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				go s.Exists(ctx, "/") // later requests wait behind this one, and are not encoded
				synctest.Wait()
				data := []byte("before")
				acl := []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "before:"}}
				if err := write(ctx, s, data, acl); err == nil {
					t.Fatal("the write succeeded, want it to be blocked")
				}
				copy(data, "after!")
				acl[0].ID = "after!:"
				close(goOn)
				catchUp(t, s)
				stuck.mu.Lock()
				defer stuck.mu.Unlock()
				if bytes.Contains(stuck.sent, []byte("before")) || bytes.Contains(stuck.sent, []byte("after!")) {
					t.Errorf("sent %q, want neither the old nor the new data", stuck.sent)
				}
			})
		})
	}
}

// A stuckConn accepts no data until its channel is closed, and records the data that it accepted.
type stuckConn struct {
	net.Conn
	until atomic.Pointer[chan struct{}]

	mu   sync.Mutex
	sent []byte
}

func (c *stuckConn) Write(p []byte) (int, error) {
	if until := c.until.Load(); until != nil {
		<-*until
	}
	c.mu.Lock()
	c.sent = append(c.sent, p...)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func TestWriteWhoseReplyIsLostIsIndeterminate(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		ctx := t.Context()
		for fate, applied := range map[zktest.Fate]bool{zktest.CloseBeforeReply: true, zktest.CloseBeforeRequest: false} {
			e.Inject(zktest.Rule{Op: "create", Fate: fate})
			if _, err := s.Create(ctx, "/a", nil, Persistent); OutcomeOf(err) != Indeterminate {
				t.Errorf("fate %d: Create: got %v (%v), want an error (%v)",
					fate, err, OutcomeOf(err), Indeterminate)
			}
			must(t, s.Sync(ctx, "/"))
			if stat, err := s.Exists(ctx, "/a"); err != nil || (stat != nil) != applied {
				t.Errorf("fate %d: Exists after the write: got %+v, %v; want a znode: %v",
					fate, stat, err, applied)
			}
			must(t, s.DeleteAll(ctx, "/a"))
		}
	})
}

// A read is repeated if its connection ends before the reply.
//
// Covers S5.
func TestReadsOutliveTheConnection(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		defer s.Close()
		injection := e.Inject(zktest.Rule{Op: "exists", Count: 3, Fate: zktest.CloseBeforeReply})
		stat, err := s.Exists(t.Context(), "/")
		if err != nil || stat == nil || injection.Fired() != 3 {
			t.Errorf("Exists: got %v, %v after %d failed attempts; want a znode after 3",
				stat, err, injection.Fired())
		}
	})
}

func TestChroot(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		whole := open(t, on(e))
		defer whole.Close()
		ctx := t.Context()
		_, err := whole.Create(ctx, "/app", nil, Persistent)
		must(t, err)
		opts := on(e)
		opts.Chroot = "/app/"
		s := open(t, opts)
		defer s.Close()
		if path, err := s.Create(ctx, "/application", nil, Persistent); err != nil || path != "/application" {
			t.Errorf("Create: got %q, %v; want /application", path, err)
		}
		if stat, err := whole.Exists(ctx, "/app/application"); err != nil || stat == nil {
			t.Errorf("Exists without the chroot: got %+v, %v; want a znode", stat, err)
		}
		listing, w, err := s.ChildrenWatch(ctx, "/")
		if err != nil || !slices.Equal(listing.Names, []string{"application"}) {
			t.Errorf("Children of the root: got %v, %v; want application", listing.Names, err)
		}
		node, err := own(ctx, s, "/l")
		if err != nil || !strings.HasPrefix(node.Path, "/l/") || node.Czxid == 0 {
			t.Errorf("CreateProtected: got %+v, %v; want a path below /l with a czxid", node, err)
		}
		if ev := <-w.C; ev.Path != "/" || ev.Type != zk.EventNodeChildrenChanged {
			t.Errorf("got the event %+v, want a change of the children of /", ev)
		}
		h := s.keeper.begin(node)
		must(t, h.Grant(ctx))
		time.Sleep(2 * s.Timeout())
		if err := h.Context().Err(); err != nil {
			t.Errorf("the hold has ended: %v, want it to be held", context.Cause(h.Context()))
		}
		must(t, whole.DeleteAll(ctx, "/app/l"))
		if err := cause(t, h.Context(), time.Second); err != ErrRevoked {
			t.Errorf("the hold ended with %v, want %v", err, ErrRevoked)
		}
		h.End(nil)
	})
}

// A session sends its credentials on each connection, so it can always use a znode that other
// sessions cannot read.
//
// Covers S3.
func TestACLAndDigest(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		ctx := t.Context()
		opts := on(e)
		opts.Auth = []Auth{{"digest", []byte("u:secret")}, {"digest", []byte("v:other")}}
		opts.ACL = zk.DigestACL(zk.PermAll, "u", "secret")
		s, stranger := open(t, opts), open(t, on(e))
		defer s.Close()
		defer stranger.Close()
		_, err := s.Create(ctx, "/p", []byte("x"), Persistent)
		must(t, err)
		if _, err := stranger.Get(ctx, "/p"); !errors.Is(err, zk.ErrNoAuth) || OutcomeOf(err) != Failed {
			t.Errorf("Get without the credential: got %v (%v), want %v (%v)",
				err, OutcomeOf(err), zk.ErrNoAuth, Failed)
		}
		for i := range e.Servers() { // credentials are sent on each new connection, before anything else
			for j := range e.Servers() {
				e.Start(j)
			}
			time.Sleep(5 * time.Second)
			e.Kill(i)
			if _, err := s.Get(ctx, "/p"); err != nil {
				t.Errorf("Get after server %d was killed: got %v, want no error", i, err)
			}
		}
		node, err := own(ctx, s, "/p")
		must(t, err)
		h := s.keeper.begin(node)
		defer h.End(nil)
		must(t, h.Grant(ctx))
		acl, err := s.GetACL(ctx, "/p")
		if err != nil || len(acl) != 1 || acl[0].Scheme != "digest" {
			t.Errorf("GetACL: got %v, %v; want one entry with the scheme digest", acl, err)
		}
		must(t, s.SetACL(ctx, "/p", zk.WorldACL(zk.PermAll), 0))
		if _, err := stranger.Get(ctx, "/p"); err != nil {
			t.Errorf("Get of a znode that is open to all: got %v, want no error", err)
		}
		if _, err := s.CreateACL(ctx, "/bad", nil, Persistent, zk.AuthACL(zk.PermAll)[:0]); !errors.Is(err, zk.ErrInvalidACL) {
			t.Errorf("CreateACL with an empty ACL: got %v, want %v", err, zk.ErrInvalidACL)
		}
	})
}

// mntr returns the sum of the values that the servers report for a key.
func mntr(t *testing.T, e *zktest.Ensemble, key string) (sum int) {
	t.Helper()
	for i := range e.Servers() {
		c, err := e.DialContext(t.Context(), "tcp", e.Servers()[i])
		must(t, err)
		_, err = c.Write([]byte("mntr"))
		must(t, err)
		text, _ := io.ReadAll(c)
		c.Close()
		for line := range strings.Lines(string(text)) {
			var n int
			if _, err := fmt.Sscanf(line, "zk_"+key+"\t%d", &n); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// A sequential znode at the root is created below the chroot.
func TestSequentialNodeAtTheRootStaysInTheChroot(t *testing.T) {
	inBubble(t, zktest.Options{TTLNodes: true}, func(t *testing.T, e *zktest.Ensemble) {
		all := open(t, on(e))
		defer all.Close()
		all.Create(t.Context(), "/app", nil, Persistent)
		opts := on(e)
		opts.Chroot = "/app"
		s := open(t, opts)
		defer s.Close()
		results, err := s.Multi(t.Context(), CreateOp{Path: "/", Mode: PersistentSequential})
		must(t, err)
		ttl, err := s.CreateTTL(t.Context(), "/", nil, time.Hour, true)
		must(t, err)
		plain, err := s.Create(t.Context(), "/", nil, PersistentSequential)
		if err != nil {
			t.Error(err)
		}
		if results[0].Path != "/0000000000" || ttl != "/0000000001" || plain != "/0000000002" {
			t.Errorf("created %q, %q and %q, want the numbers 0, 1 and 2 below the root", results[0].Path, ttl, plain)
		}
		listing, err := all.Children(t.Context(), "/")
		must(t, err)
		if len(listing.Names) != 2 { // including /zookeeper
			t.Errorf("znodes outside the chroot: got %v, want only the chroot and zookeeper",
				listing.Names)
		}
	})
}
