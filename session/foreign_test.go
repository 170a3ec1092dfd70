package session

import (
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// On a server that is not ZooKeeper, nothing is granted unless UnsafeAnyServer is set. ClickHouse
// Keeper, for example, gives sessions no password and cannot resume them: each connection begins a
// new session (ClickHouse#116690), and the old session lives on until its timeout. The proof of the
// lease does not apply to such a server.
func TestNothingIsHeldOnAServerThatIsNotZooKeeper(t *testing.T) {
	for _, c := range []struct {
		noResume, anyServer bool
		want                error
	}{{false, false, nil}, {true, false, ErrNotZooKeeper}, {true, true, nil}} {
		inBubble(t, zktest.Options{NoResume: c.noResume}, func(t *testing.T, e *zktest.Ensemble) {
			opts := on(e)
			opts.UnsafeAnyServer = c.anyServer
			s := open(t, opts)
			defer s.Close()
			node, err := own(t.Context(), s, "/")
			must(t, err)
			h := s.keeper.begin(node)
			defer h.End(errReleased)
			if got := h.Grant(t.Context()); !errors.Is(got, c.want) {
				t.Errorf("no resume %v, any server %v: Grant: got %v, want %v",
					c.noResume, c.anyServer, got, c.want)
			}
			if ended := h.Context().Err() != nil; ended != (c.want != nil) {
				t.Errorf("no resume %v, any server %v: the hold has ended: got %v, want it to end only if it is not granted", c.noResume, c.anyServer, ended)
			}
		})
	}
}

// On a server such as ClickHouse Keeper, a session is lost when its connection ends, because such a
// server cannot resume sessions. The server does not report the loss. The program can open a new
// session, in which everything works except holds. The ephemeral znodes of the lost session remain
// until the timeout of that session.
func TestASessionThatIsNotResumedIsLost(t *testing.T) {
	inBubble(t, zktest.Options{NoResume: true}, func(t *testing.T, e *zktest.Ensemble) {
		server := follower(e)
		s := open(t, on(e, server))
		_, err := s.Create(t.Context(), "/e", nil, Ephemeral)
		must(t, err)
		e.Kill(server)
		e.Start(server)
		select {
		case <-s.Done():
		case <-time.After(time.Minute):
			t.Fatal("the session continues as another one, want it to end")
		}
		if !errors.Is(s.Err(), ErrLost) {
			t.Errorf("the session ended with %v, want %v", s.Err(), ErrLost)
		}
		s.Close()
		again := open(t, on(e, server))
		defer again.Close()
		stat, err := again.Exists(t.Context(), "/e")
		must(t, err)
		if stat == nil || stat.EphemeralOwner == again.ID() {
			t.Errorf("the old session's znode: got %+v, want it to be there until the timeout",
				stat)
		}
	})
}
