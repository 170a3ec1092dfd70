package scenarios

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Group runs a group under every fault. Some clients join, change their data and leave, in one
// session after another. One client lists the members, and two follow them.
func Group() harness.Scenario {
	return harness.Scenario{
		Name:       "group",
		Claim:      "Under every fault members are listed from join to leave, dead members disappear in time, and followers converge to the true list.",
		Guarantees: []string{"G1", "G2", "G3", "G4"},
		Clients:    6,
		Workload:   groupWorkload(groupProgram{join: joinGroup, follow: followGroup}),
		Faults:     faults("all"),
		Checkers: append(checker.Group(meddled(), 10*time.Second),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpJoin, 20*time.Second)),
		Guards: []checker.Checker{changesTold(50)},
		Calm:   15 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "unprotected",
			Report:   "samuel#229: the reply to the create is lost, and a znode without an owner remains",
			Violates: []string{"group/no-stranger-listed"},
			Faults:   []string{"link-cut"},
			Workload: groupWorkload(groupProgram{join: joinUnprotected, follow: followGroup, leaves: true}),
		}, {
			Name:     "unwatched",
			Report:   "kazoo#151, #218, #29: watches are not restored after the connection was lost",
			Violates: []string{"group/followers-converge"},
			Workload: groupWorkload(groupProgram{join: joinGroup, follow: followUnwatched}),
		}, {
			Name:     "missing",
			Report:   "kazoo#153: a children watch stops silently where the znode is missing",
			Violates: []string{"group/followers-converge"},
			Workload: groupWorkload(groupProgram{join: joinGroup, follow: followExisting}),
		}},
	}
}

func changesTold(n int) checker.Checker {
	return checker.AtLeast("run/changes-reported", n, "changes reported to followers", func(h *history.History) (found int) {
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Watch && e.Op == checker.WatchMembers {
				found++
			}
		}
		return found
	})
}

// A groupProgram describes the clients' behavior.
type groupProgram struct {
	path string
	// join joins in a session of this process. It is nil for clients in other languages.
	join  func(ctx context.Context, s *session.Session, path, id string) (member, error)
	fleet *fleet
	// follow is nil for clients in other languages, because their protocol has no such operation.
	follow func(ctx context.Context, s *session.Session, path string) iter.Seq2[group.Change, error]
	// If `leaves` is true, the clients give up no join, and every member calls Leave unless its
	// session is lost. If `leaves` is false, a list may contain the id of a join that was given up,
	// or of a member that did not leave. The property group/no-stranger-listed cannot judge such an
	// id.
	leaves bool
}

// A member is a membership in a group: a group.Membership, a broken variant of it, or the
// membership of a client in another language.
type member interface {
	Update(ctx context.Context, data []byte) error
	Leave(ctx context.Context) error
}

// A circle is one client's handle on a group in one session.
type circle interface {
	join(ctx context.Context, id string) (member, error)
	// members lists the members for the checkers. If `fresh` is true, the list must show every
	// change that completed before the call.
	members(ctx context.Context, fresh bool) (string, error)
}

// ourCircle uses a group.Group as a circle.
type ourCircle struct {
	p *groupProgram
	s *session.Session
}

func (o ourCircle) join(ctx context.Context, id string) (member, error) {
	return o.p.join(ctx, o.s, o.p.path, id)
}

func (o ourCircle) members(ctx context.Context, fresh bool) (string, error) {
	if fresh {
		if err := recipe.ReadBarrier(ctx, o.s, o.p.path); err != nil {
			return "", err
		}
	}
	members, err := group.New(o.s, o.p.path).Members(ctx)
	return list(members), err
}

func joinGroup(ctx context.Context, s *session.Session, path, id string) (member, error) {
	return group.New(s, path).Join(ctx, id, nil)
}

func followGroup(ctx context.Context, s *session.Session, path string) iter.Seq2[group.Change, error] {
	return group.New(s, path).Changes(ctx)
}

