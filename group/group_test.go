package group_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

const path = "/services/api"

var ok = recipetest.Check

func join(t *testing.T, c *recipetest.Client, id, data string) *group.Membership {
	t.Helper()
	m, err := group.New(c.Session, path).Join(t.Context(), id, []byte(data))
	ok(t, err)
	return m
}

func names(members []group.Member) string {
	var s []string
	for _, m := range members {
		s = append(s, m.ID+"="+string(m.Data))
	}
	return strings.Join(s, " ")
}

func listed(t *testing.T, w *recipetest.World, want string) {
	t.Helper()
	synctest.Wait()
	members, err := group.New(w.Admin().Session, path).Members(t.Context())
	if err != nil || names(members) != want {
		t.Errorf("got members %q, error %v, want %q", names(members), err, want)
	}
}

// follow returns a channel that receives each change as text.
func follow(ctx context.Context, c *recipetest.Client) <-chan string {
	given := make(chan string, 100)
	go func() {
		defer close(given)
		for change, err := range group.New(c.Session, path).Changes(ctx) {
			if err != nil {
				given <- fmt.Sprint("error: ", errors.Is(err, context.Canceled), errors.Is(err, session.ErrLost))
				continue
			}
			given <- fmt.Sprintf("[%s] +[%s] -[%s] ~[%s]",
				names(change.Members), names(change.Joined), names(change.Left), names(change.Updated))
		}
	}()
	synctest.Wait()
	return given
}

func given(t *testing.T, c <-chan string, want ...string) {
	t.Helper()
	synctest.Wait()
	for _, w := range want {
		select {
		case got := <-c:
			if got != w {
				t.Errorf("got change %q, want %q", got, w)
			}
		default:
			t.Errorf("got no change, want %q", w)
		}
	}
	select {
	case got, more := <-c:
		if more {
			t.Errorf("got one more change %q, want none", got)
		}
	default:
	}
}

// A follower sees each change of a group. The test also checks the requests that each change costs
// the follower. Regression: if a group did not exist when kazoo began to watch it, kazoo did not
// report the group later (kazoo#153).
//
// Covers G1, G4, G5.
func TestFollowerSeesEachChange(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f, a, b := w.Client(), w.Client(), w.Client()
		ctx, stop := context.WithCancel(t.Context())
		changes := follow(ctx, f)
		given(t, changes, "[] +[] -[] ~[]")
		ma := join(t, a, "a", "1")
		listed(t, w, "a=1")
		given(t, changes, "[a=1] +[a=1] -[] ~[]")
		f.Requests()
		mb := join(t, b, "b", "2")
		given(t, changes, "[a=1 b=2] +[b=2] -[] ~[]")
		f.Expect(t, "join", "getChildren2 getData")
		ok(t, ma.Update(t.Context(), []byte("3")))
		given(t, changes, "[a=3 b=2] +[] -[] ~[a=3]")
		// The new znode and the deletion of the old one may be seen together.
		if got := f.Requests(); got != "getChildren2 getData" && got != "getChildren2 getData getChildren2" {
			t.Errorf("update: sent %q, want getChildren2 getData", got)
		}
		listed(t, w, "a=3 b=2")
		ok(t, mb.Leave(t.Context()))
		given(t, changes, "[a=3] +[] -[b=2] ~[]")
		f.Expect(t, "leave", "getChildren2")
		ok(t, mb.Leave(t.Context()))
		a.Lose()
		given(t, changes, "[] +[] -[a=3] ~[]")
		if watches := w.Watches(); watches != 1 {
			t.Errorf("got %d watches, want 1", watches)
		}
		stop()
		given(t, changes, "error: true false")
		w.NothingLeft()
	})
}

