package session

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

func TestMembersOfAConfiguration(t *testing.T) {
	for _, one := range []struct {
		config string
		want   []string
	}{
		{"server.1=zoo1:2888:3888:participant;zoo1:2181\nserver.2=zoo2:2888:3888:observer;10.0.0.2:2182\nversion=100000002",
			[]string{"zoo1:2181", "10.0.0.2:2182"}},
		{"server.1=zoo1:2888:3888:participant;0.0.0.0:2181", []string{"zoo1:2181"}},
		{"server.1=zoo1:2888:3888:participant;2181", []string{"zoo1:2181"}},
		{"server.1=[fd00::1]:2888:3888:participant;[::]:2181", []string{"[fd00::1]:2181"}},
		{"server.1=[fd00::1]:2888:3888:participant;[fd00::2]:2181", []string{"[fd00::2]:2181"}},
		{"server.1=a:2888:3888|b:2888:3888:participant;0.0.0.0:2181", []string{"a:2181"}},
		{"server.1=zoo1:2888:3888:participant;zoo1:2181\nserver.2=zoo2:2888:3888:participant", nil}, // clientPort is set separately
		{"server.1=zoo1:2888:3888:participant;zoo1:x", nil},
		{"", nil},
	} {
		if got := members(one.config); !slices.Equal(got, one.want) {
			t.Errorf("%q: got %q, want %q", one.config, got, one.want)
		}
	}
}

// A session that was given one server survives the end of that server, but only with FollowMembers.
// The znode with the list of servers is outside of the session's chroot.
func TestSessionFollowsTheMembers(t *testing.T) {
	for _, follow := range []bool{true, false} {
		inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
			admin := open(t, on(e))
			defer admin.Close()
			_, err := admin.Create(t.Context(), "/app", nil, Persistent)
			must(t, err)
			must(t, admin.Sync(t.Context(), "/"))
			opts := on(e, 0)
			opts.FollowMembers, opts.Chroot = follow, "/app"
			s := open(t, opts)
			defer s.Close()
			time.Sleep(time.Second)
			e.Kill(0)
			time.Sleep(time.Minute)
			if connected := s.Server() != ""; connected != follow {
				t.Errorf("with FollowMembers %t: connected is %t, want %t", follow, connected, follow)
			}
			synctest.Wait()
		})
	}
}

// A session with FollowMembers connects to the servers in a list that the servers publish. If it
// can reach none of them, it also tries the servers of Options.Servers again.
func TestGivenServersAreTriedAgain(t *testing.T) {
	h := newServers([]string{"given:1"}, cryptoRand{}, newReporter(nil))
	first := h.follow([]string{"new:1", "new:2"})
	again := h.follow([]string{"new:2", "new:1"})
	if !first || again {
		t.Errorf("the list changed: got %v, then in another order %v; want true, false",
			first, again)
	}
	turns := func() (seen []string) {
		for range 3 {
			server, _ := h.Next()
			seen = append(seen, server)
		}
		return slices.Compact(slices.Sorted(slices.Values(seen)))
	}
	if got, want := turns(), []string{"new:1", "new:2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	h.notReached("new:1", 1, errNoAnswer)
	h.notReached("new:2", 1, errNoAnswer)
	if got, want := turns(), []string{"given:1", "new:1", "new:2"}; !slices.Equal(got, want) {
		t.Errorf("after a round without an answer: got %q, want %q", got, want)
	}
}
