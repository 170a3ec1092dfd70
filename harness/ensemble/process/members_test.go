package process

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/session"
)

func TestMembersLeaveAndJoin(t *testing.T) {
	needJava(t)
	e, err := Start(t.Context(), Options{Dir: t.TempDir(), Config: ensembletest.MembersConfig})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Members(t, e)
}

func TestMembersNeedTheirConfiguration(t *testing.T) {
	e := &Ensemble{nodes: []*node{{}}}
	if err := e.SetRole(t.Context(), 0, ensemble.Removed); !errors.Is(err, ensemble.ErrUnable) {
		t.Errorf("got %v, want %v", err, ensemble.ErrUnable)
	}
}

// A session with FollowMembers learns the addresses of servers that join. In this test the session
// is given one server. Another server joins, and the given server is removed and killed. The
// session stays alive.
func TestSessionFollowsTheMembersReal(t *testing.T) {
	needJava(t)
	e, err := Start(t.Context(), Options{Dir: t.TempDir(), Config: ensemble.Config{Members: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leader, err := e.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, second := (leader+1)%3, (leader+2)%3
	if err := e.SetRole(ctx, second, ensemble.Removed); err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(ctx, session.Options{Servers: []string{e.nodes[first].clientAddress()}, Timeout: 10 * time.Second, FollowMembers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	id := s.ID()
	err = errors.Join(e.SetRole(ctx, second, ensemble.Participant), e.SetRole(ctx, first, ensemble.Removed))
	if err == nil {
		err = s.Sync(ctx, "/") // when Sync returns, the watch on the members has fired
	}
	if err := errors.Join(err, e.Kill(ctx, first)); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx, "/"); err != nil || s.ID() != id {
		t.Errorf("after the end of the first server: got error %v, session %#x; want no error, "+
			"session %#x", err, s.ID(), id)
	}
	if at := s.Server(); at != e.nodes[second].clientAddress() && at != e.nodes[leader].clientAddress() {
		t.Errorf("got a connection to %q, want %q or %q",
			at, e.nodes[second].clientAddress(), e.nodes[leader].clientAddress())
	}
}
