package barrier_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

const path = "/app/b"

// patience is longer than the time after which a session expires.
const patience = 2 * recipetest.Timeout

var check = recipetest.Check

type world = recipetest.World

// An entry is the result of one Enter.
type entry struct {
	who   int
	round *barrier.Round
	err   error
}

func (e entry) String() string {
	if e.round == nil {
		return fmt.Sprintf("member %d with error %v", e.who, e.err)
	}
	return fmt.Sprintf("member %d with round %d, error %v", e.who, e.round.Number(), e.err)
}

// The function `enter` starts an Enter for each session.
func enter(ctx context.Context, size int, sessions ...*recipetest.Client) <-chan entry {
	ends := make(chan entry, len(sessions))
	for i, s := range sessions {
		d := barrier.NewDouble(s.Session, path, size)
		go func() {
			r, err := d.Enter(ctx)
			ends <- entry{i, r, err}
		}()
	}
	return ends
}

func leave(ctx context.Context, rounds ...*barrier.Round) <-chan error {
	ends := make(chan error, len(rounds))
	for _, r := range rounds {
		go func() { ends <- r.Leave(ctx) }()
	}
	return ends
}

// The function `within` receives from c for at most d, and reports whether it received a
// value.
func within[E any](c <-chan E, d time.Duration) (e E, ok bool) {
	select {
	case e = <-c:
		return e, true
	case <-time.After(d):
		return e, false
	}
}

func (s sessions) rounds(t *testing.T, ends <-chan entry) []*barrier.Round {
	t.Helper()
	rounds := make([]*barrier.Round, len(s))
	for range s {
		e, ok := within(ends, patience)
		if !ok || e.err != nil {
			t.Fatalf("member %d: Enter returned in time: %v, error %v; want true and no error", e.who, ok, e.err)
		}
		rounds[e.who] = e.round
	}
	return rounds
}

type sessions []*recipetest.Client

func open(w *world, n int) sessions {
	var all sessions
	for range n {
		s := w.Client()
		all = append(all, s)
	}
	return all
}

// The function `left` fails the test if a member's znode remains.
func left(t *testing.T, w *world) {
	t.Helper()
	synctest.Wait()
	for _, p := range w.Nodes(path) {
		if strings.Contains(p, "-member-") {
			t.Errorf("left behind: %s", p)
		}
	}
}

// No Enter returns before all members have called Enter, and no Leave returns before all members
// have called Leave. The rounds have the numbers 0, 1 and 2.
//
// Covers D1, D3, D5.
func TestMembersEnterAndLeaveTogether(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 4)
		for number := range 3 {
			first := enter(t.Context(), 4, s[:3]...)
			if en, ok := within(first, patience); ok {
				t.Fatalf("one of three members entered a round of four: %v", en)
			}
			last := enter(t.Context(), 4, s[3])
			rounds := append(s[:3].rounds(t, first), s[3:].rounds(t, last)...)
			for _, r := range rounds {
				if r.Number() != number {
					t.Errorf("got round %d, want %d", r.Number(), number)
				}
			}
			ends := leave(t.Context(), rounds[1:]...)
			if err, ok := within(ends, patience); ok {
				t.Fatalf("a Leave returned before the last member had called Leave: error %v", err)
			}
			check(t, rounds[0].Leave(t.Context()))
			for range 3 {
				if err, ok := within(ends, patience); !ok || err != nil {
					t.Fatalf("Leave returned in time: %v, error %v; want true and no error", ok, err)
				}
			}
		}
		left(t, w)
	})
}

// Leave waits for a member that has not called Leave, and continues when that member dies.
//
// Covers D3.
func TestFirstMemberLeavesLast(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 3)
		rounds := s.rounds(t, enter(t.Context(), 3, s...))
		ends := leave(t.Context(), rounds[0], rounds[1])
		if err, ok := within(ends, patience); ok {
			t.Fatalf("Leave returned before all members had left: error %v", err)
		}
		s[2].Close() // the member dies
		for range 2 {
			if err, ok := within(ends, patience); !ok || err != nil {
				t.Fatalf("Leave returned in time: %v, error %v; want true and no error", ok, err)
			}
		}
	})
}

