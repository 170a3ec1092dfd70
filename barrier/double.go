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
	"github.com/zkcoord/zkcoord/internal/turn"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// ErrSize means that the members of a Double use different sizes. Give all
// members the same size.
var ErrSize = errors.New("barrier: members disagree on the size of a round")

// A Double is a barrier that a fixed number of members enter together and leave
// together. It is the recipe "Double Barriers" of ZooKeeper's documentation,
// with rounds. A Double is safe for concurrent use. Each call of Enter is a
// separate member.
type Double struct {
	s    *session.Session
	path string
	size int

	invalid error // set if the constructor's arguments are invalid

	turn turn.Turn // held while a call waits for withdrawals

	mu          sync.Mutex
	withdrawals []*withdrawal // removals of members that gave up, unless known to have succeeded
}

// NewDouble returns the double barrier at path. The parameter `size` is the number of members of a
// round. NewDouble sends no request. If path is invalid, or size is below 1 or too large, each
// Enter returns an error that wraps session.ErrInvalid. The size is limited because one transaction
// opens a round and names all its members. Each member takes about 150 bytes plus the length of the
// path. With the default session.Options.MaxRequest and a path of 50 bytes, about 5000 members fit.
func NewDouble(s *session.Session, path string, size int) *Double {
	d := &Double{s: s, path: path, size: size}
	d.invalid = d.check()
	return d
}

// maxSize is more than the number of members that fit into the largest request that session.Options
// allows. Sizes above maxSize are refused without building the request.
const maxSize = 2_000_000

func (d *Double) check() error {
	if err := session.CheckPath(d.path); err != nil {
		return err
	}
	if d.size < 1 || d.size > maxSize {
		return invalid.New("a round has %d members: must be 1 to %d", d.size, maxSize)
	}
	longest := strings.Repeat("0", idLength) + memberSuffix + znode.Seq(math.MinInt32).String()
	if err := recipe.Fits(d.s, d.openOps(math.MaxInt32-1, slices.Repeat([]string{longest}, d.size))...); err != nil {
		return invalid.New("a round has %d members, too many for one transaction: %w", d.size, err)
	}
	return nil
}

// idLength is the length of an ID of recipe.NewID. memberSuffix follows the ID in the name of a
// member's znode.
const (
	idLength     = 32
	memberSuffix = "-member-"
)

// Enter joins the round that is gathering members, and returns when that round opens. Only one
// round gathers members at a time. When it has the required number of members, it opens for them,
// and the next round begins to gather members.
//
// If ctx ends first, or on any other error, the member is removed, and the round waits for another
// member in its place. If the round opened before the removal, the member counts as having entered
// and left. session.OutcomeOf of the error says whether this may have happened: Failed means that
// the member never counted.
//
// Each call of Enter is a separate member. So if a program calls Enter again after an error, a
// round could count that program twice. To prevent this, a later Enter of the same Double starts
// only after the member of the failed call is removed. If that member could not be removed, for
// example because of an ACL, the later Enter tries again to remove the member, and fails if the
// removal fails again.
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
		if r == nil && m.sent {
			m.withdraw()
			// The round may count the member until the member is removed.
			effect = session.Indeterminate
		}
		switch {
		case err != nil:
			return nil, d.notEntered(effect, err)
		case r != nil:
			return r, nil
		}
		// The round opened without this member or can no longer open, for example because another
		// client deleted it. So the member joins again.
	}
}

// notEntered returns the error of an Enter. The outcome says whether the round
// may have counted the member.
func (d *Double) notEntered(effect session.Outcome, err error) error {
	return fmt.Errorf("barrier: enter %s: %w", d.path,
		&session.RequestError{Op: "enter", Path: d.path, Outcome: effect, Err: err})
}

// A member is one call of Enter in one round.
type member struct {
	d     *Double
	id    string
	round int32
	sent  bool   // the creation of the member's znode was sent, and nothing proves that it failed
	name  string // name of the member's znode; "" until it is known
}

func (d *Double) roundPath(round int32) string {
	return znode.Join(d.path, fmt.Sprintf("%010d", round))
}

