package wire

import "strings"

// NewRequest returns an empty request of the operation, or nil for one that
// has none (ping, closeSession, whoAmI) or is unknown.
func NewRequest(op Op) Record {
	switch op {
	case OpCreate, OpCreate2, OpCreateContainer:
		return &CreateRequest{}
	case OpCreateTTL:
		return &CreateTTLRequest{}
	case OpDelete, OpCheck:
		return &PathVersion{}
	case OpExists, OpGetData, OpGetChildren, OpGetChildren2:
		return &PathWatch{}
	case OpGetACL, OpSync, OpGetEphemerals, OpGetAllChildrenNumber:
		return &Path{}
	case OpSetData:
		return &SetDataRequest{}
	case OpSetACL:
		return &SetACLRequest{}
	case OpReconfig:
		return &ReconfigRequest{}
	case OpMulti, OpMultiRead:
		return &MultiRequest{}
	case OpAuth:
		return &AuthRequest{}
	case OpSetWatches:
		return &SetWatchesRequest{}
	case OpSetWatches2:
		return &SetWatches2Request{}
	case OpAddWatch:
		return &AddWatchRequest{}
	case OpCheckWatches, OpRemoveWatches:
		return &WatchesRequest{}
	}
	return nil
}

// FirstPath returns the first path in a request that follows its header in
// body, "" where there is none. Of a multi it is the path of its first
// operation. The body may be cut short behind the path.
func FirstPath(op Op, body []byte) string {
	var p Path
	switch op {
	case OpPing, OpAuth, OpCloseSession, OpSetWatches, OpSetWatches2, OpSASL, OpWhoAmI, OpReconfig:
		return ""
	case OpMulti, OpMultiRead:
		var h MultiHeader
		rest, err := Decode(body, &h)
		if err != nil || h.Done {
			return ""
		}
		return FirstPath(h.Op, rest)
	}
	if _, err := Decode(body, &p); err != nil || !strings.HasPrefix(p.Path, "/") {
		return ""
	}
	return p.Path
}

// MultiError returns the first error in the reply to a multi, 0 for none, and
// how many parts were read up to it. A body that cannot be read has
// MarshallingError.
func MultiError(body []byte) (code Code, parts int) {
	for {
		var h MultiHeader
		rest, err := Decode(body, &h)
		if err != nil {
			return MarshallingError, parts
		}
		if h.Done {
			return 0, parts
		}
		parts++
		if h.Op != OpError {
			return 0, parts // all parts of a multi that fails are errors
		}
		var failed errorResult
		if body, err = Decode(rest, &failed); err != nil {
			return MarshallingError, parts
		}
		if failed.code != 0 {
			return failed.code, parts
		}
	}
}

// errorResult is the result of a part of a multi that failed.
type errorResult struct{ code Code }

func (r *errorResult) Fields(f *Fields) { f.Int32((*int32)(&r.code)) }
