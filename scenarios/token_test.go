package scenarios

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/zkcoord/zkcoord/lock"
)

// A token costs no extra request, because it is the zxid in the reply to the create. This test
// compares tokens with the czxids that the server reports while other clients write.
//
//	go test ./scenarios -run Tokens -handover -v
//
// Covers L3.
func TestTokensAreTheCzxidsOfTheirNodes(t *testing.T) {
	e := startElectorate(t)
	const clients, rounds = 8, 100
	var all sync.WaitGroup
	for i := range clients {
		v := e.voter(5 * sessionTimeout)
		all.Go(func() {
			path := fmt.Sprintf("/tokens-%d", i%(clients/2)) // two clients at each path
			for range rounds {
				if err := compareToken(t.Context(), v, path); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d tokens compared on %s", clients*rounds, e.ens.Kind())
}

func compareToken(ctx context.Context, v *voter, path string) error {
	grant, err := lock.NewMutex(v.Session, path, lock.Options{}).Lock(ctx)
	if err != nil {
		return err
	}
	stat, err := v.Exists(ctx, grant.Path())
	switch {
	case err != nil:
	case stat == nil:
		err = fmt.Errorf("%s: got no znode, want the one with the czxid %#x", grant.Path(), int64(grant.Token()))
	case stat.Czxid != int64(grant.Token()):
		err = fmt.Errorf("%s: got token %#x, want the czxid %#x", grant.Path(), int64(grant.Token()), stat.Czxid)
	}
	if err != nil {
		grant.Unlock(ctx)
		return err
	}
	return grant.Unlock(ctx)
}
