package ensembletest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// MembersConfig is the config of an ensemble for the function Members.
var MembersConfig = ensemble.Config{Nodes: 4, Observers: 1, Members: true}

// Members checks that the nodes of an ensemble with MembersConfig can leave the configuration, join
// it, and change their roles. It checks that a node that lost its data can join again, and that the
// members survive a restart of all nodes. Members closes the ensemble.
func Members(t *testing.T, e ensemble.Ensemble) {
	defer e.Close(context.Background())
	c := contract{e}
	m, killer, wiper := capability[ensemble.Members](t, c), capability[ensemble.Killer](t, c), capability[ensemble.Wiper](t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	want := func(what string, want ...ensemble.Role) {
		t.Helper()
		got, version, err := m.Roles(ctx)
		if err != nil || !slices.Equal(got, want) || version == "" {
			t.Errorf("%s: got roles %v of version %q, %v; want %v", what, got, version, err, want)
		}
	}
	const p, o, none = ensemble.Participant, ensemble.Observer, ensemble.Removed
	want("at the start", p, p, p, o)
	leader := c.leader(t)
	follower := (leader + 1) % 3
	roles := []ensemble.Role{p, p, p, o}
	for _, step := range []struct {
		node int
		role ensemble.Role
	}{{follower, none}, {follower, o}, {3, p}, {follower, p}, {leader, none}, {leader, p}} {
		began := time.Now()
		if err := m.SetRole(ctx, step.node, step.role); err != nil {
			t.Fatalf("node %d should become %s: got error %v, want none", step.node, step.role, err)
		}
		roles[step.node] = step.role
		want(fmt.Sprintf("after node %d became %s", step.node, step.role), roles...)
		t.Logf("node %d became %s in %v", step.node, step.role, time.Since(began))
	}
	// The follower is removed, and loses its data and its configuration. Then it must be able to
	// join again.
	if err := errors.Join(m.SetRole(ctx, follower, none), killer.Kill(ctx, follower), wiper.Wipe(ctx, follower), killer.Start(ctx, follower), m.SetRole(ctx, follower, p)); err != nil {
		t.Fatalf("replace node %d: got error %v, want none", follower, err)
	}
	want("after a replacement", roles...)
	// All nodes restart. Their roles must survive, even that of node 3, which was an observer at
	// the start and is a participant now.
	must(t, m.SetRole(ctx, leader, o))
	roles[leader] = o
	for node := range e.Servers() {
		must(t, killer.Kill(ctx, node))
	}
	for node := range e.Servers() {
		must(t, killer.Start(ctx, node))
	}
	want("after a restart of all nodes", roles...)
	c.ready(t)
}