// The round does not count a member whose Enter has timed out. In Curator, the znode of such a
// member stayed, so the other members entered without it (CURATOR-318).
//
// Covers D2, D6.
func TestTimedOutMemberLetsNobodyThrough(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		en, _ := within(enter(ctx, 3, s[0]), patience)
		if !errors.Is(en.err, context.DeadlineExceeded) {
			t.Fatalf("got error %v, want DeadlineExceeded", en.err)
		}
		left(t, w)
		two := enter(t.Context(), 3, s[1:]...)
		if en, ok := within(two, patience); ok {
			t.Fatalf("Enter of member %d of three returned before the third one has joined: error %v", en.who, en.err)
		}
		one := enter(t.Context(), 3, s[0])
		s[1:].rounds(t, two)
		s[:1].rounds(t, one)
	})
}

// If a member gives up and then calls Enter again, the round does not count it twice. In this test,
// the member gives up because a reply is late, so the member does not know the znode that its first
// Enter has created. Regression: the second Enter created another znode, and the round of two
// opened for one member.
//
// Covers D1, D2.
func TestMemberThatGaveUpIsNotCountedTwice(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		d := barrier.NewDouble(s[0].Session, path, 2)
		slow := w.Inject(zktest.Rule{Op: "multi", Session: s[0].ID(), Skip: 1, Fate: zktest.DelayReply, Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := d.Enter(ctx); err == nil || slow.Fired() != 1 {
			t.Fatalf("got error %v and %d delayed replies, want an error and 1", err, slow.Fired())
		}
		again := make(chan entry, 1)
		go func() {
			r, err := d.Enter(t.Context())
			again <- entry{0, r, err}
		}()
		if en, ok := within(again, patience); ok {
			t.Fatalf("one member entered a round of two: %v", en.err)
		}
		s[1:].rounds(t, enter(t.Context(), 2, s[1]))
		check(t, (<-again).err)
	})
}

// After a member has given up, each later Enter of the same Double waits until that member is
// removed. In this test, two such calls start together. Regression: only the first call waited. So
// the second call could enter a round that still counted the member that had given up.
//
// Covers D2.
func TestNobodyBeginsBeforeWhoGaveUpIsGone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		d := barrier.NewDouble(s[0].Session, path, 3)
		stays := w.Inject(zktest.Rule{Op: "delete", Session: s[0].ID(), Count: -1, Fate: zktest.CloseBeforeRequest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got error %v, want DeadlineExceeded", err)
		}
		ends := make(chan entry, 3)
		for i := range 2 {
			go func() {
				r, err := d.Enter(t.Context())
				ends <- entry{i, r, err}
			}()
		}
		time.Sleep(patience)
		go func() { ends <- <-enter(t.Context(), 3, s[1]) }()
		if en, ok := within(ends, patience); ok {
			t.Fatalf("a round opened with a member that had given up: error %v", en.err)
		}
		stays.Remove()
		for range 3 {
			if en, ok := within(ends, patience); !ok || en.err != nil || en.round.Number() != 0 {
				t.Fatalf("Enter returned in time: %v, %v; want true, with round 0 and no error",
					ok, en)
			}
		}
		if stays.Fired() == 0 {
			t.Error("no deletion was lost, want at least one")
		}
	})
}

// The round does not count a member whose session has ended.
//
// Covers D1.
func TestDeadMemberIsNotCounted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 4)
		dead := enter(t.Context(), 3, s[0])
		synctest.Wait()
		s[0].Close()
		if en := <-dead; !errors.Is(en.err, session.ErrClosed) {
			t.Errorf("got error %v, want ErrClosed", en.err)
		}
		two := enter(t.Context(), 3, s[1:3]...)
		if en, ok := within(two, patience); ok {
			t.Fatalf("Enter of member %d of three returned before the third one has joined: error %v", en.who, en.err)
		}
		one := enter(t.Context(), 3, s[3])
		s[1:3].rounds(t, two)
		s[3:].rounds(t, one)
	})
}

// If all members of a round crash, the next round still opens only when it has enough members. In
// kazoo, the `ready` znode of the crashed round remained and opened the next round too early.
//
// Covers D4.
func TestCrashedRoundOpensNoOther(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 5)
		s[:3].rounds(t, enter(t.Context(), 3, s[:3]...))
		for i := range 3 {
			check(t, w.Expire(s[i].ID()))
		}
		two := enter(t.Context(), 3, s[3:]...)
		if en, ok := within(two, patience); ok {
			t.Fatalf("two members entered a round of three after a crashed round: %v", en)
		}
		late := w.Client()
		one := enter(t.Context(), 3, late)
		rounds := append(s[3:].rounds(t, two), sessions{late}.rounds(t, one)...)
		if n := rounds[0].Number(); n != 1 {
			t.Errorf("got round %d, want 1", n)
		}
		synctest.Wait()
		if list, err := late.Children(t.Context(), path); err != nil || len(list.Names) != 2 {
			t.Errorf("got rounds %v, error %v; want 2 rounds", list.Names, err)
		}
	})
}

