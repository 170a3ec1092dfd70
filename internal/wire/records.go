package wire

// ConnectRequest opens a connection. It creates a new session if SessionID is 0, and otherwise
// resumes a session.
type ConnectRequest struct {
	ProtocolVersion int32
	LastZxidSeen    int64
	Timeout         int32 // milliseconds
	SessionID       int64
	Password        []byte
	ReadOnly        bool
	NoReadOnly      bool // the frame ends before ReadOnly, like those of clients before 3.4
}

// Fields implements Record.
func (r *ConnectRequest) Fields(f *Fields) {
	f.Int32(&r.ProtocolVersion)
	f.Int64(&r.LastZxidSeen)
	f.Int32(&r.Timeout)
	f.Int64(&r.SessionID)
	f.Buffer(&r.Password)
	f.optionalBool(&r.ReadOnly, &r.NoReadOnly)
}

// ConnectResponse answers a ConnectRequest. A Timeout of 0 means that the session has expired or
// that the client's password is wrong. The server then closes the connection.
type ConnectResponse struct {
	ProtocolVersion int32
	Timeout         int32 // as negotiated, in milliseconds
	SessionID       int64
	Password        []byte
	ReadOnly        bool
	NoReadOnly      bool // the frame ends before ReadOnly, because the client's frame did
}

// Fields implements Record.
func (r *ConnectResponse) Fields(f *Fields) {
	f.Int32(&r.ProtocolVersion)
	f.Int32(&r.Timeout)
	f.Int64(&r.SessionID)
	f.Buffer(&r.Password)
	f.optionalBool(&r.ReadOnly, &r.NoReadOnly)
}

// optionalBool encodes or decodes a Bool that may be missing at the end of a record.
func (f *Fields) optionalBool(v, missing *bool) {
	if f.decoding {
		*missing = !f.More()
	}
	if !*missing {
		f.Bool(v)
	}
}

// RequestHeader is at the start of each frame of a client except the first.
type RequestHeader struct {
	Xid int32
	Op  Op
}

// Fields implements Record.
func (r *RequestHeader) Fields(f *Fields) {
	f.Int32(&r.Xid)
	f.Int32((*int32)(&r.Op))
}

// ReplyHeader is at the start of each frame of a server except the first. If Err is not OK, nothing
// follows the header. A multi that fails because of one of its parts has Err OK: its response has
// the errors.
type ReplyHeader struct {
	Xid  int32
	Zxid int64 // of a write: its own zxid; of a read: the last zxid that the server has applied
	Err  Code
}

// Fields implements Record.
func (r *ReplyHeader) Fields(f *Fields) {
	f.Int32(&r.Xid)
	f.Int64(&r.Zxid)
	f.Int32((*int32)(&r.Err))
}

// Stat is the metadata of a znode.
type Stat struct {
	Czxid, Mzxid   int64
	Ctime, Mtime   int64 // milliseconds since 1970 on the leader's clock
	Version        int32
	Cversion       int32
	Aversion       int32
	EphemeralOwner int64
	DataLength     int32
	NumChildren    int32
	Pzxid          int64
}

// Fields implements Record.
func (r *Stat) Fields(f *Fields) {
	f.Int64(&r.Czxid)
	f.Int64(&r.Mzxid)
	f.Int64(&r.Ctime)
	f.Int64(&r.Mtime)
	f.Int32(&r.Version)
	f.Int32(&r.Cversion)
	f.Int32(&r.Aversion)
	f.Int64(&r.EphemeralOwner)
	f.Int32(&r.DataLength)
	f.Int32(&r.NumChildren)
	f.Int64(&r.Pzxid)
}

// Permissions of an ACL.
const (
	PermRead   int32 = 1
	PermWrite  int32 = 2
	PermCreate int32 = 4
	PermDelete int32 = 8
	PermAdmin  int32 = 16
	PermAll    int32 = 31
)

// An ID is an identity under a scheme of authentication.
type ID struct{ Scheme, ID string }

// Fields implements Record.
func (r *ID) Fields(f *Fields) {
	f.String(&r.Scheme)
	f.String(&r.ID)
}

// An ACL grants permissions to an identity.
type ACL struct {
	Perms int32
	ID
}

// Fields implements Record.
func (r *ACL) Fields(f *Fields) {
	f.Int32(&r.Perms)
	r.ID.Fields(f)
}

func (f *Fields) acl(v *[]ACL) {
	vector(f, v, 12, func(a *ACL) { a.Fields(f) })
}

// Modes of a create. ZooKeeper treats them as numbers, not as bits, and refuses any other number.
const (
	ModePersistent           int32 = 0
	ModeEphemeral            int32 = 1
	ModePersistentSequential int32 = 2
	ModeEphemeralSequential  int32 = 3
	ModeContainer            int32 = 4
	ModeTTL                  int32 = 5
	ModeTTLSequential        int32 = 6
)

