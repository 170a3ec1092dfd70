package wire

import "strings"

// NewRequest returns an empty request of the operation. It returns nil if the
// operation has no request (ping, closeSession, whoAmI) or is unknown.
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

// FirstPath returns the first path in the body of a request, or "" if there is none. The body does
// not include the header. For a multi, the result is the path of the first operation. The body may
// be cut off after the path.
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

// MultiError returns the first error in the reply to a multi, or 0 if there is
// none, and the number of parts up to it. If the body cannot be decoded, the
// error is MarshallingError.
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
			return 0, parts // if a multi fails, all its parts are errors
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

// errorResult is the result of one part of a failed multi.
type errorResult struct{ code Code }

func (r *errorResult) Fields(f *Fields) { f.Int32((*int32)(&r.code)) }