// If seven members enter a barrier of three, six of them form two rounds, and the seventh must
// wait. Curator's enter with a time limit could return before enough members had entered (GH-1290).
//
// Covers D1, D5.
func TestSurplusMembersGatherForTheNextRound(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 7)
		ends := enter(t.Context(), 3, s...)
		count := map[int]int{}
		for range 6 {
			en, ok := within(ends, patience)
			if !ok || en.err != nil {
				t.Fatalf("Enter returned in time: %v, error %v; want true and no error", ok, en.err)
			}
			count[en.round.Number()]++
		}
		if _, ok := within(ends, patience); ok || count[0] != 3 || count[1] != 3 {
			t.Errorf("got members by round %v, seventh entered: %v; want 3 and 3, false", count, ok)
		}
	})
}

// If another client deletes the gathering round with the znodes of its members, the members gather
// again in the next round. If the client deletes the whole barrier, they gather in round 0 of a new
// barrier.
func TestADeletedRoundGathersAgain(t *testing.T) {
	const round = path + "/0000000000"
	for dir, number := range map[string]int{round: 1, path: 0} {
		recipetest.Run(t, func(t *testing.T, w *world) {
			s := open(w, 3)
			first := enter(t.Context(), 2, s[0])
			synctest.Wait()
			members := recipetest.Must(s[2].Children(t.Context(), round)).Names
			deletes := []session.Op{
				session.DeleteOp{Path: round + "/" + members[0], Version: session.AnyVersion},
				session.DeleteOp{Path: round, Version: session.AnyVersion},
			}
			if dir == path {
				deletes = append(deletes, session.DeleteOp{Path: path, Version: session.AnyVersion})
			}
			recipetest.Must(s[2].Multi(t.Context(), deletes...))
			second := enter(t.Context(), 2, s[1])
			for _, c := range []<-chan entry{first, second} {
				e, ok := within(c, patience)
				if !ok || e.err != nil {
					t.Errorf("after the deletion of %s: Enter returned in time: %v, error %v; want true and no error", dir, ok, e.err)
				} else if got := e.round.Number(); got != number {
					t.Errorf("after the deletion of %s: got round %d, want %d", dir, got, number)
				}
			}
		})
	}
}

// If the chroot of the session is missing, Set and Enter fail, because no call of this package
// creates the chroot. Regression: they tried to create their znode and its parents in turn, in an
// endless loop.
func TestAMissingChrootIsAnError(t *testing.T) {
	for what, call := range map[string]func(context.Context, *session.Session) error{
		"set": func(ctx context.Context, s *session.Session) error { return barrier.New(s, "/b").Set(ctx) },
		"enter": func(ctx context.Context, s *session.Session) error {
			_, err := barrier.NewDouble(s, "/b", 1).Enter(ctx)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *world) {
				c := w.Client(func(o *session.Options) { o.Chroot = "/nowhere" })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c.At(100, cancel)
				if err := call(ctx, c.Session); !errors.Is(err, zk.ErrNoNode) || session.OutcomeOf(err) != session.Failed {
					t.Errorf("got outcome %v, error %v; want Failed, ErrNoNode", session.OutcomeOf(err), err)
				}
			})
		})
	}
}

// If the Leave of one member times out, the other members no longer wait for that member, but still
// wait for each other. For comparison, Curator's leave returned before all members had left.
//
// Covers D3, D6.
func TestTimeoutInLeaveHoldsNobodyUp(t *testing.T) {
	for late := range 3 {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *world) {
				s := open(w, 3)
				ends := make(chan entry, len(s))
				// The members join one after another, in the order of s.
				for i, c := range s {
					d := barrier.NewDouble(c.Session, path, 3)
					go func() {
						r, err := d.Enter(t.Context())
						ends <- entry{i, r, err}
					}()
					synctest.Wait()
				}
				rounds := s.rounds(t, ends)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := rounds[late].Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("got error %v, want DeadlineExceeded", err)
				}
				others := slices.Delete(slices.Clone(rounds), late, late+1)
				left1 := leave(t.Context(), others[0])
				if err, ok := within(left1, patience); ok {
					t.Fatalf("Leave returned before the last member had left: error %v", err)
				}
				left2 := leave(t.Context(), others[1])
				for i, c := range []<-chan error{left1, left2} {
					if err, ok := within(c, patience); !ok || err != nil {
						t.Fatalf("Leave of other member %d returned in time: %v, error %v; want true and no error", i+1, ok, err)
					}
				}
				check(t, rounds[late].Leave(t.Context()))
				left(t, w)
			})
		})
	}
}

