package wire

import "encoding/binary"

// NewRequest returns an empty request of the operation. It returns nil for sasl, for an operation
// that is unknown or that only servers use, and for an operation without a request: ping,
// closeSession and whoAmI.
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

// FirstPath returns the first path in the body of a request, or "" if there is none. For a multi,
// this is the path of the first operation. The body begins after the header, and may be cut off
// after the path.
func FirstPath(op Op, body []byte) string { return string(CutPath(op, body)) }

// CutPath is like FirstPath, but returns the part of body that has the path, or nil.
func CutPath(op Op, body []byte) []byte {
	switch op {
	case OpPing, OpAuth, OpCloseSession, OpSetWatches, OpSetWatches2, OpSASL, OpWhoAmI, OpReconfig:
		return nil
	case OpMulti, OpMultiRead:
		var h MultiHeader
		rest, err := Decode(body, &h)
		if err != nil || h.Done {
			return nil
		}
		return CutPath(h.Op, rest)
	}
	if len(body) < 4 {
		return nil
	}
	size, rest := binary.BigEndian.Uint32(body), body[4:]
	if uint64(size) > uint64(len(rest)) || size == 0 || rest[0] != '/' {
		return nil
	}
	return rest[:size]
}

// MultiError returns the first error in the reply to a multi, and the number of parts up to and
// including the part that failed. If there is no error, the code is OK. In that case the number of
// parts is 0 if the multi is empty, and at least 1 if it is not. If the body cannot be decoded, the
// code is MarshallingError.
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
