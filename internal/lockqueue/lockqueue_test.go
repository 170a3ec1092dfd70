package lockqueue

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

var errReleased = errors.New("released")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kazoo#606, #730: contenders past the end of the counter were in no order. They
// are refused before it, and past it.
func TestNumbersNearTheWrapAreRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		l := &Queue{Session: w.Client().Session, Dir: "/line", Naming: testNaming}
		for n, want := range map[int32]error{
			0: nil, 1<<31 - 1<<17: nil, 1<<31 - 2: ErrExhausted, -1 << 31: ErrExhausted, -1500000000: ErrExhausted, -1: ErrExhausted,
		} {
			name := id + "lock-" + znode.Seq(n).String()
			c := NewPlace(l.Session, recipe.Node{Path: "/line/" + name}, nil, 0)
			if _, err := l.contender(c); !errors.Is(err, want) {
				t.Errorf("%d: %v", n, err)
			}
			c.Close()
		}
	})
}

// Ten thousand contenders, and more than 1 MiB of names: the requests of a
// hand-over stay the same.
func TestHandOverStaysFlat(t *testing.T) {
	for _, contenders := range []int{10, 10_000, 25_000} {
		t.Run(fmt.Sprint(contenders), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				ctx := t.Context()
				a, b, crowd := w.Client(), w.Client(), w.Client()
				if err := recipe.CreateParents(ctx, crowd.Session, "/line/any"); err != nil { // else who comes first may list too early to see itself
					t.Fatal(err)
				}
				join := func(c *recipetest.Client) <-chan *Place {
					l := &Queue{Session: c.Session, Dir: "/line", Naming: testNaming}
					granted := make(chan *Place, 1)
					go func() {
						claim, err := l.Join(ctx, Request{Name: "lock-"})
						if err != nil {
							t.Error(err)
						}
						granted <- claim
					}()
					synctest.Wait()
					return granted
				}
				first := <-join(a)
				second := join(b)
				for made := 0; made < contenders; {
					var ops []session.Op
					for range min(1000, contenders-made) {
						ops = append(ops, session.CreateOp{Path: "/line/" + recipe.NewID(crowd.Session) + "-lock-", Mode: session.EphemeralSequential})
						made++
					}
					if _, err := crowd.Multi(ctx, ops...); err != nil {
						t.Fatal(err)
					}
				}
				a.Requests()
				b.Requests()
				last := w.Client()
				granted := join(last)
				if got, want := last.Requests(), "create getChildren2 getData"; got != want {
					t.Errorf("last of %d sent %q, want %q", contenders, got, want)
				}
				if err := first.Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				if err := (<-second).Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if a, b := a.Requests(), b.Requests(); a != "delete" || b != "multi" {
					t.Errorf("holders sent %q and %q", a, b)
				}
				crowd.Lose()
				if err := (<-granted).Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				if got := last.Requests(); got != "getChildren2 multi" {
					t.Errorf("after all before it vanished the last sent %q", got)
				}
			})
		})
	}
}