// A follower that connects again reports the changes that were made while it had no connection.
// Regression: kazoo lost its watches with the connection, and did not report such changes
// (kazoo#151, #218, #29).
//
// Covers G4.
func TestFollowerOutlivesItsConnection(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		var wire *netfault.Proxy
		f := w.Client(func(o *session.Options) {
			wire = netfault.New(o.Dial)
			o.Dial = wire.DialContext
		})
		a, b := w.Client(), w.Client()
		ctx, stop := context.WithCancel(t.Context())
		changes := follow(ctx, f)
		given(t, changes, "[] +[] -[] ~[]")
		ma := join(t, a, "a", "1")
		given(t, changes, "[a=1] +[a=1] -[] ~[]")
		wire.Refuse(true)
		wire.Reset()
		ok(t, ma.Leave(t.Context()))
		mb := join(t, b, "b", "2")
		wire.Refuse(false)
		time.Sleep(recipetest.Timeout / 2) // the session connects again
		given(t, changes, "[b=2] +[b=2] -[a=1] ~[]")
		ok(t, mb.Leave(t.Context()))
		given(t, changes, "[] +[] -[b=2] ~[]")
		stop()
		given(t, changes, "error: true false")
		w.NothingLeft()
	})
}

func TestFollowerEndsWithItsSession(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f := w.Client()
		changes := follow(t.Context(), f)
		given(t, changes, "[] +[] -[] ~[]")
		f.Lose()
		time.Sleep(recipetest.Timeout)
		given(t, changes, "error: false true")
	})
}

// A Join that is interrupted at any of its requests leaves no member. A Join that succeeds leaves
// one znode.
//
// Covers G1, G2.
func TestFailedJoinLeavesNoMember(t *testing.T) {
	call := recipetest.Call{Do: func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
		m, err := group.New(s, path).Join(ctx, "x", nil)
		if err != nil {
			return nil, err
		}
		if members, err := s.Children(ctx, path); err == nil && len(members.Names) > 1 {
			t.Errorf("got members %q after Join, want one", members.Names)
		}
		return m.Leave, nil
	}}
	call.AtEachCrashPoint(t)
	recipetest.CancelBetweenSteps(t, call.Do)
}

// When a member that has updated its data leaves, its old data does not appear again. In this test,
// the znode with the old data still exists when Leave is called.
//
// Covers G1, G4.
func TestWhoLeavesIsNotSeenAsItWas(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f, c := w.Client(), w.Client()
		ctx, stop := context.WithCancel(t.Context())
		changes := follow(ctx, f)
		given(t, changes, "[] +[] -[] ~[]")
		m := join(t, c, "a", "1")
		given(t, changes, "[a=1] +[a=1] -[] ~[]")
		lost := w.Inject(zktest.Rule{Session: c.ID(), Op: "delete", Fate: zktest.CloseBeforeRequest})
		w.Inject(zktest.Rule{Session: c.ID(), Op: "exists", Fate: zktest.DelayReply, Delay: time.Second})
		ok(t, m.Update(t.Context(), []byte("2")))
		given(t, changes, "[a=2] +[] -[] ~[a=2]")
		time.Sleep(500 * time.Millisecond) // the client checks now whether the old znode exists
		ok(t, m.Leave(t.Context()))
		listed(t, w, "")
		if lost.Fired() == 0 {
			t.Error("no deletion was lost, want at least one")
		}
		for len(changes) > 0 {
			if change := <-changes; strings.Contains(change, "a=1]") {
				t.Errorf("got change %s with the data \"1\" of the member that has left, want only its new data", change)
			}
		}
		stop()
		given(t, changes, "error: true false")
	})
}

// An Update after Leave fails, and does not make the program a member again.
//
// Covers G1.
func TestWhoHasLeftStaysAway(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		m := join(t, w.Client(), "a", "1")
		ok(t, m.Leave(t.Context()))
		if err := m.Update(t.Context(), []byte("2")); !errors.Is(err, group.ErrLeft) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("update: got error %v, want ErrLeft with outcome Failed", err)
		}
		ok(t, m.Leave(t.Context()))
		listed(t, w, "")
		w.NothingLeft()
	})
}

// If the context of Leave has already ended, the member leaves nevertheless.
//
// Covers G1.
func TestLeaveOfOneInAHurry(t *testing.T) {
	over, end := context.WithCancel(context.Background())
	end()
	for range 10 { // repeated, because a select chooses at random between the cases that are ready
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			m := join(t, w.Client(), "a", "1")
			_ = m.Leave(over)
			time.Sleep(recipetest.Timeout)
			listed(t, w, "")
			if err := m.Update(t.Context(), []byte("2")); !errors.Is(err, group.ErrLeft) {
				t.Errorf("update: got error %v, want ErrLeft", err)
			}
		})
	}
}

