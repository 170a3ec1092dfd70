// Package group implements membership on ZooKeeper: members join, change their data and leave, and
// other clients follow these changes. Its common use is service discovery: servers join with their
// address, and clients pick one of them.
//
// # Usage
//
//	registry := group.New(s, "/services/api")
//	m, err := registry.Join(ctx, "api-1", []byte("10.0.0.1:80"))
//	if err != nil {
//		return err
//	}
//	defer m.Leave(ctx)
//
//	for change, err := range registry.Changes(ctx) {
//		if err != nil {
//			return err // ctx or the session ended
//		}
//		fmt.Println(change.Members, change.Joined, change.Left)
//	}
//
// A member is listed until the servers expire its session. So a listed member may
// already be dead, and a member that is not listed may still be running. If two
// members must not act at the same time, use package lock or election.
//
// # Guarantees
//
// G1. A member is listed from the moment when Join returns until it leaves or its
// session ends. It is listed once, whichever replies are lost.
//
// G2. A call of Join that fails or is cancelled leaves no member behind.
//
// G3. A member that changes its data, or joins again in a new session before the
// old one has expired, is not seen to leave in between.
//
// G4. The changes that [Group.Changes] yields add up. The first has all members,
// and each later one says which members joined, left or changed since the one
// before it. In the end they add up to the members that are present. Changes in
// quick succession may be merged into one.
//
// G5. A follower, which is a client that follows the changes of the group, keeps one watch. A
// change costs it one list request, and one read for each member that joined or changed.
//
// In other words, a follower sees each member exactly once, sees the present members in the end,
// and never sees the departure of a member that has stayed.
//
// # Not guaranteed
//
// Two processes that join with the same id count as one member: the one that
// joined last.
//
// # Session loss
//
// A membership ends with its session. A stream of changes ends with the session
// that it reads from. [Run] joins again in each new session. A [View] keeps the
// last members while session.Run opens a new session.
//
// # Goroutines
//
// There is one goroutine for each membership on which Wait, Done or Err was called,
// until the membership or its session ends. Each request in flight has one more.
//
// # Znodes
//
//	<path>/<number>-<member's id>-<sequence>   one incarnation of a member
//
// The number has 32 hexadecimal digits. Each Join and each Update creates an incarnation. If an id
// has several incarnations, the last one counts. If the znode at path does not exist when a member
// joins, the package creates it as a container.
package group
