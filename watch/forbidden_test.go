package watch_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

// A znode that the client may not read is left out of a tree. It is tried again when its parent's
// children change. Regression: a tree with such a znode could not be watched at all.
func TestForbiddenZnodeIsLeftOut(t *testing.T) {
	e := zktest.Start(t)
	open := func(auth ...session.Auth) *session.Session {
		s, err := session.Open(t.Context(), session.Options{Servers: e.Servers(), Dial: e.DialContext, Auth: auth})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	admin, s := open(session.Auth{Scheme: "digest", Data: []byte("admin:secret")}), open()
	create := func(path string, acl []zk.ACL) {
		t.Helper()
		if _, err := admin.CreateACL(t.Context(), path, nil, session.Persistent, acl); err != nil {
			t.Fatal(err)
		}
	}
	everybody, nobody := zk.WorldACL(zk.PermAll), zk.DigestACL(zk.PermAll, "admin", "secret")
	create("/org", everybody)
	create("/org/a", everybody)
	create("/org/b", nobody)
	create("/org/b/x", everybody)

	for _, err := range watch.NewTree("/org", watch.TreeOptions{}).Changes(t.Context(), s) {
		if !errors.Is(err, zk.ErrNoAuth) {
			t.Errorf("without Forbidden: got error %v, want ErrNoAuth", err)
		}
		break
	}

	forbidden := make(chan string, 10)
	var seen []string
	for c, err := range watch.NewTree("/org", watch.TreeOptions{Forbidden: func(path string) { forbidden <- path }}).Changes(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range c.Changes {
			seen = append(seen, one.Path)
		}
		if seen[len(seen)-1] == "/org/a" {
			if err := admin.SetACL(t.Context(), "/org/b", everybody, session.AnyVersion); err != nil {
				t.Fatal(err)
			}
			create("/org/c", everybody)
			continue
		}
		break
	}
	if want := []string{"/org", "/org/a", "/org/b", "/org/b/x", "/org/c"}; !slices.Equal(seen, want) {
		t.Errorf("got the paths %q, want %q", seen, want)
	}
	if path := <-forbidden; path != "/org/b" || len(forbidden) > 0 {
		t.Errorf("Forbidden was called with %s and %d more times, want once with /org/b", path, len(forbidden))
	}

	for _, err := range watch.NewTree("/org", watch.TreeOptions{Forbidden: func(string) {}}).Changes(t.Context(), open()) {
		if err != nil {
			t.Errorf("with Forbidden, without a credential: got error %v, want a change", err)
		}
		break
	}
	if err := admin.SetACL(t.Context(), "/org", nobody, session.AnyVersion); err != nil {
		t.Fatal(err)
	}
	for _, err := range watch.NewTree("/org", watch.TreeOptions{Forbidden: func(string) {}}).Changes(t.Context(), open()) {
		if !errors.Is(err, zk.ErrNoAuth) {
			t.Errorf("for a root that may not be read: got %v, want ErrNoAuth", err)
		}
		break
	}
}

// In this test, a client loses the permission to read a znode for a while. A first child is created
// during that time. For this creation, the server sends no event, and it removes the watch on the
// znode's children. A second child is created when the client has the permission again. The watch
// no longer exists, so the stream misses both children. A new stream on the same session reports
// both.
func TestNewStreamSeesWhatWasForbidden(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/org", "+/org/a")
		admin := w.open(session.Options{
			Servers: w.Servers(), Dial: w.DialContext, Auth: []session.Auth{{Scheme: "digest", Data: []byte("admin:secret")}},
		})
		allow := func(acl []zk.ACL) { w.must(admin.SetACL(t.Context(), "/org/a", acl, session.AnyVersion)) }
		create := func(path string) {
			_, err := admin.Create(t.Context(), path, nil, session.Persistent)
			w.must(err)
		}
		tree := watch.NewTree("/org", watch.TreeOptions{Forbidden: func(string) {}})
		ctx, stop := context.WithCancel(t.Context())
		f := listen(t, tree.Changes(ctx, w.s))
		expect(t, sayTree(f.next()), "initial /org=, initial /org/a=")
		allow(zk.DigestACL(zk.PermAll, "admin", "secret"))
		create("/org/a/x")
		allow(zk.WorldACL(zk.PermAll))
		create("/org/a/y")
		f.none()
		stop()
		f.end()
		again := listen(t, tree.Changes(t.Context(), w.s))
		expect(t, sayTree(again.next()), "created /org/a/x=, created /org/a/y=")
		create("/org/a/z")
		expect(t, sayTree(again.next()), "created /org/a/z=")
		w.s.Close()
		again.end()
	})
}