// Leave waits for an update in progress. If the context of Leave ends first, the member leaves
// after the update.
//
// Covers G1.
func TestLeaveDuringAnUpdate(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := join(t, c, "a", "1")
		slow := w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.DelayReply, Delay: 2 * time.Second})
		updated := make(chan error, 1)
		go func() { updated <- m.Update(t.Context(), []byte("2")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) || slow.Fired() != 1 {
			t.Errorf("leave: got error %v with %d delayed replies, want DeadlineExceeded and 1", err, slow.Fired())
		}
		ok(t, <-updated)
		listed(t, w, "")
	})
}

// In this test the caller gives up an update that is in progress. After a follower has listed the
// new data, the old data does not appear again. Leave deletes all znodes of the member.
//
// Covers G1.
func TestAnUpdateThatWasGivenUp(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f, c := w.Client(), w.Client()
		following, stop := context.WithCancel(t.Context())
		changes := follow(following, f)
		m := join(t, c, "a", "1")
		given(t, changes, "[] +[] -[] ~[]", "[a=1] +[a=1] -[] ~[]")
		w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.DelayReply, Delay: 2 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		data := []byte("2")
		if err := m.Update(ctx, data); !errors.Is(err, context.DeadlineExceeded) || session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("update: got outcome %v, error %v; want Indeterminate, DeadlineExceeded", session.OutcomeOf(err), err)
		}
		data[0] = 'x' // the slice belongs to the caller
		given(t, changes, "[a=2] +[] -[] ~[a=2]")
		time.Sleep(2 * time.Second)
		given(t, changes)
		// The reply to the next update is lost, and the client finds the new znode late.
		w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.CloseBeforeReply})
		w.Inject(zktest.Rule{Session: c.ID(), Op: "getChildren2", Fate: zktest.DelayReply, Delay: 2 * time.Second})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Update(ctx, []byte("3")); session.OutcomeOf(err) != session.Indeterminate {
			t.Errorf("update: got outcome %v, error %v; want Indeterminate", session.OutcomeOf(err), err)
		}
		given(t, changes, "[a=3] +[] -[] ~[a=3]")
		ok(t, m.Leave(t.Context()))
		listed(t, w, "")
		given(t, changes, "[] +[] -[a=3] ~[]")
		stop()
		given(t, changes, "error: true false")
		w.NothingLeft()
	})
}

// Done and Err behave like those of a context: they agree with each other and
// with Wait, for each way in which a membership ends. All waiters share one
// watch.
func TestDoneSaysWhyTheMembershipEnded(t *testing.T) {
	ends := map[string]struct {
		end  func(t *testing.T, w *recipetest.World, c *recipetest.Client, m *group.Membership)
		want error
	}{
		"left": {func(t *testing.T, _ *recipetest.World, _ *recipetest.Client, m *group.Membership) {
			ok(t, m.Leave(t.Context()))
		}, group.ErrLeft},
		"deleted": {func(t *testing.T, w *recipetest.World, _ *recipetest.Client, _ *group.Membership) {
			for _, node := range w.Ephemerals(path) {
				ok(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			}
		}, session.ErrRevoked},
		"lost": {func(_ *testing.T, _ *recipetest.World, c *recipetest.Client, _ *group.Membership) { c.Lose() }, session.ErrLost},
	}
	for name, of := range ends {
		for _, early := range []bool{true, false} { // whether Done is called before the end
			t.Run(fmt.Sprintf("%s, Done called before: %v", name, early), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					c := w.Client()
					m := join(t, c, "a", "1")
					c.Requests()
					if early {
						m.Done()
						if err := m.Err(); err != nil {
							t.Errorf("Err of a member: got %v, want nil", err)
						}
						ctx, stop := context.WithTimeout(t.Context(), time.Second)
						defer stop()
						if err := m.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Wait with a deadline: got %v, want %v", err, context.DeadlineExceeded)
						}
						c.Expect(t, "watching", "getChildren2")
						ok(t, m.Update(t.Context(), []byte("2"))) // the membership continues
						synctest.Wait()
						if err := m.Err(); err != nil {
							t.Errorf("Err after an update: got %v, want nil", err)
						}
					}
					of.end(t, w, c, m)
					select {
					case <-m.Done():
					case <-time.After(2 * recipetest.Timeout):
						t.Fatalf("Done is not closed after %v, want it closed with %v", 2*recipetest.Timeout, of.want)
					}
					if err := m.Err(); !errors.Is(err, of.want) || m.Wait(t.Context()) != err {
						t.Errorf("got Err %v, Wait %v, want %v", err, m.Wait(t.Context()), of.want)
					}
				})
			})
		}
	}
}

