package barrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// ErrSize means that the members of a Double do not agree on their number.
var ErrSize = errors.New("barrier: members disagree on the size of a round")

// A Double is a barrier that a number of members enter together and leave
// together: the recipe "Double Barriers" of ZooKeeper's documentation, with
// rounds. It is safe for concurrent use; each Enter is a member of its own.
type Double struct {
	s    *session.Session
	path string
	size int

	invalid error // of the constructor's arguments

	turn chan struct{} // full while somebody waits for those who gave up

	mu   sync.Mutex
	gone []<-chan error // of the withdrawals under way
}

// NewDouble returns the double barrier at path for rounds of size members. No
// request is made. An invalid path is an error of each Enter, session.ErrInvalid, and
// so is a size below 1 or above what fits: one transaction opens a round and names all
// its members, each of which takes about 150 bytes and the path. With the default
// session.Options.MaxRequest and a path of 50 bytes those are some 5000 members.
func NewDouble(s *session.Session, path string, size int) *Double {
	d := &Double{s: s, path: path, size: size, turn: make(chan struct{}, 1)}
	d.invalid = d.check()
	return d
}

// maxSize is more than fits a request of any size that a session allows.
const maxSize = 2_000_000

func (d *Double) check() error {
	if err := session.CheckPath(d.path); err != nil {
		return err
	}
	if d.size < 1 || d.size > maxSize {
		return invalid.New("a round of %d members", d.size)
	}
	longest := strings.Repeat("0", idLength) + memberSuffix + znode.Seq(math.MinInt32).String()
	if err := recipe.Fits(d.s, d.openOps(math.MaxInt32-1, slices.Repeat([]string{longest}, d.size))...); err != nil {
		return invalid.New("a round of %d members: %w", d.size, err)
	}
	return nil
}

// idLength is that of recipe.NewID, and memberSuffix what follows it in the name of
// a member's node.
const (
	idLength     = 32
	memberSuffix = "-member-"
)

// Enter joins the round that gathers and returns when it opens: when it has
// size members, the first ones to come; further ones gather for the next round.
//
// If ctx ends first, or on any other error, the member has gone, and the round
// waits for another in its place; unless it opened just then, and then the
// member counts as having entered and left. session.OutcomeOf tells whether that
// may be: Failed is that it never counted. A later Enter of this Double begins
// when the member is gone, so that nobody is counted twice.
func (d *Double) Enter(ctx context.Context) (*Round, error) {
	if d.invalid != nil {
		return nil, d.notEntered(session.Failed, d.invalid)
	}
	if err := d.withdrawn(ctx); err != nil {
		return nil, d.notEntered(session.Failed, err)
	}
	for {
		m := &member{d: d, id: recipe.NewID(d.s)}
		r, err := m.enter(ctx)
		effect := session.Failed
		if r == nil && m.asked {
			m.withdraw()
			effect = session.Indeterminate // until it is gone it may count, whatever went wrong since
		}
		switch {
		case err != nil:
			return nil, d.notEntered(effect, err)
		case r != nil:
			return r, nil
		}
		// The round opened without this member, which came too late for it or
		// whose node somebody deleted.
	}
}

// notEntered is the error of an Enter, which says whether the member may count.
func (d *Double) notEntered(effect session.Outcome, err error) error {
	return fmt.Errorf("barrier: enter %s: %w", d.path,
		&session.RequestError{Op: "enter", Path: d.path, Outcome: effect, Err: err})
}

// A member is one call of Enter in one round.
type member struct {
	d     *Double
	id    string
	round int32
	asked bool   // its node was asked for, and there is no proof that it was not made
	name  string // of its node, "" before it is known
}

func (d *Double) roundPath(round int32) string {
	return znode.Join(d.path, fmt.Sprintf("%010d", round))
}

func (m *member) path() string { return znode.Join(m.d.roundPath(m.round), m.name) }

