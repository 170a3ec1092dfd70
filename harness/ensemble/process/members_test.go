package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/session"
)

func TestMembersLeaveAndJoin(t *testing.T) {
	needJava(t)
	e, err := Start(t.Context(), Options{Dir: t.TempDir(), Config: ensemble.Config{Nodes: 4, Observers: 1, Members: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want := func(what string, want ...ensemble.Role) {
		t.Helper()
		got, version, err := e.Roles(ctx)
		if err != nil || !slices.Equal(got, want) || version == "" {
			t.Errorf("%s: got roles %v of version %q, %v; want %v", what, got, version, err, want)
		}
	}
	const p, o, none = ensemble.Participant, ensemble.Observer, ensemble.Removed
	want("at the start", p, p, p, o)
	leader, err := e.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	follower := (leader + 1) % 3
	roles := []ensemble.Role{p, p, p, o}
	for _, step := range []struct {
		node int
		role ensemble.Role
	}{{follower, none}, {follower, o}, {3, p}, {follower, p}, {leader, none}, {leader, p}} {
		began := time.Now()
		if err := e.SetRole(ctx, step.node, step.role); err != nil {
			t.Fatal(err)
		}
		roles[step.node] = step.role
		want(fmt.Sprintf("after node %d became %s", step.node, step.role), roles...)
		t.Logf("node %d became %s in %v", step.node, step.role, time.Since(began))
	}
	// A node that lost its data and its configuration joins again.
	if err := errors.Join(e.SetRole(ctx, follower, none), e.Kill(ctx, follower), e.Wipe(ctx, follower), e.Start(ctx, follower), e.SetRole(ctx, follower, p)); err != nil {
		t.Fatal(err)
	}
	want("after a replacement", roles...)
	if err := e.Ready(ctx); err != nil {
		t.Error(err)
	}
}

func TestMembersNeedTheirConfiguration(t *testing.T) {
	e := &Ensemble{nodes: []*node{{}}}
	if err := e.SetRole(t.Context(), 0, ensemble.Removed); !errors.Is(err, ensemble.ErrUnable) {
		t.Errorf("got %v, want %v", err, ensemble.ErrUnable)
	}
}

// A session that was given one server follows the members: it stays alive after that server was
// removed and has ended, and another server has joined.
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
		err = s.Sync(ctx, "/") // the watch has fired before
	}
	if err := errors.Join(err, e.Kill(ctx, first)); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx, "/"); err != nil || s.ID() != id {
		t.Errorf("after the end of the first server: got %v, session %x; want session %x", err, s.ID(), id)
	}
	if at := s.Server(); at != e.nodes[second].clientAddress() && at != e.nodes[leader].clientAddress() {
		t.Errorf("connected to %q, want node %d or %d", at, second, leader)
	}
}
