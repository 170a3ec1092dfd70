package session

import "github.com/go-zookeeper/zk"

// Types and errors of go-zookeeper that appear in the API of this package, with names of this
// package. They are the same types and values, so a program that also imports go-zookeeper can use
// either name.
type (
	// Stat is the metadata of a znode: its versions, times and owner.
	Stat = zk.Stat
	// An ACL gives permissions to sessions that have a credential; see [Options].
	ACL = zk.ACL
	// An Event says what happened to the znode of a [Watch], or that the session has ended.
	Event = zk.Event
	// An EventType is the kind of an [Event].
	EventType = zk.EventType
)

// The kinds of events. EventNotWatching means that the session has ended, and Event.Err is the
// cause.
const (
	EventNodeCreated         = zk.EventNodeCreated
	EventNodeDeleted         = zk.EventNodeDeleted
	EventNodeDataChanged     = zk.EventNodeDataChanged
	EventNodeChildrenChanged = zk.EventNodeChildrenChanged
	EventNotWatching         = zk.EventNotWatching
)

// Permissions of an [ACL], combined with |. PermAll is all of them.
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

// DigestACL gives permissions to sessions with the [Auth] of scheme "digest" for this user and
// password.
func DigestACL(perms int32, user, password string) []ACL { return zk.DigestACL(perms, user, password) }

// Errors of servers. The outcome of each is Failed.
var (
	// ErrNoNode means that the znode, or the parent of a znode to be created, does not exist.
	ErrNoNode = zk.ErrNoNode
	// ErrNodeExists means that a znode already exists at this path.
	ErrNodeExists = zk.ErrNodeExists
	// ErrBadVersion means that the znode has another version, because another client has changed
	// the znode. Read the znode again before you retry.
	ErrBadVersion = zk.ErrBadVersion
	// ErrNotEmpty means that the znode to be deleted has children.
	ErrNotEmpty = zk.ErrNotEmpty
	// ErrNoChildrenForEphemerals means that the parent is ephemeral.
	ErrNoChildrenForEphemerals = zk.ErrNoChildrenForEphemerals
	// ErrNoAuth means that the znode's ACL does not allow the request to this session.
	ErrNoAuth = zk.ErrNoAuth
	// ErrInvalidACL means that the ACL is empty, or has a scheme that the servers do not know.
	ErrInvalidACL = zk.ErrInvalidACL
	// ErrSessionMoved means that the session has moved to another server. ZooKeeper's servers do
	// not send this error. They close the connection instead. A write in progress then fails with
	// the error of a lost connection, whose outcome is Indeterminate.
	ErrSessionMoved = zk.ErrSessionMoved
	// ErrBadArguments means that the server does not accept the request.
	ErrBadArguments = zk.ErrBadArguments
)
