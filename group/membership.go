package group

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/internal/turn"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Membership is the caller's membership in a group.
type Membership struct {
	group *Group
	id    string
	turn  chan *incarnation // contains the current incarnation, except while a call has taken it
	left  atomic.Bool       // Leave was called: no new incarnation is created

	watching sync.Once
	ctx      context.Context // ends with the membership, if Done, Err, Wait or Leave was called
	end      context.CancelCauseFunc
}

// An incarnation is a znode that represents the member. If a member has several incarnations, the
// last one counts. Each incarnation is deleted only after the earlier ones, because otherwise an
// earlier one would count again.
type incarnation struct {
	node recipe.Node

	removing turn.Turn    // taken by the removal in progress
	before   *incarnation // replaced by this one; nil if none or deleted. Guarded by `removing`.
	gone     bool         // the znode of this one is deleted. Guarded by `removing`.
}

func newIncarnation(node recipe.Node, before *incarnation) *incarnation {
	return &incarnation{node: node, before: before}
}

// ErrLeft means that the membership was ended by Leave. Update, Wait and Err
// return it. To be a member again, join again.
var ErrLeft = errors.New("group: left already")

// Join adds a member to the group. If ctx ends first, or on any other error,
// there is no new member. The error wraps ErrID if the id cannot be part of a
// znode's name.
func (g *Group) Join(ctx context.Context, id string, data []byte) (*Membership, error) {
	if err := cmp.Or(g.invalid, checkID(id)); err != nil {
		return nil, fmt.Errorf("group: join %s: %w", g.path, err)
	}
	m := &Membership{group: g, id: id, turn: make(chan *incarnation, 1)}
	node, err := m.create(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("group: join %s: %w", g.path, err)
	}
	m.ctx, m.end = context.WithCancelCause(context.Background())
	m.turn <- newIncarnation(node, nil)
	return m, nil
}

func (m *Membership) create(ctx context.Context, data []byte) (recipe.Node, error) {
	return recipe.CreateProtected(ctx, m.group.session, m.group.path, m.id, data, session.EphemeralSequential)
}

// The method `take` removes the current incarnation from the channel `turn`. Until the caller puts
// an incarnation back, no other call can replace the current one.
func (m *Membership) take(ctx context.Context) (*incarnation, error) {
	s := m.group.session
	if ctx.Err() != nil { // select would choose at random
		return nil, context.Cause(ctx)
	}
	select {
	case now := <-m.turn:
		return now, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.Done():
		return nil, s.Err()
	}
}

// Update replaces the member's data. If ctx ends while the change is in progress, the session
// continues the change in the background, and the outcome of the error is Indeterminate: see
// session.OutcomeOf. After Leave, Update fails with ErrLeft.
func (m *Membership) Update(ctx context.Context, data []byte) error {
	if err := m.update(ctx, bytes.Clone(data)); err != nil {
		return fmt.Errorf("group: update %s in %s: %w", m.id, m.group.path, err)
	}
	return nil
}

func (m *Membership) update(ctx context.Context, data []byte) error {
	now, err := m.take(ctx)
	if err != nil {
		return m.ended(session.Failed, err)
	}
	if m.left.Load() {
		m.turn <- now
		return m.ended(session.Failed, ErrLeft)
	}
	// Detach the creation from ctx. Otherwise, the end of ctx would cancel the creation. The server
	// could still create the znode, because the request may already have been sent. The session
	// would delete that znode, but only later. Until then other clients would see the new data, and
	// then the old data again. If the member has left meanwhile, other clients would see it in the
	// group although it has left.
	updated := recipe.Detach(m.group.session, func(ctx context.Context) error {
		node, err := m.create(ctx, data)
		if err == nil {
			now = m.replace(now, node)
		}
		m.turn <- now
		return err
	})
	select {
	case err := <-updated:
		return err
	case <-ctx.Done():
		return m.ended(session.Indeterminate, context.Cause(ctx))
	}
}

// ended returns the error of an Update that returns without a server's answer.
func (m *Membership) ended(effect session.Outcome, err error) error {
	return &session.RequestError{Op: "update", Path: m.group.path, Outcome: effect, Err: err}
}

// The method `replace` returns a new incarnation for the given znode, and begins to remove the old
// one in the background. If that removal fails, it is repeated later: the method `remove` of the
// new incarnation removes the old one first.
func (m *Membership) replace(old *incarnation, node recipe.Node) *incarnation {
	recipe.Detach(m.group.session, func(ctx context.Context) error { return old.remove(ctx, m.group.session) })
	return newIncarnation(node, old)
}

// remove deletes the earlier incarnations and then this one.
func (i *incarnation) remove(ctx context.Context, s *session.Session) error {
	if err := i.removing.Take(ctx, ctx); err != nil {
		return err
	}
	defer i.removing.End()
	if i.gone {
		return nil
	}
	if i.before != nil {
		if err := i.before.remove(ctx, s); err != nil {
			return err
		}
		i.before = nil
	}
	err := recipe.Remove(ctx, s, i.node)
	i.gone = err == nil
	return err
}

