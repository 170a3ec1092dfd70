package trace

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// The method `zxid` returns the name of the step that created the zxid.
func (r *run) zxid(zxid int64) string {
	if name, ok := r.names[zxid]; ok {
		return "of " + name
	}
	return "of nobody"
}

// The method `session` returns the name of a session, for the owner of a znode.
func (r *run) session(id int64) string {
	if name, ok := r.sessions[id]; ok {
		return name
	}
	return fmt.Sprintf("unknown %x", id)
}

// The method `at` renders the time `ms` at which a znode was created or modified. The argument
// `zxid` is the zxid of that change. The text is "then" if `ms` is the time of the step that made
// the change, within clockError.
func (r *run) at(zxid, ms int64) string {
	w, ok := r.windows[zxid]
	switch {
	case ms == 0:
		return "0"
	case !ok:
		return "some time"
	case ms >= w[0] && ms <= w[1]:
		return "then"
	}
	return fmt.Sprintf("%+d ms", ms-w[0])
}

func (r *run) stat(s wire.Stat) string {
	return fmt.Sprintf("{created %s at %s, modified %s at %s, children %s, versions %d %d %d, owner %s, length %d, %d children}",
		r.zxid(s.Czxid), r.at(s.Czxid, s.Ctime), r.zxid(s.Mzxid), r.at(s.Mzxid, s.Mtime), r.zxid(s.Pzxid),
		s.Version, s.Cversion, s.Aversion, r.session(s.EphemeralOwner), s.DataLength, s.NumChildren)
}

// The method `response` renders the bytes after the header of a reply.
func (r *run) response(op wire.Op, body []byte) string {
	if len(body) == 0 {
		return ""
	}
	rsp := newResponse(op)
	if rsp == nil {
		return fmt.Sprintf(", body %x", body)
	}
	rest, err := wire.Decode(body, rsp)
	if err != nil {
		return fmt.Sprintf(", unreadable body %x: %v", body, err)
	}
	exact := ""
	if len(rest) > 0 {
		exact = fmt.Sprintf(", %d more bytes", len(rest))
	} else if !bytes.Equal(wire.Append(nil, rsp), body) {
		exact = ", encoded in another way" // for example a null string instead of an empty one
	}
	return ", " + r.record(rsp) + exact
}

// newResponse returns an empty response of an operation, or nil if it has none.
func newResponse(op wire.Op) wire.Record {
	switch op {
	case wire.OpCreate, wire.OpSync:
		return &wire.Path{}
	case wire.OpCreate2, wire.OpCreateContainer, wire.OpCreateTTL:
		return &wire.Create2Response{}
	case wire.OpExists, wire.OpSetData, wire.OpSetACL, wire.OpCheck:
		return &wire.Stat{}
	case wire.OpGetData:
		return &wire.GetDataResponse{}
	case wire.OpGetACL:
		return &wire.GetACLResponse{}
	case wire.OpGetChildren, wire.OpGetEphemerals:
		return &wire.Strings{}
	case wire.OpGetChildren2:
		return &wire.GetChildren2Response{}
	case wire.OpGetAllChildrenNumber, wire.OpAddWatch:
		return &wire.Int32{}
	case wire.OpWhoAmI:
		return &wire.WhoAmIResponse{}
	case wire.OpMulti, wire.OpMultiRead:
		return &wire.MultiResponse{}
	case wire.OpSASL:
		return &wire.AuthToken{}
	}
	return nil
}

func (r *run) record(rsp wire.Record) string {
	switch rsp := rsp.(type) {
	case nil:
		return "nothing"
	case *wire.Stat:
		return r.stat(*rsp)
	case *wire.Create2Response:
		return fmt.Sprintf("%q %s", rsp.Path, r.stat(rsp.Stat))
	case *wire.GetDataResponse:
		return fmt.Sprintf("%s %s", text(rsp.Data), r.stat(rsp.Stat))
	case *wire.GetACLResponse:
		return fmt.Sprintf("%v %s", unordered(rsp.ACL), r.stat(rsp.Stat))
	case *wire.WhoAmIResponse:
		return fmt.Sprint(unordered(rsp.Clients))
	case *wire.Strings:
		return fmt.Sprintf("%q", unordered(rsp.Strings))
	case *wire.GetChildren2Response:
		return fmt.Sprintf("%q %s", unordered(rsp.Children), r.stat(rsp.Stat))
	case *wire.MultiResponse:
		return r.results(rsp.Results)
	}
	return fmt.Sprintf("%+v", rsp)
}

func (r *run) results(results []wire.MultiResult) string {
	var parts []string
	for _, res := range results {
		parts = append(parts, fmt.Sprintf("%v %s %s", res.Op, res.Err.String(), r.record(res.Response)))
		r.tally.add("part of a multi", fmt.Sprint(res.Op, " ", res.Err.String()))
	}
	return "[" + strings.Join(parts, "; ") + "]"
}

// The function `unordered` renders items and sorts the results, because ZooKeeper returns names and
// identities in the order of a hash table.
func unordered[T any](items []T) []string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = fmt.Sprintf("%+v", item)
	}
	slices.Sort(texts)
	return texts
}