// enter returns nil and no error if the round opened without m.
func (m *member) enter(ctx context.Context) (*Round, error) {
	if err := m.join(ctx); err != nil {
		return nil, err
	}
	made := int64(0) // when the round's directory was
	over := false    // another round gathers
	for {
		round, w, err := m.d.s.GetWatch(ctx, m.d.roundPath(m.round))
		if errors.Is(err, session.ErrNoNode) {
			return nil, nil // opened and left by the others
		}
		if err != nil {
			return nil, err
		}
		if made = cmp.Or(made, round.Stat.Czxid); made != round.Stat.Czxid {
			w.Stop()
			return nil, nil // somebody deleted the barrier, and it was made again
		}
		if len(round.Data) > 0 {
			w.Stop()
			return m.entered(strings.Split(string(round.Data), "\n")), nil
		}
		if over {
			w.Stop()
			return nil, nil // somebody has set the barrier: this round never opens
		}
		var names []string
		if m.completes() {
			names, err = m.d.members(ctx, m.round)
		}
		switch {
		case err != nil:
			w.Stop()
			return nil, err
		case m.completes() && !slices.Contains(names, m.name):
			w.Stop()
			return nil, nil
		case len(names) >= m.d.size:
			w.Stop()
			members := names[:m.d.size]
			opened, err := m.open(ctx, members)
			if over = errors.Is(err, session.ErrBadVersion); err != nil && !over {
				return nil, err
			}
			if opened {
				return m.entered(members), nil
			}
		default:
			if _, err := w.Wait(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// completes reports whether the round may have become complete by m's coming:
// not if fewer nodes were made in it before, which is what the number counts.
// Who makes it complete sees all its members, and opens it. So nobody looks at
// each newcomer, and those who came first do not list at all.
func (m *member) completes() bool {
	_, before, _ := znode.ParseSeq(m.name)
	return int(before) >= m.d.size-1
}

// entered is the part of m in a round that opened with the given members, nil
// if it is none of them.
func (m *member) entered(members []string) *Round {
	if !slices.Contains(members, m.name) {
		return nil
	}
	return &Round{m.d, m.round, m.name, members}
}

// withdrawn waits until the members that gave up before are gone. One at a time:
// who takes the list waits for all that are on it, and the next one for them too.
func (d *Double) withdrawn(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d.mu.Lock()
	pending := d.gone
	d.gone = nil
	d.mu.Unlock()
	for i, gone := range pending {
		var err error
		select {
		case err = <-gone:
			i++
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			d.mu.Lock()
			d.gone = append(d.gone, pending[i:]...)
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

// withdraw deletes the member's node, however long the caller lives.
func (m *member) withdraw() {
	gone := recipe.RemoveFound(m.d.s, func(ctx context.Context) (recipe.Node, error) {
		if m.name == "" {
			// After ReadBarrier the answer is final, which it would not be after the leader's own sync.
			if err := recipe.ReadBarrier(ctx, m.d.s, m.d.roundPath(m.round)); err != nil {
				return recipe.Node{}, err
			}
			if err := m.find(ctx); err != nil || m.name == "" {
				return recipe.Node{}, err
			}
		}
		return recipe.Node{Path: m.path()}, nil
	})
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.gone = append(m.d.gone, gone)
}

// join makes the member's node in the round that gathers.
func (m *member) join(ctx context.Context) error {
	for {
		gathering, err := m.d.gathering(ctx)
		if err != nil {
			return err
		}
		m.round = gathering
		err = recipe.Once(ctx, m.d.s, m.d.roundPath(gathering), func(ctx context.Context) error {
			results, err := m.d.s.Multi(ctx,
				session.CheckOp{Path: m.d.path, Version: gathering},
				session.CreateOp{Path: m.d.roundPath(gathering) + "/" + m.id + memberSuffix, Mode: session.EphemeralSequential})
			if err == nil {
				_, m.name = znode.Split(results[1].Path)
			}
			return err
		}, func(ctx context.Context) (bool, error) {
			err := m.find(ctx)
			return m.name != "", err
		})
		m.asked = session.OutcomeOf(err) != session.Failed
		switch {
		case err == nil:
			return nil
		case errors.Is(err, session.ErrNoNode):
			// The barrier is gone, or somebody deleted the directory of the round.
			if err := m.d.skip(ctx, gathering); err != nil {
				return err
			}
		case !errors.Is(err, session.ErrBadVersion):
			return err
		}
	}
}

// find looks for the member's node.
func (m *member) find(ctx context.Context) error {
	names, err := m.d.members(ctx, m.round)
	for _, name := range names {
		if strings.HasPrefix(name, m.id) {
			m.name = name
		}
	}
	return err
}

// gathering returns the number of the round that gathers. It makes the barrier
// if there is none. It may be told of an earlier round: then the member cannot
// join, and behind that transaction the server is up to date.
func (d *Double) gathering(ctx context.Context) (int32, error) {
	for caughtUp := false; ; {
		value, err := d.s.Get(ctx, d.path)
		switch size := string(value.Data); {
		case err == nil && size == strconv.Itoa(d.size):
			return value.Stat.Version, nil
		case err == nil && caughtUp:
			return 0, fmt.Errorf("%w: %d and %q", ErrSize, d.size, size)
		case err == nil:
			if err := recipe.ReadBarrier(ctx, d.s, d.path); err != nil {
				return 0, err
			}
			caughtUp = true
			continue
		}
		if !errors.Is(err, session.ErrNoNode) {
			return 0, err
		}
		if err := d.create(ctx); err != nil {
			return 0, err
		}
	}
}

// create makes the barrier, with its first round.
func (d *Double) create(ctx context.Context) error {
	err := recipe.WithParents(ctx, d.s, d.path, func(ctx context.Context) error {
		_, err := d.s.Multi(ctx,
			session.CreateOp{Path: d.path, Data: []byte(strconv.Itoa(d.size))},
			session.CreateOp{Path: d.roundPath(0)})
		return err
	})
	switch {
	case errors.Is(err, session.ErrNodeExists), session.ConnectionLost(err):
		return nil // it is looked for again
	}
	return err
}

// skip has the next round gather instead of one whose directory somebody
// deleted: those who were in it would take the same one, made again, for theirs.
// Or it never had one, as somebody has set the barrier: then those who are in the
// round before wait in vain, and are told.
func (d *Double) skip(ctx context.Context, round int32) error {
	if err := d.dismiss(ctx, round); err != nil {
		return err
	}
	_, err := d.s.Multi(ctx,
		session.SetOp{Path: d.path, Data: []byte(strconv.Itoa(d.size)), Version: round},
		session.CreateOp{Path: d.roundPath(round + 1)})
	switch {
	case errors.Is(err, session.ErrBadVersion), errors.Is(err, session.ErrNoNode), session.ConnectionLost(err):
		return nil // it is looked at again
	}
	return err
}

// dismiss opens the rounds before the one that gathers for nobody, but for those
// that have opened.
func (d *Double) dismiss(ctx context.Context, gathering int32) error {
	listing, err := d.s.Children(ctx, d.path)
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return err
	}
	for _, name := range listing.Names {
		if n, err := strconv.ParseInt(name, 10, 32); err != nil || int32(n) >= gathering {
			continue
		}
		for again := true; again; again = session.ConnectionLost(err) {
			_, err = d.s.Multi(ctx,
				session.CheckOp{Path: d.path, Version: gathering},
				session.SetOp{Path: znode.Join(d.path, name), Data: []byte("nobody"), Version: 0})
		}
		if session.OutcomeOf(err) == session.Indeterminate {
			return err
		}
	}
	return nil
}

// members lists the members of a round, first come first. A server that is
// behind shows those that have left, but leaves out none whose node this
// session knows to be older than what it asked for before.
func (d *Double) members(ctx context.Context, round int32) ([]string, error) {
	listing, err := d.s.Children(ctx, d.roundPath(round))
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return nil, err
	}
	return sortedMembers(listing.Names), nil
}

// sortedMembers returns those of names that are members, in the order of their
// numbers.
func sortedMembers(names []string) []string {
	number := func(name string) (znode.Seq, bool) {
		prefix, seq, ok := znode.ParseSeq(name)
		return seq, ok && strings.HasSuffix(prefix, memberSuffix)
	}
	members := make([]string, 0, len(names))
	for _, name := range names {
		if _, ok := number(name); ok {
			members = append(members, name)
		}
	}
	slices.SortFunc(members, func(a, b string) int {
		x, _ := number(a)
		y, _ := number(b)
		if x.Before(y) {
			return -1
		}
		return 1
	})
	return members
}

// open opens the round with the given members, unless one of them has gone:
// where it does not say opened, the round is to be looked at again. An error
// that is session.ErrBadVersion says that it is open already or never will be.
func (m *member) open(ctx context.Context, names []string) (opened bool, err error) {
	_, err = m.d.s.Multi(ctx, m.d.openOps(m.round, names)...)
	switch {
	case err == nil:
		m.d.sweep(m.round)
		return true, nil
	case session.ConnectionLost(err), errors.Is(err, session.ErrNoNode):
		return false, nil
	}
	return false, err
}

// openOps open a round with the given members. All of them are there, in this very
// transaction; nobody joins this round after it; and by the versions it is done once.
func (d *Double) openOps(round int32, names []string) []session.Op {
	ops := make([]session.Op, 0, 3+len(names))
	ops = append(ops,
		session.SetOp{Path: d.path, Data: []byte(strconv.Itoa(d.size)), Version: round},
		session.SetOp{Path: d.roundPath(round), Data: []byte(strings.Join(names, "\n")), Version: 0},
		session.CreateOp{Path: d.roundPath(round + 1)})
	for _, name := range names {
		ops = append(ops, session.CheckOp{Path: znode.Join(d.roundPath(round), name), Version: session.AnyVersion})
	}
	return ops
}

// sweep deletes what crashed rounds before the given one have left.
func (d *Double) sweep(before int32) {
	recipe.Detach(d.s, func(ctx context.Context) error {
		listing, err := d.s.Children(ctx, d.path)
		for _, name := range listing.Names {
			if n, err := strconv.ParseInt(name, 10, 32); err == nil && int32(n) < before {
				// A round that members are in still is not empty, and stays.
				_ = d.s.Delete(ctx, znode.Join(d.path, name), session.AnyVersion)
			}
		}
		return err
	})
}

// A Round is one member's part in a round that it has entered.
type Round struct {
	d       *Double
	number  int32
	name    string
	members []string // those that it opened with
}

// Number counts the rounds of the barrier, from 0.
func (r *Round) Number() int { return int(r.number) }

// Leave leaves the round and waits until all its members have left or died. If
// ctx ends first, the member has left all the same, and the others are not held
// up; Leave can be called again to wait for them.
//
// The member that came first stays until the others have gone, and waits on the
// last of them; the others wait on it. So each departure wakes at most one.
func (r *Round) Leave(ctx context.Context) error {
	err := r.leave(ctx)
	if err != nil {
		recipe.Detach(r.d.s, r.remove)
		return fmt.Errorf("barrier: leave round %d of %s: %w", r.number, r.d.path, err)
	}
	return nil
}

func (r *Round) leave(ctx context.Context) error {
	// Nobody is listed at first: who has left already is not waited for, and
	// those that came too late for the round never are.
	for names := r.members; len(names) > 0; {
		on, err := names[0], error(nil)
		switch own := slices.Index(names, r.name); {
		case own == 0 && len(names) == 1:
			err = r.end(ctx)
		case own == 0:
			on = names[len(names)-1]
		case own > 0:
			err = r.remove(ctx)
		}
		if err == nil && on != r.name {
			err = r.awaitGone(ctx, on)
		}
		if err != nil {
			return err
		}
		if names, err = r.d.members(ctx, r.number); err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(r.members, name) })
	}
	return nil
}

// end removes the round with its last member.
func (r *Round) end(ctx context.Context) error {
	dir := r.d.roundPath(r.number)
	_, err := r.d.s.Multi(ctx,
		session.DeleteOp{Path: znode.Join(dir, r.name), Version: session.AnyVersion},
		session.DeleteOp{Path: dir, Version: session.AnyVersion})
	if session.ConnectionLost(err) {
		return nil // it is looked at again
	}
	if err != nil && session.OutcomeOf(err) == session.Failed {
		return r.remove(ctx) // there is something else in the directory
	}
	return err
}

func (r *Round) remove(ctx context.Context) error {
	return recipe.Remove(ctx, r.d.s, recipe.Node{Path: znode.Join(r.d.roundPath(r.number), r.name)})
}

// awaitGone waits until a member's node is gone. GetWatch, not ExistsWatch: where it is
// gone already, no watch remains.
func (r *Round) awaitGone(ctx context.Context, name string) error {
	_, w, err := r.d.s.GetWatch(ctx, znode.Join(r.d.roundPath(r.number), name))
	if errors.Is(err, session.ErrNoNode) {
		return nil
	}
	if err == nil {
		_, err = w.Wait(ctx)
	}
	return err
}