func groupWorkload(p groupProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := p
		p.path = znode.Join(env.Root(), "group")
		circles := supply[circle]{
			open:  func(s *session.Session, _ string) circle { return ourCircle{&p, s} },
			fleet: p.fleet,
			apart: func(r *remote) circle { return remoteCircle{r} },
		}
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			last := len(c.Env().Clients()) - c.ID
			if last <= 2 && p.follow != nil {
				return p.watch(ctx, c)
			}
			g, life, end, err := circles.enter(ctx, c, p.path)
			if err != nil {
				return err
			}
			defer end()
			if last == 3 && p.follow != nil || last == 1 {
				return p.ask(ctx, c, g, life)
			}
			for c.Next(ctx) {
				if stays := p.belong(ctx, c, g); stays && life.Err() == nil {
					return errors.New("the client starts another session without leaving the group")
				}
				if err := life.Err(); err != nil {
					return err
				}
			}
			return nil
		}}
	}
}

// The method `belong` joins the group, changes the member's data a few times, and usually leaves.
// It returns true if the member did not leave, so that the membership ends with the session. The
// last membership of a run lasts a while longer, so that the group is not empty at the end.
func (p *groupProgram) belong(ctx context.Context, c *harness.Client, g circle) (stays bool) {
	id := fmt.Sprintf("m%d", c.ID)
	c.Pause(ctx, upTo(500*time.Millisecond)(c))
	m, err := p.enter(ctx, c, g, id)
	if err != nil {
		return false
	}
	for range 1 + c.Rand.IntN(4) {
		c.Pause(ctx, usual(c))
		if c.Rand.IntN(2) == 0 && p.fleet == nil {
			c.Do(ctx, history.Event{Op: checker.OpUpdate, Object: p.path, Arg: id}, func(ctx context.Context) (e history.Event, err error) {
				return e, m.Update(ctx, strconv.AppendUint(nil, c.Rand.Uint64(), 16))
			})
		}
		p.list(ctx, c, g)
	}
	if !c.Next(ctx) {
		times.Sleep(ctx, 3*time.Second)
	} else if !p.leaves && c.Rand.IntN(6) == 0 {
		return true
	}
	c.Do(ctx, history.Event{Op: checker.OpLeave, Object: p.path, Arg: id}, func(ctx context.Context) (e history.Event, err error) {
		return e, m.Leave(ctx)
	})
	return false
}

func (p *groupProgram) enter(ctx context.Context, c *harness.Client, g circle, id string) (m member, err error) {
	if !p.leaves {
		var cancel func()
		ctx, cancel = limited(ctx, often(6, 300*time.Millisecond)(c))
		defer cancel()
	}
	_, err = c.Do(ctx, history.Event{Op: checker.OpJoin, Object: p.path, Arg: id}, func(ctx context.Context) (e history.Event, err error) {
		m, err = g.join(ctx, id)
		return e, err
	})
	return m, err
}

func (p *groupProgram) ask(ctx context.Context, c *harness.Client, g circle, of life) error {
	for c.Next(ctx) && of.Err() == nil {
		p.list(ctx, c, g)
		c.Pause(ctx, upTo(200*time.Millisecond)(c))
	}
	if !c.Next(ctx) {
		return nil // the work is over, so a lost session is no error
	}
	return of.Err()
}

// The method `list` requests the list of members. About half of the calls require a fresh list: see
// the type circle.
func (p *groupProgram) list(ctx context.Context, c *harness.Client, g circle) {
	op := history.Event{Op: checker.OpMembers, Object: p.path}
	if c.Rand.IntN(2) == 0 {
		op.Arg = checker.Present
	}
	c.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) {
		e.Result, err = g.members(ctx, op.Arg == checker.Present)
		return e, err
	})
}

// The function `list` formats members, which are sorted, for the checkers.
func list(members []group.Member) string {
	var all []string
	for _, m := range members {
		all = append(all, fmt.Sprintf("%s@%x", m.ID, m.Incarnation))
	}
	return strings.Join(all, " ")
}