// If a member gives up while the transaction that opens the round is delayed, the round opens only
// after another member has joined in its place.
//
// Covers D1, D2.
func TestRoundDoesNotOpenWithoutOneThatGaveUpMeanwhile(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 3)
		ctx, cancel := context.WithCancel(t.Context())
		first := enter(ctx, 3, s[0])
		synctest.Wait()
		rest := enter(t.Context(), 3, s[1])
		synctest.Wait()
		// The first multi joins the round, and the second multi opens the round.
		slow := w.Inject(zktest.Rule{Op: "multi", Session: s[2].ID(), Skip: 1, Fate: zktest.DelayRequest, Delay: time.Second})
		last := enter(t.Context(), 3, s[2])
		synctest.Wait()
		if slow.Fired() != 1 {
			t.Fatalf("%d requests to open the round were delayed, want 1", slow.Fired())
		}
		cancel()
		if en := <-first; en.err == nil {
			t.Fatal("the cancelled Enter returned no error")
		}
		for _, ends := range []<-chan entry{rest, last} {
			if en, ok := within(ends, patience); ok {
				t.Fatalf("Enter of member %d of three returned before the third one has joined: error %v", en.who, en.err)
			}
		}
		fresh := sessions{s[0]}.rounds(t, enter(t.Context(), 3, s[0]))
		check(t, (<-rest).err)
		check(t, (<-last).err)
		if n := fresh[0].Number(); n != 0 {
			t.Errorf("got round %d, want 0", n)
		}
	})
}

// At whichever moment the context of Enter or Leave ends, no znode remains, and the other members
// are not blocked.
//
// Covers D2, D3, D6.
func TestCancelledEnterAndLeaveLeaveNothing(t *testing.T) {
	recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *world, s *recipetest.Client) {
		other := w.Client()
		in := enter(t.Context(), 2, other)
		synctest.Wait()
		r, err := barrier.NewDouble(s.Session, path, 2).Enter(ctx)
		if err == nil {
			second := <-in
			check(t, second.err)
			out := leave(t.Context(), second.round)
			synctest.Wait()
			_ = r.Leave(ctx)
			if err, ok := within(out, patience); !ok || err != nil {
				t.Errorf("the other member: Leave returned in time: %v, error %v; want true and no error", ok, err)
			}
		} else if second, ok := within(in, time.Second); ok {
			// The round opened while Enter was cancelled: the member counts as
			// having entered and left.
			check(t, second.err)
			check(t, second.round.Leave(t.Context()))
		} else {
			third := w.Client()
			check(t, (<-enter(t.Context(), 2, third)).err)
			check(t, (<-in).err)
			return
		}
		left(t, w)
	})
}

// The number of requests that all members send to leave a round grows only linearly with the number
// of members, because most departures wake at most one other member.
//
// Covers D3.
func TestDepartureWakesAtMostOne(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		const n = 10
		all := open(w, n)
		rounds := all.rounds(t, enter(t.Context(), n, all...))
		synctest.Wait()
		for _, s := range all {
			s.Count()
		}
		sum := 0
		ends := make(chan error, n)
		for _, r := range rounds {
			go func() { ends <- r.Leave(t.Context()) }()
			synctest.Wait()
		}
		for range rounds {
			check(t, <-ends)
		}
		for _, s := range all {
			sum += s.Count()
		}
		// Each member sends three requests: it deletes its znode, watches the znode of another
		// member, and lists the members when that znode is gone. The first member sends a few more
		// requests if the member that it waits for is not the last to leave.
		if sum > 4*n {
			t.Errorf("%d members sent %d requests to leave, want at most %d", n, sum, 4*n)
		}
	})
}

