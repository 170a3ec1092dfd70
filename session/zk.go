package session

import "github.com/go-zookeeper/zk"

// The types and errors of go-zookeeper that a program meets here, under names of this package. They are the same types
// and the same values, so a program that imports go-zookeeper too can use either name.
type (
	// Stat is what servers keep about a znode: its versions, its times and its owner.
	Stat = zk.Stat
	// An ACL gives permissions to those who have a credential; see [Options].
	ACL = zk.ACL
	// An Event is what a [Watch] gives.
	Event = zk.Event
	// An EventType is the kind of an [Event].
	EventType = zk.EventType
)

// The kinds of events. EventNotWatching says that the session has ended; Event.Err is then the cause.
const (
	EventNodeCreated         = zk.EventNodeCreated
	EventNodeDeleted         = zk.EventNodeDeleted
	EventNodeDataChanged     = zk.EventNodeDataChanged
	EventNodeChildrenChanged = zk.EventNodeChildrenChanged
	EventNotWatching         = zk.EventNotWatching
)

// Permissions of an [ACL], to be combined with |. PermAll is all of them.
const (
	PermRead   int32 = zk.PermRead
	PermWrite  int32 = zk.PermWrite
	PermCreate int32 = zk.PermCreate
	PermDelete int32 = zk.PermDelete
	PermAdmin  int32 = zk.PermAdmin
	PermAll    int32 = zk.PermAll
)

// WorldACL gives permissions to everybody.
func WorldACL(perms int32) []ACL { return zk.WorldACL(perms) }

// DigestACL gives permissions to sessions with the [Auth] of scheme "digest" for this user and password.
func DigestACL(perms int32, user, password string) []ACL { return zk.DigestACL(perms, user, password) }

// Answers of servers. After each of them the outcome is Failed.
var (
	// ErrNoNode means that the znode, or the parent of the one to be created, does not exist.
	ErrNoNode = zk.ErrNoNode
	// ErrNodeExists means that a znode exists at this path already.
	ErrNodeExists = zk.ErrNodeExists
	// ErrBadVersion means that the znode has another version: another client has changed it. Read it and decide again.
	ErrBadVersion = zk.ErrBadVersion
	// ErrNotEmpty means that the znode to be deleted has children.
	ErrNotEmpty = zk.ErrNotEmpty
	// ErrNoChildrenForEphemerals means that the parent is ephemeral.
	ErrNoChildrenForEphemerals = zk.ErrNoChildrenForEphemerals
	// ErrNoAuth means that the znode's ACL does not allow the request to this session.
	ErrNoAuth = zk.ErrNoAuth
	// ErrInvalidACL means that the ACL is empty, or has a scheme that the servers do not know.
	ErrInvalidACL = zk.ErrInvalidACL
	// ErrSessionMoved means that the session has moved to another server. Repeat the request.
	ErrSessionMoved = zk.ErrSessionMoved
	// ErrBadArguments means that the server does not accept the request.
	ErrBadArguments = zk.ErrBadArguments
)
