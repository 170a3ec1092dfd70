package group

import (
	"context"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/session"
)

// A View contains the members that were last listed. It serves programs that pick a member for each
// request and must not wait for ZooKeeper. While there is no session, a View keeps the last list.
// To keep a View up to date, run
//
//	session.Run(ctx, opts, view.Keep)
type View struct {
	path  string
	ready chan struct{} // closed when the first list was read

	mu      sync.Mutex
	known   bool
	members []Member
}

// NewView returns an empty view of the group at path. If path is invalid, Keep
// returns an error that wraps session.ErrInvalid.
func NewView(path string) *View {
	return &View{path: path, ready: make(chan struct{})}
}

// Keep keeps the view up to date until ctx or the session ends, or until a server refuses a request
// for good: see Group.Changes. Keep returns the cause of its end.
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

// Ready returns a channel that is closed when the view has read the members for the first time.
func (v *View) Ready() <-chan struct{} { return v.ready }

// Members returns the members that were last listed, sorted by id.
func (v *View) Members() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.members)
}

// Pick lets p pick one of the members. It returns false if there are no members.
func (v *View) Pick(p Picker) (Member, bool) {
	members := v.Members()
	if len(members) == 0 {
		return Member{}, false
	}
	return p(members), true
}