// Only the member that completes the round lists the members.
//
// Covers D1.
func TestWhoCompletesARoundListsItsMembers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		const n = 4
		ends := make(chan entry, n)
		all := open(w, n)
		for i, s := range all {
			go func() {
				round, err := barrier.NewDouble(s.Session, path, n).Enter(t.Context())
				ends <- entry{i, round, err}
			}()
			synctest.Wait()
		}
		for i := range n {
			end, ok := within(ends, patience)
			if !ok || end.err != nil {
				t.Fatalf("Enter returned in time: %v, error %v; want true and no error", ok, end.err)
			}
			want := 0
			if i == n-1 {
				want = 2 // it lists the members, and then the rounds, to delete the earlier ones
			}
			if got := strings.Count(all[i].Requests(), "getChildren"); got != want {
				t.Errorf("member %d sent %d list requests, want %d", i, got, want)
			}
		}
	})
}

// Enter fails with ErrSize if the barrier was created with another size.
//
// Covers D1.
func TestMembersMustAgreeOnTheSize(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		enter(t.Context(), 3, s[0])
		synctest.Wait()
		if en := <-enter(t.Context(), 2, s[1]); !errors.Is(en.err, barrier.ErrSize) || session.OutcomeOf(en.err) != session.Failed {
			t.Errorf("got outcome %v, error %v; want Failed, ErrSize", session.OutcomeOf(en.err), en.err)
		}
		s[0].Close()
	})
}

// If a request of a member, or the reply to this request, is lost, the round still opens only when
// it is complete, and no member is blocked. In some runs, the member also loses its session.
//
// Covers D1, D2, D3, D4, D6.
func TestDoubleAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		s := open(tr.World, 2)
		victim, other := s[0], s[1]
		tr.Strike(victim)
		ends := enter(t.Context(), 2, victim)
		if en, ok := within(ends, patience); ok && !tr.Loses() {
			t.Fatalf("one member entered a round of two: %v", en)
		}
		if tr.Loses() && victim.Err() != nil {
			victim = tr.Client()
			ends = enter(t.Context(), 2, victim)
		}
		e2 := enter(t.Context(), 2, other)
		second, ok := within(e2, patience)
		if !ok || second.err != nil {
			t.Fatalf("the other member: Enter returned in time: %v, error %v; want true and no error", ok, second.err)
		}
		first, ok := within(ends, patience)
		if !ok || first.err != nil && !tr.Loses() {
			t.Fatalf("the victim: Enter returned in time: %v, error %v; want true and no error", ok, first.err)
		}
		out := leave(t.Context(), second.round)
		if first.err == nil {
			if err := first.round.Leave(t.Context()); err != nil && !tr.Loses() {
				t.Errorf("the victim: Leave returned %v, want nil", err)
			}
		}
		if err, ok := within(out, patience); !ok || err != nil {
			t.Fatalf("the other member: Leave returned in time: %v, error %v; want true and no error", ok, err)
		}
		left(t, tr.World)
	})
}

// Wait returns at once if the barrier is not set. Otherwise it blocks until the barrier is removed,
// even if the barrier is set again at once.
//
// Covers B1, B2.
func TestBarrier(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 3)
		b := barrier.New(s[0].Session, path)
		check(t, barrier.New(s[1].Session, path).Wait(t.Context()))
		check(t, b.Set(t.Context()))
		check(t, b.Set(t.Context()))
		ends := make(chan error, 2)
		for _, s := range s[1:] {
			go func() { ends <- barrier.New(s.Session, path).Wait(t.Context()) }()
		}
		if err, ok := within(ends, patience); ok {
			t.Fatalf("Wait passed a barrier that is set: error %v", err)
		}
		_, err := s[0].Set(t.Context(), path, []byte("x"), session.AnyVersion)
		check(t, err)
		if err, ok := within(ends, patience); ok {
			t.Fatalf("Wait returned after an unrelated event: error %v", err)
		}
		check(t, b.Remove(t.Context()))
		check(t, b.Set(t.Context())) // set again at once: the waiters pass nevertheless
		for range 2 {
			if err, ok := within(ends, patience); !ok || err != nil {
				t.Fatalf("Wait returned in time: %v, error %v; want true and no error", ok, err)
			}
		}
		check(t, b.Remove(t.Context()))
		check(t, b.Remove(t.Context()))
	})
}

