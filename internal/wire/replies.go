package wire

// Create2Response is the response of OpCreate2, OpCreateContainer and
// OpCreateTTL. The response of OpCreate is a [Path].
type Create2Response struct {
	Path string
	Stat Stat
}

// Fields implements Record.
func (r *Create2Response) Fields(f *Fields) {
	f.String(&r.Path)
	r.Stat.Fields(f)
}

// GetDataResponse is the response of OpGetData. The responses of OpExists,
// OpSetData and OpSetACL are a [Stat].
type GetDataResponse struct {
	Data []byte
	Stat Stat
}

// Fields implements Record.
func (r *GetDataResponse) Fields(f *Fields) {
	f.Buffer(&r.Data)
	r.Stat.Fields(f)
}

// Strings is the response of OpGetChildren and OpGetEphemerals.
type Strings struct{ Strings []string }

// Fields implements Record.
func (r *Strings) Fields(f *Fields) { f.Strings(&r.Strings) }

// GetChildren2Response is the response of OpGetChildren2.
type GetChildren2Response struct {
	Children []string
	Stat     Stat
}

// Fields implements Record.
func (r *GetChildren2Response) Fields(f *Fields) {
	f.Strings(&r.Children)
	r.Stat.Fields(f)
}

// GetACLResponse is the response of OpGetACL.
type GetACLResponse struct {
	ACL  []ACL
	Stat Stat
}

// Fields implements Record.
func (r *GetACLResponse) Fields(f *Fields) {
	f.acl(&r.ACL)
	r.Stat.Fields(f)
}

// Int32 is a record that consists of a number. In the response of OpGetAllChildrenNumber, the
// number is a count. In the response of OpAddWatch, it is an error code.
type Int32 struct{ Value int32 }

// Fields implements Record.
func (r *Int32) Fields(f *Fields) { f.Int32(&r.Value) }

// WhoAmIResponse is the response of OpWhoAmI: schemes and user names.
type WhoAmIResponse struct{ Clients []ID }

// Fields implements Record.
func (r *WhoAmIResponse) Fields(f *Fields) {
	vector(f, &r.Clients, 8, func(id *ID) { id.Fields(f) })
}

// An EventType is the kind of change that a watch reports.
type EventType int32

// The types of events.
const (
	EventCreated         EventType = 1
	EventDeleted         EventType = 2
	EventDataChanged     EventType = 3
	EventChildrenChanged EventType = 4
)

// StateConnected is the State of each event that a server sends.
const StateConnected int32 = 3

// WatcherEvent follows a ReplyHeader with XidNotification.
type WatcherEvent struct {
	Type  EventType
	State int32
	Path  string
}

// Fields implements Record.
func (r *WatcherEvent) Fields(f *Fields) {
	f.Int32((*int32)(&r.Type))
	f.Int32(&r.State)
	f.String(&r.Path)
}

// AuthToken is the request and the response of OpSASL.
type AuthToken struct{ Token []byte }

// Fields implements Record.
func (r *AuthToken) Fields(f *Fields) { f.Buffer(&r.Token) }