// The method `watch` follows the group in one session. At the end it compares two lists: the
// members according to the changes that it followed, and the members that it lists. It repeats this
// until the two lists are equal, or until neither has changed for two seconds.
func (p *groupProgram) watch(ctx context.Context, c *harness.Client) error {
	s, err := c.Open(ctx, leased())
	if err != nil {
		return err
	}
	defer s.Close()
	watching, stop := context.WithCancel(ctx)
	told := &toldMembers{}
	var stream sync.WaitGroup
	stream.Go(func() {
		for change, err := range p.follow(watching, s, p.path) {
			if err == nil {
				c.Record(told.event(p.path, change))
			}
		}
	})
	defer stream.Wait()
	defer stop()
	_, err = c.Do(ctx, history.Event{Op: "follow", Object: p.path}, func(ctx context.Context) (e history.Event, err error) {
		for c.Next(ctx) && s.Err() == nil {
			c.Pause(ctx, 100*time.Millisecond)
		}
		return e, s.Err()
	})
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, history.Event{Op: checker.OpMembers, Object: p.path, Arg: checker.Settled}, func(ctx context.Context) (e history.Event, err error) {
		const enough = 2 * time.Second
		for end := time.Now().Add(enough); ; times.Sleep(ctx, 20*time.Millisecond) {
			before := e
			e.Result, err = ourCircle{p, s}.members(ctx, true)
			if e.Arg = told.now(); e != before {
				end = time.Now().Add(enough) // something has changed, so more changes may still be reported
			}
			if err != nil || e.Arg == e.Result || time.Now().After(end) {
				return e, err
			}
		}
	})
	return err
}

// toldMembers adds up the changes that a client receives when it follows a group.
type toldMembers struct {
	mu      sync.Mutex
	members map[string]group.Member
}

func (t *toldMembers) event(path string, change group.Change) history.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.members == nil {
		t.members = make(map[string]group.Member)
	}
	for _, m := range change.Left {
		delete(t.members, m.ID)
	}
	for _, m := range append(change.Joined, change.Updated...) {
		t.members[m.ID] = m
	}
	return history.Event{Kind: history.Watch, Op: checker.WatchMembers, Object: path, Arg: t.listLocked(), Result: list(change.Members)}
}

func (t *toldMembers) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listLocked()
}

func (t *toldMembers) listLocked() string {
	return list(slices.SortedFunc(maps.Values(t.members), func(a, b group.Member) int { return strings.Compare(a.ID, b.ID) }))
}

// unprotected is a member that creates a second znode when the reply to its create is lost.
type unprotected struct {
	book textbook
	id   string
	node recipe.Node
}

func joinUnprotected(ctx context.Context, s *session.Session, path, id string) (member, error) {
	u := &unprotected{book: textbook{s: s, path: path, does: mistakes{unprotected: true}}, id: id}
	var err error
	u.node, err = u.book.enter(ctx, id)
	return u, err
}

func (u *unprotected) Update(ctx context.Context, _ []byte) error {
	node, err := u.book.enter(ctx, u.id)
	if err != nil {
		return err
	}
	node, u.node = u.node, node
	return u.book.leave(ctx, node)
}

func (u *unprotected) Leave(ctx context.Context) error { return u.book.leave(ctx, u.node) }

// followUnwatched returns a stream of changes that yields no more changes once the session has lost
// its connection.
func followUnwatched(ctx context.Context, s *session.Session, path string) iter.Seq2[group.Change, error] {
	return untilSuspended(ctx, s, followGroup(ctx, s, path))
}

// followExisting returns a stream of changes that ends without an error if the group's znode is
// missing.
func followExisting(ctx context.Context, s *session.Session, path string) iter.Seq2[group.Change, error] {
	return func(yield func(group.Change, error) bool) {
		for change, err := range followGroup(ctx, s, path) {
			if stat, e := s.Exists(ctx, path); e != nil || stat == nil || !yield(change, err) {
				return
			}
		}
	}
}
