package wire

// The records below are those of a server's transaction log. Clients never see them. The
// transactions of some operations use records of other files in this package: OpDelete and
// OpDeleteContainer have a [Path], OpSetData and OpReconfig have a [SetDataRequest], OpSetACL has a
// [SetACLRequest], and OpCheck has a [PathVersion]. The version in these records is the version
// after the change.

// TxnHeader begins each transaction of a log.
type TxnHeader struct {
	Session int64 // the session whose request it is
	Cxid    int32
	Zxid    int64
	Time    int64 // milliseconds since 1970, by the leader's clock
	Op      Op
}

// Fields implements Record.
func (r *TxnHeader) Fields(f *Fields) {
	f.Int64(&r.Session)
	f.Int32(&r.Cxid)
	f.Int64(&r.Zxid)
	f.Int64(&r.Time)
	f.Int32((*int32)(&r.Op))
}

// CreateTxn is the transaction of OpCreate and OpCreate2.
type CreateTxn struct {
	Path      string
	Data      []byte
	ACL       []ACL
	Ephemeral bool
	Parent    int32 // the parent's cversion
}

// Fields implements Record.
func (r *CreateTxn) Fields(f *Fields) {
	f.String(&r.Path)
	f.Buffer(&r.Data)
	f.acl(&r.ACL)
	f.Bool(&r.Ephemeral)
	f.Int32(&r.Parent)
}

// CreateContainerTxn is the transaction of OpCreateContainer.
type CreateContainerTxn struct {
	Path   string
	Data   []byte
	ACL    []ACL
	Parent int32 // the parent's cversion
}

// Fields implements Record.
func (r *CreateContainerTxn) Fields(f *Fields) {
	f.String(&r.Path)
	f.Buffer(&r.Data)
	f.acl(&r.ACL)
	f.Int32(&r.Parent)
}

// CreateTTLTxn is the transaction of OpCreateTTL.
type CreateTTLTxn struct {
	CreateContainerTxn
	TTL int64 // milliseconds
}

// Fields implements Record.
func (r *CreateTTLTxn) Fields(f *Fields) {
	r.CreateContainerTxn.Fields(f)
	f.Int64(&r.TTL)
}

// CreateSessionTxn is the transaction of OpCreateSession.
type CreateSessionTxn struct{ Timeout int32 } // milliseconds

// Fields implements Record.
func (r *CreateSessionTxn) Fields(f *Fields) { f.Int32(&r.Timeout) }

// CloseSessionTxn is the transaction of OpCloseSession. A server can be configured to write the
// transaction without this record.
type CloseSessionTxn struct{ Paths []string } // of the ephemeral znodes that the transaction deletes

// Fields implements Record.
func (r *CloseSessionTxn) Fields(f *Fields) { f.Strings(&r.Paths) }

// ErrorTxn is the transaction of a request that was refused.
type ErrorTxn struct{ Code Code }

// Fields implements Record.
func (r *ErrorTxn) Fields(f *Fields) { f.Int32((*int32)(&r.Code)) }

// MultiTxn is the transaction of OpMulti.
type MultiTxn struct{ Parts []TxnPart }

// Fields implements Record.
func (r *MultiTxn) Fields(f *Fields) {
	vector(f, &r.Parts, 8, func(p *TxnPart) {
		f.Int32((*int32)(&p.Op))
		f.Buffer(&p.Body)
	})
}

// A TxnPart is one part of a MultiTxn.
type TxnPart struct {
	Op   Op
	Body []byte // the encoded record of Op's transaction
}