// Leave ends the membership. If ctx ends before a server has confirmed that the member's znode is
// deleted, Leave returns the cause of ctx, and the session continues to delete the znode in the
// background. Leave may be called again.
func (m *Membership) Leave(ctx context.Context) error {
	m.left.Store(true)
	removed := recipe.Detach(m.group.session, func(ctx context.Context) error {
		now, err := m.take(ctx) // waits for an update in progress
		if err != nil {
			return err
		}
		m.turn <- now
		if err := now.remove(ctx, m.group.session); err != nil {
			return err
		}
		m.end(ErrLeft)
		return nil
	})
	var err error
	select {
	case err = <-removed:
	case <-ctx.Done():
		if err = context.Cause(ctx); errors.Is(err, ErrLeft) {
			// The cause ErrLeft shows that ctx comes from Run. Run ends the context of its
			// function with ErrLeft when Leave was called and the znode is gone. Since the
			// znode is gone, the result of the deletion arrives soon.
			err = <-removed
		}
	}
	if err != nil {
		return fmt.Errorf("group: leave %s: %w", m.group.path, err)
	}
	return nil
}

// Wait waits until the membership has ended, and returns the cause: ErrLeft after Leave,
// session.ErrRevoked if another client deleted the znode, or the error that ended the session. If
// ctx ends first, Wait returns the cause of ctx.
//
// If a server refuses for good to watch the znode, Wait returns the error of that request, for
// example session.ErrNoAuth, and Done is closed. In that case the znode may still exist.
func (m *Membership) Wait(ctx context.Context) error {
	select {
	case <-m.Done():
		return m.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done returns a channel that is closed when the membership has ended, like the Done channel of a
// context. The first call of Done, Err or Wait costs a request. The session then watches the
// member's znode until the membership has ended.
func (m *Membership) Done() <-chan struct{} {
	m.watching.Do(func() {
		if m.ctx.Err() == nil {
			go func() { m.end(m.watch(m.ctx)) }()
		}
	})
	return m.ctx.Done()
}

// Err returns nil until Done is closed. Then it returns the cause, like Wait.
func (m *Membership) Err() error {
	m.Done()
	return context.Cause(m.ctx)
}

// The method `watch` waits until the membership has ended and returns the cause. If ctx ends first,
// it returns the cause of ctx.
func (m *Membership) watch(ctx context.Context) error {
	for {
		now, err := m.take(ctx)
		if err != nil {
			return err
		}
		m.turn <- now
		node := now.node
		// Watch the children of the znode. It has none, so this watch fires only when the znode is
		// deleted. Repeat the request if a server is too busy to set the watch: that error does not
		// mean that the membership has ended.
		var w *session.Watch
		err = m.group.session.Retry(ctx, func(ctx context.Context) (err error) {
			_, w, err = m.group.session.ChildrenWatch(ctx, node.Path)
			return err
		})
		switch {
		case errors.Is(err, session.ErrNoNode):
			now, err := m.take(ctx) // waits for an update in progress, which replaces the znode
			if err != nil {
				return err
			}
			m.turn <- now
			if now.node != node {
				continue // the update has replaced the znode
			}
			if m.left.Load() {
				return ErrLeft
			}
			return session.ErrRevoked
		case err != nil:
			return err
		}
		if _, err := w.Wait(ctx); err != nil {
			return err
		}
	}
}

// Run keeps a member in the group while f runs, even if sessions are lost. It opens sessions one
// after another with the given options, joins, and calls f. The context of f ends when the
// membership or ctx ends, and f must then return. If the session was lost or another client deleted
// the znode, Run joins again after f has returned. Otherwise Run leaves and returns the result of
// f, which may be nil. If ctx has ended, the error also wraps the cause of ctx.
//
// Run repeats a Join whose error is session.Transient. Run returns any other error of Join, unless
// the session was lost: then Run joins again in a new session.
//
// A nil f means a function that only waits until its context ends.
func Run(ctx context.Context, opts session.Options, path, id string, data []byte, f func(ctx context.Context, m *Membership) error) error {
	if f == nil {
		f = func(ctx context.Context, _ *Membership) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
	}
	return session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		for {
			var m *Membership
			err := s.Retry(ctx, func(ctx context.Context) (err error) {
				m, err = New(s, path).Join(ctx, id, data)
				return err
			})
			if err != nil {
				return err
			}
			if ended, err := m.stay(ctx, f); !ended {
				return err
			}
		}
	})
}

// The method `stay` calls f and leaves. The result `ended` reports whether another client deleted
// the znode while f ran. In that case Run must join again.
func (m *Membership) stay(ctx context.Context, f func(context.Context, *Membership) error) (ended bool, err error) {
	within, cancel := context.WithCancelCause(ctx)
	m.Done()
	defer context.AfterFunc(m.ctx, func() { cancel(m.Err()) })()
	err = f(within, m)
	cancel(nil)
	ended = errors.Is(m.Err(), session.ErrRevoked)
	left := m.Leave(ctx)
	switch {
	case ctx.Err() != nil:
		return false, errors.Join(err, context.Cause(ctx))
	case err == nil && !ended:
		err = left
	}
	return ended, err
}
