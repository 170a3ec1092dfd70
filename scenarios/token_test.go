package scenarios

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/zkcoord/zkcoord/lock"
)

// A token costs no request of its own: it is the zxid of the reply to the
// create. Here each is compared with the czxid that the server tells, while
// others write at the same time.
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
			path := fmt.Sprintf("/tokens-%d", i%(clients/2)) // two at each
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
	if err == nil && (stat == nil || stat.Czxid != int64(grant.Token())) {
		err = fmt.Errorf("%s has the token %#x and the stat %+v", grant.Path(), grant.Token(), stat)
	}
	if err != nil {
		grant.Unlock(ctx)
		return err
	}
	return grant.Unlock(ctx)
}
