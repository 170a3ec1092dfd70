package group

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/session"
)

// A View is who was there last, for those who pick a member for each request
// and must not wait for ZooKeeper. It keeps what it knew while there is no
// session. Feed it with
//
//	session.Run(ctx, opts, view.Keep)
type View struct {
	path  string
	ready chan struct{} // closed when the members are known

	mu      sync.Mutex
	known   bool
	members []Member
}

// NewView returns a view of the group at path, which knows of nobody yet. An invalid
// path is an error of Keep, session.ErrInvalid.
func NewView(path string) *View {
	return &View{path: path, ready: make(chan struct{})}
}

// Keep keeps the view up to date until ctx or the session ends, and returns
// the cause.
func (v *View) Keep(ctx context.Context, s *session.Session) (err error) {
	var change Change
	for change, err = range New(s, v.path).Changes(ctx) {
		if err == nil {
			v.set(change.Members)
		}
	}
	return err
}

func (v *View) set(members []Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.members = members
	if !v.known {
		v.known = true
		close(v.ready)
	}
}

// Ready is closed when the view has been fed once.
func (v *View) Ready() <-chan struct{} { return v.ready }

// Members lists those that were there last, by id.
func (v *View) Members() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.members)
}

// Pick lets p pick one of the members. It is false if there is none.
func (v *View) Pick(p Picker) (Member, bool) {
	members := v.Members()
	if len(members) == 0 {
		return Member{}, false
	}
	return p(members), true
}