// If the connection of a waiter is lost, its Wait continues, and returns when the barrier is
// removed. In kazoo, wait() then never returned.
//
// Covers B2.
func TestWaitSurvivesReconnects(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		b := barrier.New(s[0].Session, path)
		check(t, b.Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- barrier.New(s[1].Session, path).Wait(t.Context()) }()
		synctest.Wait()
		cut := w.Inject(zktest.Rule{Session: s[1].ID(), Fate: zktest.CloseBeforeReply})
		check(t, s[1].Sync(t.Context(), "/"))
		if cut.Fired() == 0 {
			t.Fatal("the connection was not lost")
		}
		if err, ok := within(end, patience); ok {
			t.Fatalf("Wait passed a barrier that is set: error %v", err)
		}
		check(t, b.Remove(t.Context()))
		if err, ok := within(end, patience); !ok || err != nil {
			t.Fatalf("Wait returned in time: %v, error %v; want true and no error", ok, err)
		}
	})
}

// Wait returns if the barrier was removed and set again while the waiter had no connection.
//
// Covers B2.
func TestBarrierRemovedAndSetAgainWhileAwayLetsPass(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		var away atomic.Bool
		s := w.Client(func(o *session.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if away.Load() {
					return nil, errors.New("network is down")
				}
				return dial(ctx, network, address)
			}
		})
		admin := w.Client()
		b := barrier.New(admin.Session, path)
		check(t, b.Set(t.Context()))
		end := make(chan error, 1)
		go func() { end <- barrier.New(s.Session, path).Wait(t.Context()) }()
		synctest.Wait()
		away.Store(true)
		w.Inject(zktest.Rule{Session: s.ID(), Fate: zktest.CloseBeforeReply})
		go s.Sync(t.Context(), "/")
		synctest.Wait()
		check(t, b.Remove(t.Context()))
		check(t, b.Set(t.Context()))
		away.Store(false)
		if err, ok := within(end, patience); !ok || err != nil {
			t.Fatalf("Wait returned in time: %v, error %v; want true and no error", ok, err)
		}
	})
}

// If a request of Set, Wait or Remove, or the reply to this request, is lost, Wait still blocks
// while the barrier is set, and returns when the barrier is removed.
//
// Covers B1, B2.
func TestBarrierAtEachLostRequest(t *testing.T) {
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		s := open(tr.World, 2)
		victim, other := barrier.New(s[0].Session, path), barrier.New(s[1].Session, path)
		tr.Strike(s[0])
		if err := victim.Set(t.Context()); err != nil {
			check(t, other.Set(t.Context()))
		}
		end := make(chan error, 2)
		go func() { end <- other.Wait(t.Context()) }()
		if err, ok := within(end, patience); ok {
			t.Fatalf("Wait of the other client passed a barrier that is set: error %v", err)
		}
		go func() { end <- victim.Wait(t.Context()) }()
		if err, ok := within(end, patience); ok && (err == nil || !tr.Loses()) {
			t.Fatalf("Wait of the victim or of the other client passed a barrier that is set: error %v",
				err)
		} else if ok {
			end <- nil
		}
		if err := victim.Remove(t.Context()); err != nil {
			check(t, other.Remove(t.Context()))
		}
		for range 2 {
			if err, ok := within(end, patience); !ok || err != nil && !tr.Loses() {
				t.Fatalf("Wait returned in time: %v, error %v; want true and no error", ok, err)
			}
		}
	})
}

// A Wait whose context ends leaves no znode.
//
// Covers D6.
func TestCancelledWaitLeavesNothing(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := w.Client()
		b := barrier.New(s.Session, path)
		check(t, b.Set(t.Context()))
		before := w.Nodes("/")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want DeadlineExceeded", err)
		}
		if after := w.Nodes("/"); !slices.Equal(before, after) {
			t.Errorf("znodes changed from %v to %v", before, after)
		}
	})
}

// If Enter gives up after it has sent the creation of the member's znode, its outcome is
// Indeterminate, because the round may count the member until the znode is removed.
//
// Regression: Enter returned the outcome Failed in this case: the reply to the creation was lost,
// and the search for the znode then failed before the request of the search was sent. The scenario
// double-barrier found this under partitions.
func TestAMemberThatGaveUpMayHaveCounted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		dials := 0
		s := w.Client(w.On(0), func(o *session.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials > 1 {
					return nil, errors.New("refused")
				}
				return dial(ctx, network, address)
			}
		})
		// The reply to the transaction that creates the member's znode is lost. The client gets no
		// further connection.
		w.Inject(zktest.Rule{Op: "multi", Skip: 2, Fate: zktest.CloseBeforeReply})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := barrier.NewDouble(s.Session, path, 2).Enter(ctx); session.OutcomeOf(err) != session.Indeterminate || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a member whose znode exists: got outcome %v, error %v; want Indeterminate, DeadlineExceeded",
				session.OutcomeOf(err), err)
		}
		gone, end := context.WithCancel(t.Context())
		end()
		if _, err := barrier.NewDouble(s.Session, path, 2).Enter(gone); session.OutcomeOf(err) != session.Failed {
			t.Errorf("a member that never joined: got outcome %v, error %v; want Failed", session.OutcomeOf(err), err)
		}
	})
}