func (m *member) path() string { return znode.Join(m.d.roundPath(m.round), m.name) }

// The method `enter` joins the gathering round and waits until that round opens. It returns nil and
// no error if m must join again, because the round opened without m or can no longer open.
func (m *member) enter(ctx context.Context) (*Round, error) {
	if err := m.join(ctx); err != nil {
		return nil, err
	}
	made := int64(0) // czxid of the round's directory
	over := false    // another round is gathering
	for {
		round, w, err := m.d.watch(ctx, m.d.roundPath(m.round))
		if errors.Is(err, session.ErrNoNode) {
			return nil, nil // the others have opened the round and left it
		}
		if err != nil {
			return nil, err
		}
		if made = cmp.Or(made, round.Stat.Czxid); made != round.Stat.Czxid {
			w.Stop()
			return nil, nil // another client deleted the barrier, and it was created again
		}
		if len(round.Data) > 0 {
			w.Stop()
			return m.entered(strings.Split(string(round.Data), "\n")), nil
		}
		if over {
			w.Stop()
			// The transaction that opens a round also begins the next one. Here another round is
			// gathering, but this round is not open. So another client has changed the data of the
			// barrier, which also begins a round, and this round never opens.
			return nil, nil
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

// completes reports whether the round may have had enough members when m joined it. If completes
// returns false, m neither lists the members nor opens the round. For the member that makes the
// round complete, completes always returns true, so this member can open the round. Therefore no
// member has to watch for new members.
//
// The sequence number of m's znode is the number of znodes that were created earlier in the round.
// If this number is less than size-1, completes returns false.
func (m *member) completes() bool {
	_, before, _ := znode.ParseSeq(m.name)
	return int(before) >= m.d.size-1
}

// entered returns m's part in a round that opened with the given members, or
// nil if m is not among them.
func (m *member) entered(members []string) *Round {
	if !slices.Contains(members, m.name) {
		return nil
	}
	return &Round{m.d, m.round, m.name, members}
}

// withdrawn waits until the members that gave up earlier are removed. Only one call at a time does
// this: it takes the list of these members and waits for each removal. Other calls wait until that
// call has returned.
func (d *Double) withdrawn(ctx context.Context) error {
	if err := d.turn.Take(ctx, ctx); err != nil {
		return err
	}
	defer d.turn.End()
	d.mu.Lock()
	pending := d.withdrawals
	d.withdrawals = nil
	d.mu.Unlock()
	for i, w := range pending {
		if err := w.await(ctx); err != nil {
			d.mu.Lock()
			d.withdrawals = append(d.withdrawals, pending[i:]...)
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

// A withdrawal is the removal of a member that gave up.
type withdrawal struct {
	member *member
	gone   <-chan error // receives the result of the last attempt; nil if that attempt has failed
}

// await waits until the member is removed. If the last attempt has failed, perhaps long ago, await
// makes another attempt and returns the result of that attempt.
func (w *withdrawal) await(ctx context.Context) error {
	for {
		again := w.gone == nil
		if again {
			w.gone = w.member.remove()
		}
		select {
		case err := <-w.gone:
			w.gone = nil
			if err == nil || again {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// withdraw begins to remove the member. The removal continues even if the caller's context ends.
// The next Enter waits for the removal.
func (m *member) withdraw() {
	w := &withdrawal{m, m.remove()}
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.withdrawals = append(m.d.withdrawals, w)
}

// remove begins to delete the member's znode, as work of the session. The channel receives nil when
// the znode is gone, or the error with which the session gives up.
func (m *member) remove() <-chan error {
	return recipe.RemoveFound(m.d.s, func(ctx context.Context) (recipe.Node, error) {
		if m.name == "" {
			// After ReadBarrier, a list without the znode proves that there is no znode. A sync
			// would not be enough: the leader may answer a sync before it applies a create that it
			// has already committed.
			if err := recipe.ReadBarrier(ctx, m.d.s, m.d.roundPath(m.round)); err != nil {
				return recipe.Node{}, err
			}
			if err := m.find(ctx); err != nil || m.name == "" {
				return recipe.Node{}, err
			}
		}
		return recipe.Node{Path: m.path()}, nil
	})
}

// join creates the member's znode in the round that is gathering.
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
		m.sent = session.OutcomeOf(err) != session.Failed
		switch {
		case err == nil:
			return nil
		case errors.Is(err, session.ErrNoNode):
			// The barrier is gone, or another client deleted the directory of
			// the round.
			if err := m.d.skip(ctx, gathering); err != nil {
				return err
			}
		case !errors.Is(err, session.ErrBadVersion):
			return err
		}
	}
}

// find sets m.name if the server lists the znode of the member.
func (m *member) find(ctx context.Context) error {
	names, err := m.d.members(ctx, m.round)
	for _, name := range names {
		if strings.HasPrefix(name, m.id) {
			m.name = name
		}
	}
	return err
}

// The method `gathering` returns the number of the round that is gathering members. It creates the
// barrier if there is none. A server that is behind may return an earlier round. Then the
// transaction that joins the round fails, and the method `join` calls `gathering` again. By then
// the server has caught up, because it has answered that transaction.
func (d *Double) gathering(ctx context.Context) (int32, error) {
	for caughtUp := false; ; {
		value, err := d.s.Get(ctx, d.path)
		switch size := string(value.Data); {
		case err == nil && size == strconv.Itoa(d.size):
			return value.Stat.Version, nil
		case err == nil && caughtUp:
			return 0, fmt.Errorf("%w: this member has %d, the barrier has %q", ErrSize, d.size, size)
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

// The method `create` creates the barrier with its first round.
func (d *Double) create(ctx context.Context) error {
	err := recipe.WithParents(ctx, d.s, d.path, func(ctx context.Context) error {
		_, err := d.s.Multi(ctx,
			session.CreateOp{Path: d.path, Data: []byte(strconv.Itoa(d.size))},
			session.CreateOp{Path: d.roundPath(0)})
		return err
	})
	switch {
	case errors.Is(err, session.ErrNodeExists), session.ConnectionLost(err):
		return nil // the caller reads the barrier again
	}
	return err
}

// The method `skip` begins the next round, because the directory of the gathering round is missing.
//
// There are two possible reasons. First, another client may have deleted the directory. Then the
// directory must not be created again, because the round's members would mistake the new directory
// for their own. Second, another client may have set the data of the barrier. The version of the
// barrier's znode is the number of the gathering round, and each change of the data increases this
// version. So that client has begun a round without creating its directory. Then the previous round
// can no longer open, and its members would wait forever. So `skip` first calls dismiss, which
// makes these members join again.
func (d *Double) skip(ctx context.Context, round int32) error {
	if err := d.dismiss(ctx, round); err != nil {
		return err
	}
	_, err := d.s.Multi(ctx,
		session.SetOp{Path: d.path, Data: []byte(strconv.Itoa(d.size)), Version: round},
		session.CreateOp{Path: d.roundPath(round + 1)})
	switch {
	case errors.Is(err, session.ErrBadVersion), errors.Is(err, session.ErrNoNode), session.ConnectionLost(err):
		return nil // the caller reads the barrier again
	}
	return err
}

// dismiss makes members that still wait in older rounds join again. A round that is older than the
// gathering round and not open yet can no longer open. So dismiss sets the data of the round's
// directory to "nobody", where an open round has the names of its members. The members that wait in
// the round then find that it has opened without them, and join again.
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

// members lists the members of a round in the order in which they joined. A server that is behind
// may still list members that have left. But the list contains each member that joined before the
// last write of this session and has not left.
func (d *Double) members(ctx context.Context, round int32) ([]string, error) {
	var listing session.Listing
	err := d.s.Retry(ctx, func(ctx context.Context) (err error) {
		listing, err = d.s.Children(ctx, d.roundPath(round))
		return err
	})
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return nil, err
	}
	return sortedMembers(listing.Names), nil
}

// The method `watch` calls Session.GetWatch, and repeats the call while the server is too busy.
// Without the repetition, the member would give up, although the round may have counted it.
func (d *Double) watch(ctx context.Context, path string) (value session.Value, w *session.Watch, err error) {
	err = d.s.Retry(ctx, func(ctx context.Context) (err error) {
		value, w, err = d.s.GetWatch(ctx, path)
		return err
	})
	return value, w, err
}

// sortedMembers returns those names that are members, in the order of their
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

// The method `open` opens the round with the given members, unless one of them has gone. If the
// result `opened` is false and err is nil, the caller must read the round again. The error
// session.ErrBadVersion means that the round is already open or will never open.
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

// openOps returns the ops of the transaction that opens a round with the given members. The
// transaction fails if one of these members has gone. The versions in the ops ensure that the
// transaction is applied at most once. After the transaction, no member can join the round.
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

// The method `sweep` begins to delete, in the background, the empty directories of rounds before
// the given one. Such a directory remains if the members of its round crash.
func (d *Double) sweep(before int32) {
	recipe.Detach(d.s, func(ctx context.Context) error {
		listing, err := d.s.Children(ctx, d.path)
		for _, name := range listing.Names {
			if n, err := strconv.ParseInt(name, 10, 32); err == nil && int32(n) < before {
				// A round that still has members is not empty, so the server
				// refuses to delete it.
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
	members []string // the members for which the round opened
}

// Number returns the number of the round. The first round of a barrier has
// number 0.
func (r *Round) Number() int { return int(r.number) }

// Path returns the path of the member's znode. The other members count this member as having left
// when the znode is deleted, by Leave or by the end of the session.
func (r *Round) Path() string { return znode.Join(r.d.roundPath(r.number), r.name) }

// Leave leaves the round and waits until all its members have left or died. If ctx ends first, the
// member has left nevertheless, and the other members do not wait for it. To wait for them, Leave
// can be called again.
//
// The member that joined first keeps its znode until all other members have left. Of the members
// that remain, it always waits for the one that joined last. The other members delete their znodes
// and wait for the first member. So the departure of the first member wakes all members that still
// wait. The departure of another member wakes at most one member.
//
// If the first member has gone before the others, for example because it died, the leaving members
// wait for the earliest member that remains. The departure of that member then wakes all of them.
func (r *Round) Leave(ctx context.Context) error {
	err := r.leave(ctx)
	if err != nil {
		recipe.Detach(r.d.s, r.remove)
		return fmt.Errorf("barrier: leave round %d of %s: %w", r.number, r.d.path, err)
	}
	return nil
}

func (r *Round) leave(ctx context.Context) error {
	// The first iteration uses the members for which the round opened. It needs no list from the
	// server, because a wait for a member that has already left ends at once. Later lists are
	// reduced to the members for which the round opened. So Leave never waits for a member that
	// came too late for the round.
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

// The method `end` deletes the directory of the round together with the znode of its last member.
func (r *Round) end(ctx context.Context) error {
	dir := r.d.roundPath(r.number)
	_, err := r.d.s.Multi(ctx,
		session.DeleteOp{Path: r.Path(), Version: session.AnyVersion},
		session.DeleteOp{Path: dir, Version: session.AnyVersion})
	if session.ConnectionLost(err) {
		return nil // the caller lists the members again
	}
	if err != nil && session.OutcomeOf(err) == session.Failed {
		return r.remove(ctx) // there is another znode in the directory
	}
	return err
}

func (r *Round) remove(ctx context.Context) error {
	return recipe.Remove(ctx, r.d.s, recipe.Node{Path: r.Path()})
}

// awaitGone waits until a member's znode is deleted. It uses GetWatch instead of ExistsWatch,
// because GetWatch sets no watch if the znode is already deleted.
func (r *Round) awaitGone(ctx context.Context, name string) error {
	_, w, err := r.d.watch(ctx, znode.Join(r.d.roundPath(r.number), name))
	if errors.Is(err, session.ErrNoNode) {
		return nil
	}
	if err == nil {
		_, err = w.Wait(ctx)
	}
	return err
}
