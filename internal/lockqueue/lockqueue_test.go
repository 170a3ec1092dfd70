package lockqueue

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var errReleased = errors.New("released")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// In kazoo#606 and #730, contenders had no order after the sequence counter of the directory had
// overflowed. This package refuses contenders shortly before the overflow and after it.
func TestNumbersNearTheWrapAreRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		l := &Queue{Session: w.Client().Session, Dir: "/line", Naming: testNaming}
		for n, want := range map[int32]error{
			0: nil, 1<<31 - 1<<17: nil, 1<<31 - 2: ErrExhausted, -1 << 31: ErrExhausted, -1500000000: ErrExhausted, -1: ErrExhausted,
		} {
			name := id + "lock-" + znode.Seq(n).String()
			c := NewPlace(l.Session, recipe.Node{Path: "/line/" + name}, nil, 0)
			if _, err := l.contender(c); !errors.Is(err, want) {
				t.Errorf("number %d: got %v, want %v", n, err, want)
			}
			c.Close()
		}
	})
}

// The number of requests of a hand-over does not depend on the number of contenders. The names of
// 25,000 contenders take more than 1 MiB, ZooKeeper's default limit for a packet (jute.maxbuffer).
func TestHandOverStaysFlat(t *testing.T) {
	for _, contenders := range []int{10, 10_000, 25_000} {
		t.Run(fmt.Sprint(contenders), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				ctx := t.Context()
				a, b, crowd := w.Client(), w.Client(), w.Client()
				// Create the directory, so that the first create request of client `a` succeeds. If
				// the directory were missing, `a` would have to repeat the create. The list that it
				// requested with the first create would then not contain its znode, and so not show
				// that the queue was empty. Therefore `a` would leave a release mark when it
				// departs. That takes a multi, but the test expects a delete.
				if err := recipe.CreateParents(ctx, crowd.Session, "/line/any"); err != nil {
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
					t.Errorf("join behind %d contenders: sent %q, want %q", contenders, got, want)
				}
				if err := first.Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				if err := (<-second).Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if a, b := a.Requests(), b.Requests(); a != "delete" || b != "multi" {
					t.Errorf("requests of the holders: got %q and %q, want %q and %q", a, b, "delete", "multi")
				}
				crowd.Lose()
				if err := (<-granted).Leave(ctx, errReleased); err != nil {
					t.Error(err)
				}
				if got := last.Requests(); got != "getChildren2 multi" {
					t.Errorf("requests after all others vanished: got %q, want %q", got, "getChildren2 multi")
				}
			})
		})
	}
}

// A contender must leave a release mark unless it joined an empty queue. In this test, the queue is
// not empty: the first contender is served. The second contender repeats its create request, so its
// first list shows only the znode of the first one. It must not conclude from the length of this
// list that the queue was empty.
func TestContenderWithARepeatedCreateIsNotAlone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		join := func(c *recipetest.Client) (*Place, error) {
			return (&Queue{Session: c.Session, Dir: "/line", Naming: testNaming}).Join(ctx, Request{Name: "lock-"})
		}
		first, err := join(a)
		if err != nil {
			t.Fatal(err)
		}
		w.Inject(zktest.Rule{Session: b.ID(), Op: "create", Fate: zktest.CloseBeforeRequest})
		w.Inject(zktest.Rule{Session: b.ID(), Op: "create", Fate: zktest.DelayRequest, Delay: time.Second})
		second := make(chan *Place, 1)
		go func() {
			c, err := join(b)
			if err != nil {
				t.Error(err)
			}
			second <- c
		}()
		time.Sleep(5 * time.Second)
		if err := first.Leave(ctx, errReleased); err != nil {
			t.Error(err)
		}
		c := <-second
		b.Requests()
		if err := c.Leave(ctx, errReleased); err != nil {
			t.Error(err)
		}
		if got := b.Requests(); got != "multi" {
			t.Errorf("requests of the release: got %q, want %q", got, "multi")
		}
	})
}