// If Enter times out, and the creation of the member's znode was never sent or was refused, the
// outcome is Failed: no round can have counted this member.
func TestAMemberThatWasNotAskedForDidNotCount(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		enter(t.Context(), 3, s[0]) // creates the barrier
		synctest.Wait()
		rules := map[string]zktest.Rule{
			"the read of the round":    {Op: "getData", Fate: zktest.DelayReply},
			"the read after a refusal": {Op: "getData", Skip: 1, Fate: zktest.DelayReply},
		}
		for what, rule := range rules {
			rule.Session, rule.Delay = s[1].ID(), 2*time.Second
			slow := w.Inject(rule)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s[1].Before("multi", func() {
				// This change of the barrier's data begins another round before the request to join
				// arrives. So the request to join is refused.
				_, err := s[0].Set(t.Context(), path, []byte("3"), session.AnyVersion)
				check(t, err)
			})
			_, err := barrier.NewDouble(s[1].Session, path, 3).Enter(ctx)
			cancel()
			if session.OutcomeOf(err) != session.Failed || slow.Fired() != 1 {
				t.Errorf("%s is late: got outcome %v, error %v, %d delayed replies; want Failed and 1",
					what, session.OutcomeOf(err), err, slow.Fired())
			}
			slow.Remove()
			time.Sleep(patience)
		}
		s[0].Close()
	})
}

// If another client sets the data of the barrier when a round is complete but not yet open, this
// round can no longer open, and its members enter another round. Regression: the last member tried
// to open the round in an endless loop.
//
// Covers D5.
func TestRoundThatCanNoLongerOpenIsLeft(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		first := enter(t.Context(), 2, s[0])
		synctest.Wait()
		joined := 0
		s[1].Before("multi", func() {
			if joined++; joined == 1 {
				s[1].Before("multi", func() {
					_, err := w.Admin().Set(t.Context(), path, []byte("2"), session.AnyVersion)
					check(t, err)
				})
			}
		})
		s[1].Requests()
		second := enter(t.Context(), 2, s[1])
		time.Sleep(time.Minute)
		if n := s[1].Count(); n > 100 {
			t.Fatalf("got %d requests in a minute, want at most 100", n)
		}
		for i, ends := range []<-chan entry{first, second} {
			if e, ok := within(ends, patience); !ok || e.err != nil {
				t.Errorf("member %d: Enter returned in time: %v, error %v; want true and no error",
					i, ok, e.err)
			}
		}
	})
}

// If another client sets the data of the barrier while a member waits, the member joins again, and
// enters a round together with the next member. Regression: the first member waited forever in its
// old round, and the next member waited in a new round.
func TestMembersOfARoundThatWasPassedOverComeAgain(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		s := open(w, 2)
		first := enter(t.Context(), 2, s[0])
		synctest.Wait()
		_, err := w.Admin().Set(t.Context(), path, []byte("2"), session.AnyVersion)
		check(t, err)
		second := enter(t.Context(), 2, s[1])
		for i, ends := range []<-chan entry{first, second} {
			if e, ok := within(ends, patience); !ok || e.err != nil {
				t.Errorf("member %d: Enter returned in time: %v, error %v; want true and no error",
					i, ok, e.err)
			}
		}
	})
}

// Leave, for example a deferred Leave, leaves the round even if the context of the call has already
// ended. So the other members do not wait for this member.
//
// Covers D6.
func TestLeaveWithAnEndedContextLeaves(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *world) {
		entries := enter(t.Context(), 2, w.Client(), w.Client())
		first, second := <-entries, <-entries
		check(t, first.err)
		check(t, second.err)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.round.Leave(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("leave: got error %v, want %v", err, context.Canceled)
		}
		w.Within(time.Second, "the other", second.round.Leave)
		w.NothingLeft()
	})
}