// After Leave, Done is closed at once, without a request.
func TestLeaveClosesDone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := join(t, c, "a", "1")
		ok(t, m.Leave(t.Context()))
		c.Requests()
		select {
		case <-m.Done():
		default:
			t.Error("Done is open after Leave, want it closed")
		}
		c.Expect(t, "Done after Leave", "")
	})
}

func TestWaitEndsWithItsContextDuringAnUpdate(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := join(t, c, "a", "1")
		for _, node := range w.Ephemerals(path) {
			ok(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
		}
		w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.DropRequest})
		w.Inject(zktest.Rule{Session: c.ID(), Op: "getChildren2", Fate: zktest.DelayReply, Delay: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		waited := make(chan error, 1)
		go func() { waited <- m.Wait(ctx) }()
		synctest.Wait()
		updating, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		updated := make(chan error, 1)
		go func() { updated <- m.Update(updating, []byte("2")) }()
		began := time.Now()
		if err := <-waited; err == nil {
			t.Error("Wait returned nil, want an error")
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Wait took %v, want at most 2s", took)
		}
		<-updated
	})
}

// A follower does not see a member leave when the member changes its data, or when a second session
// has joined with the same id and then ends. But if the member's znode is deleted, the member joins
// again, and the follower may see that it was gone.
//
// Covers G3.
func TestStayingMemberIsNotSeenToGo(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f := w.Client()
		ctx, stop := context.WithCancel(t.Context())
		changes := follow(ctx, f)
		given(t, changes, "[] +[] -[] ~[]")
		opts := session.Options{Servers: w.Servers(), Timeout: recipetest.Timeout, Dial: w.DialContext}
		joined := make(chan *group.Membership, 10)
		done := make(chan error, 1)
		staying, leave := context.WithCancel(t.Context())
		go func() {
			done <- group.Run(staying, opts, path, "a", []byte("1"), func(ctx context.Context, m *group.Membership) error {
				joined <- m
				<-ctx.Done()
				return nil
			})
		}()
		m := <-joined
		given(t, changes, "[a=1] +[a=1] -[] ~[]")
		for range 5 {
			ok(t, m.Update(t.Context(), []byte("2")))
		}
		synctest.Wait()
		if len(changes) == 0 {
			t.Error("after updates: got no change, want at least one")
		}
		for len(changes) > 0 {
			if c := <-changes; c != "[a=2] +[] -[] ~[a=2]" {
				t.Errorf("got change %q, want only the update of a", c)
			}
		}
		// The test deletes the member's znode. The member joins again at once. The follower may see
		// the deletion and the new znode as one change or as two.
		old := w.Ephemerals(path)
		ok(t, w.Admin().Delete(t.Context(), old[0], session.AnyVersion))
		<-joined
		synctest.Wait()
		got := <-changes
		for len(changes) > 0 {
			got += " " + <-changes
		}
		if got != "[] +[] -[a=2] ~[] [a=1] +[a=1] -[] ~[]" && got != "[a=1] +[] -[] ~[a=1]" {
			t.Errorf("after the deletion: got %q, want a to be gone and back, or updated", got)
		}

		other := w.Client()
		_, err := group.New(other.Session, path).Join(t.Context(), "a", []byte("again"))
		ok(t, err)
		given(t, changes, "[a=again] +[] -[] ~[a=again]")
		other.Lose()
		given(t, changes, "[a=1] +[] -[] ~[a=1]")

		leave()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
		given(t, changes, "[] +[] -[a=1] ~[]")
		stop()
		w.NothingLeft()
	})
}

