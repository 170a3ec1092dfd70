package wire

// A MultiHeader precedes each part of a multi. One more MultiHeader, with Done set, follows the
// last part.
type MultiHeader struct {
	Op   Op
	Done bool
	Err  Code // in a request -1; in a response the code of the part; in the last header -1
}

// Fields implements Record.
func (r *MultiHeader) Fields(f *Fields) {
	f.Int32((*int32)(&r.Op))
	f.Bool(&r.Done)
	f.Int32((*int32)(&r.Err))
}

var multiEnd = MultiHeader{Op: OpError, Done: true, Err: -1}

// A MultiOp is one operation of a multi, with its request.
type MultiOp struct {
	Op      Op
	Request Record
}

// MultiRequest is the request of OpMulti and OpMultiRead.
type MultiRequest struct{ Ops []MultiOp }

// Fields implements Record.
func (r *MultiRequest) Fields(f *Fields) {
	if !f.decoding {
		for _, op := range r.Ops {
			h := MultiHeader{Op: op.Op, Err: -1}
			h.Fields(f)
			op.Request.Fields(f)
		}
		end := multiEnd
		end.Fields(f)
		return
	}
	r.Ops = nil
	for {
		var h MultiHeader
		h.Fields(f)
		if f.err != nil || h.Done {
			return
		}
		op := MultiOp{Op: h.Op, Request: newMultiRecord(h.Op)}
		if op.Request == nil {
			f.fail(ErrMultiOp)
			return
		}
		op.Request.Fields(f)
		if f.err != nil {
			return
		}
		r.Ops = append(r.Ops, op)
	}
}

// newMultiRecord returns an empty request of an operation that is allowed in a multi, or nil for
// any other operation.
func newMultiRecord(op Op) Record {
	switch op {
	case OpDelete, OpCheck, OpSetData, OpGetData, OpGetChildren:
	default:
		if !op.IsCreate() {
			return nil
		}
	}
	return NewRequest(op)
}

// A MultiResult is the outcome of one operation of a multi. Response is the response of the
// operation; it is nil for OpDelete and OpCheck. If Op is OpError, Err has the code: OK for an
// operation before the one that failed, the error of the failed operation, or RuntimeInconsistency
// for an operation after it.
type MultiResult struct {
	Op       Op
	Err      Code
	Response Record
}

// MultiResponse is the response of OpMulti and OpMultiRead.
type MultiResponse struct{ Results []MultiResult }

// Fields implements Record.
func (r *MultiResponse) Fields(f *Fields) {
	if !f.decoding {
		for _, res := range r.Results {
			h := MultiHeader{Op: res.Op, Err: res.Err}
			h.Fields(f)
			if res.Op == OpError {
				f.Int32((*int32)(&res.Err))
			} else if res.Response != nil {
				res.Response.Fields(f)
			}
		}
		end := multiEnd
		end.Fields(f)
		return
	}
	r.Results = nil
	for {
		var h MultiHeader
		h.Fields(f)
		if f.err != nil || h.Done {
			return
		}
		res := MultiResult{Op: h.Op, Err: h.Err}
		switch h.Op {
		case OpError:
			f.Int32((*int32)(&res.Err))
		case OpDelete, OpDeleteContainer, OpCheck:
		default:
			if res.Response = newMultiResponse(h.Op); res.Response == nil {
				f.fail(ErrMultiOp)
				return
			}
			res.Response.Fields(f)
		}
		if f.err != nil {
			return
		}
		r.Results = append(r.Results, res)
	}
}

func newMultiResponse(op Op) Record {
	switch op {
	case OpCreate:
		return &Path{}
	case OpCreate2, OpCreateContainer, OpCreateTTL:
		return &Create2Response{}
	case OpSetData:
		return &Stat{}
	case OpGetData:
		return &GetDataResponse{}
	case OpGetChildren:
		return &Strings{}
	}
	return nil
}
