package queue

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A run is some consecutive items of one put, which are stored in one znode.
// Its name is <first>.<last>-<number>: first and last count the items within
// the node that was put, number is the one that the server gave to that node.
//
// The name says which items the node holds, and no item is ever in two nodes.
// So what a node holds never changes: to take a part of a run is to delete it
// and to make one for the rest. And no name is used twice, so that a consumer
// that deletes a name gets just what it read under it. The server's number alone
// cannot promise that for an item that is put back in its place, nor in the
// directory of a second, whose numbers begin at 0 again whenever it is made
// again. Such names have a tag: <first>.<last>-<tag>-<number>. So have the names of
// items that were put by a program with traces: the tag says where.
type run struct {
	seq         znode.Seq
	first, last int
	tag         string // "" where the number alone tells
}

// Bounds of what is stored together. A part of a run that stays behind is
// written again, so a run is small; a segment with every item in a node of its
// own must still be listed in one reply (1 MiB).
const (
	runItems     = 64
	runBytes     = 16 << 10
	segmentNodes = 256
)

func (r run) name() string { return r.prefix() + r.seq.String() }

// prefix is the name without the number.
func (r run) prefix() string {
	if r.tag == "" {
		return fmt.Sprintf("%d.%d-", r.first, r.last)
	}
	return fmt.Sprintf("%d.%d-%s-", r.first, r.last, r.tag)
}

// newTag returns a tag that no name had before.
func newTag(s *session.Session) string { return recipe.NewID(s)[:16] }

// originDigits is the length of what session.Tracer.Origin returns.
const originDigits = 50

// withOrigin returns a tag that also says where in a trace the items were put. A program
// that does not know of traces reads it like any other tag.
func withOrigin(tag, origin string) string {
	if len(origin) != originDigits || strings.Trim(origin, "0123456789abcdef") != "" {
		return tag
	}
	return tag + "t" + origin
}

// origin is where in a trace the items were put, "" if that is not known. Tags have
// hexadecimal digits only, so a "t" begins it.
func (r run) origin() string {
	_, origin, _ := strings.Cut(r.tag, "t")
	if len(origin) != originDigits {
		return ""
	}
	return origin
}

// A lot is items that were put in one place of a trace, or in none.
type lot struct {
	origin string
	items  [][]byte
}

// tagged is r under a tag.
func (r run) tagged(tag string) run {
	r.tag = tag
	return r
}

func (r run) len() int { return r.last - r.first + 1 }

// split divides a run behind its first n items.
func (r run) split(n int) (head, rest run) {
	head, rest = r, r
	head.last, rest.first = r.first+n-1, r.first+n
	return head, rest
}

// item is the run of the i-th item of r alone.
func (r run) item(i int) run { return run{r.seq, r.first + i, r.first + i, r.tag} }

// parseRun returns the run that a znode's name stands for, if it does.
func parseRun(name string) (run, bool) {
	prefix, seq, ok := znode.ParseSeq(name)
	prefix, found := strings.CutSuffix(prefix, "-")
	span, tag, _ := strings.Cut(prefix, "-")
	first, last, dot := strings.Cut(span, ".")
	if !ok || !found || !dot {
		return run{}, false
	}
	i, err1 := strconv.ParseUint(first, 10, 16)
	j, err2 := strconv.ParseUint(last, 10, 16)
	r := run{seq, int(i), int(j), tag}
	return r, err1 == nil && err2 == nil && i <= j && r.name() == name
}

// compareRuns is the order of a segment: as put.
func compareRuns(a, b run) int {
	switch {
	case a.seq == b.seq:
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last), cmp.Compare(a.tag, b.tag))
	case a.seq.Before(b.seq):
		return -1
	}
	return 1
}

// errCorrupt says that a node does not hold what its name says.
var errCorrupt = errors.New("queue: node does not hold the items that its name says")

// encodeItems is the data of a run's node: each item after its length.
func encodeItems(items [][]byte) []byte {
	size := 0
	for _, item := range items {
		size += len(item) + binary.MaxVarintLen32
	}
	data := make([]byte, 0, size)
	for _, item := range items {
		data = append(binary.AppendUvarint(data, uint64(len(item))), item...)
	}
	return data
}

// decodeItems is the inverse of encodeItems.
func decodeItems(data []byte, n int) ([][]byte, error) {
	items := make([][]byte, 0, min(n, len(data)))
	for len(data) > 0 {
		size, k := binary.Uvarint(data)
		if k <= 0 || size > uint64(len(data)-k) {
			return nil, errCorrupt
		}
		items = append(items, data[k:k+int(size)])
		data = data[k+int(size):]
	}
	if len(items) != n {
		return nil, errCorrupt
	}
	return items, nil
}

// pack divides items into runs to be put: small ones share a node.
func pack(items [][]byte) [][][]byte {
	var packed [][][]byte
	start, size := 0, 0
	for i, item := range items {
		if i > start && (i-start == runItems || size+len(item) > runBytes) {
			packed = append(packed, items[start:i])
			start, size = i, 0
		}
		size += len(item)
	}
	if start < len(items) {
		packed = append(packed, items[start:])
	}
	return packed
}

// A segment is a directory of runs. Segments are numbered from 0; all but the
// last, the open one, only shrink.
type segment int32

func (s segment) name() string { return fmt.Sprintf("%010d", int32(s)) }

func parseSegment(name string) (segment, bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	return segment(n), err == nil && segment(n).name() == name
}