// CreateRequest is the request of OpCreate, OpCreate2 and OpCreateContainer.
type CreateRequest struct {
	Path string
	Data []byte
	ACL  []ACL
	Mode int32
}

// Fields implements Record.
func (r *CreateRequest) Fields(f *Fields) {
	f.String(&r.Path)
	f.Buffer(&r.Data)
	f.acl(&r.ACL)
	f.Int32(&r.Mode)
}

// CreateTTLRequest is the request of OpCreateTTL.
type CreateTTLRequest struct {
	CreateRequest
	TTL int64 // milliseconds
}

// Fields implements Record.
func (r *CreateTTLRequest) Fields(f *Fields) {
	r.CreateRequest.Fields(f)
	f.Int64(&r.TTL)
}

// PathVersion is the request of OpDelete and OpCheck. Version -1 matches any version.
type PathVersion struct {
	Path    string
	Version int32
}

// Fields implements Record.
func (r *PathVersion) Fields(f *Fields) {
	f.String(&r.Path)
	f.Int32(&r.Version)
}

// PathWatch is the request of OpExists, OpGetData, OpGetChildren and OpGetChildren2.
type PathWatch struct {
	Path  string
	Watch bool
}

// Fields implements Record.
func (r *PathWatch) Fields(f *Fields) {
	f.String(&r.Path)
	f.Bool(&r.Watch)
}

// Path is a record that consists of a path. It is the request of OpGetACL, OpSync, OpGetEphemerals
// and OpGetAllChildrenNumber, and the response of OpCreate and OpSync.
type Path struct{ Path string }

// Fields implements Record.
func (r *Path) Fields(f *Fields) { f.String(&r.Path) }

// SetDataRequest is the request of OpSetData.
type SetDataRequest struct {
	Path    string
	Data    []byte
	Version int32
}

// Fields implements Record.
func (r *SetDataRequest) Fields(f *Fields) {
	f.String(&r.Path)
	f.Buffer(&r.Data)
	f.Int32(&r.Version)
}

// SetACLRequest is the request of OpSetACL.
type SetACLRequest struct {
	Path    string
	ACL     []ACL
	Version int32 // of the ACL
}

// Fields implements Record.
func (r *SetACLRequest) Fields(f *Fields) {
	f.String(&r.Path)
	f.acl(&r.ACL)
	f.Int32(&r.Version)
}

// ReconfigRequest is the request of OpReconfig.
type ReconfigRequest struct {
	Joining, Leaving, Members string
	ConfigID                  int64
}

// Fields implements Record.
func (r *ReconfigRequest) Fields(f *Fields) {
	f.String(&r.Joining)
	f.String(&r.Leaving)
	f.String(&r.Members)
	f.Int64(&r.ConfigID)
}

// AuthRequest is the request of OpAuth.
type AuthRequest struct {
	Type   int32
	Scheme string
	Auth   []byte
}

// Fields implements Record.
func (r *AuthRequest) Fields(f *Fields) {
	f.Int32(&r.Type)
	f.String(&r.Scheme)
	f.Buffer(&r.Auth)
}

// SetWatchesRequest is the request of OpSetWatches. It has the watches that the client had on its
// previous connection, and the last zxid that the client has seen.
type SetWatchesRequest struct {
	RelativeZxid       int64
	Data, Exist, Child []string
}

// Fields implements Record.
func (r *SetWatchesRequest) Fields(f *Fields) {
	f.Int64(&r.RelativeZxid)
	f.Strings(&r.Data)
	f.Strings(&r.Exist)
	f.Strings(&r.Child)
}

// SetWatches2Request is the request of OpSetWatches2.
type SetWatches2Request struct {
	SetWatchesRequest
	Persistent, PersistentRecursive []string
}

// Fields implements Record.
func (r *SetWatches2Request) Fields(f *Fields) {
	r.SetWatchesRequest.Fields(f)
	f.Strings(&r.Persistent)
	f.Strings(&r.PersistentRecursive)
}

// Modes of OpAddWatch.
const (
	WatchPersistent          int32 = 0
	WatchPersistentRecursive int32 = 1
)

// AddWatchRequest is the request of OpAddWatch.
type AddWatchRequest struct {
	Path string
	Mode int32
}

// Fields implements Record.
func (r *AddWatchRequest) Fields(f *Fields) {
	f.String(&r.Path)
	f.Int32(&r.Mode)
}

// Types of watchers in OpCheckWatches and OpRemoveWatches.
const (
	WatcherChildren int32 = 1
	WatcherData     int32 = 2
	WatcherAny      int32 = 3

	WatcherPersistent          int32 = 4 // since ZooKeeper 3.9
	WatcherPersistentRecursive int32 = 5 // since ZooKeeper 3.9
)

// WatchesRequest is the request of OpCheckWatches and OpRemoveWatches.
type WatchesRequest struct {
	Path string
	Type int32
}

// Fields implements Record.
func (r *WatchesRequest) Fields(f *Fields) {
	f.String(&r.Path)
	f.Int32(&r.Type)
}