// Run joins again in a new session, and ends when its function returns.
func TestStaySurvivesLostSessions(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		opts := session.Options{Servers: w.Servers(), Timeout: recipetest.Timeout, Dial: w.DialContext}
		joins := 0
		err := group.Run(t.Context(), opts, path, "a", nil, func(ctx context.Context, m *group.Membership) error {
			if joins++; joins == 3 {
				return nil
			}
			stat, err := w.Admin().Exists(ctx, w.Ephemerals(path)[0])
			ok(t, err)
			ok(t, w.Expire(stat.EphemeralOwner))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if err != nil || joins != 3 {
			t.Errorf("Run returned %v after %d joins, want nil after 3", err, joins)
		}
		w.NothingLeft()
	})
}

// A member that leaves by itself does not join again. It makes no difference whether Run notices
// the departure before its function returns or afterwards.
func TestStayEndsWithLeave(t *testing.T) {
	for _, pause := range []time.Duration{0, time.Second} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			opts := session.Options{Servers: w.Servers(), Timeout: recipetest.Timeout, Dial: w.DialContext}
			joins := 0
			err := group.Run(t.Context(), opts, path, "a", nil, func(ctx context.Context, m *group.Membership) error {
				if joins++; joins > 1 {
					return nil
				}
				ok(t, m.Leave(ctx))
				time.Sleep(pause)
				if cause := context.Cause(ctx); pause > 0 && !errors.Is(cause, group.ErrLeft) {
					t.Errorf("pause of %v: the membership ended with %v, want ErrLeft",
						pause, cause)
				}
				return nil
			})
			if err != nil || joins != 1 {
				t.Errorf("pause of %v: Run returned %v after %d joins, want nil after 1",
					pause, err, joins)
			}
			w.NothingLeft()
		})
	}
}

func TestBadIDs(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		for _, id := range []string{"", "a/b", "a\x00", "\xff"} {
			if _, err := group.New(w.Admin().Session, path).Join(t.Context(), id, nil); !errors.Is(err, group.ErrID) {
				t.Errorf("id %q: got error %v, want ErrID", id, err)
			}
		}
		for _, id := range []string{"host:8080", "a-0000000001", "..", "0123456789"} {
			m := join(t, w.Admin(), id, "x")
			listed(t, w, id+"=x")
			ok(t, m.Leave(t.Context()))
		}
	})
}

// While there is no session, a view keeps the last members.
func TestViewOutlivesItsSession(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, f := w.Client(), w.Client()
		join(t, a, "a", "1")
		view := group.NewView(path)
		if _, any := view.Pick(group.Random()); any {
			t.Error("Pick of an empty view returned a member, want none")
		}
		done := make(chan error, 1)
		go func() { done <- view.Keep(t.Context(), f.Session) }()
		<-view.Ready()
		f.Lose()
		if err := <-done; !errors.Is(err, session.ErrLost) {
			t.Errorf("Keep returned %v, want ErrLost", err)
		}
		if m, any := view.Pick(group.Random()); !any || m.ID != "a" {
			t.Errorf("Pick returned member %q, %v; want member a", m.ID, any)
		}
	})
}

// Join fails if the group's path is empty. An empty path does not mean the root.
func TestNoPathIsRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		if _, err := group.New(w.Client().Session, "").Join(t.Context(), "m", nil); session.OutcomeOf(err) != session.Failed {
			t.Errorf("Join with an empty path: got error %v, want outcome Failed", err)
		}
		w.NothingLeft()
	})
}

// A deferred membership.Leave(ctx) ends the membership even if ctx has ended.
//
// Covers G1.
func TestLeaveWithAnEndedContextLeaves(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		m := join(t, w.Client(), "a", "1")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Leave(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("leave: got error %v, want %v", err, context.Canceled)
		}
		listed(t, w, "")
		w.NothingLeft()
	})
}
