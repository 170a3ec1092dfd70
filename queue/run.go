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

// A run is a sequence of consecutive items that one transaction put and that share one znode. (A
// run of the harness is something else.) The name of the znode is <first>.<last>-<number>. <number>
// is the sequence number of the znode that the put created. <first> and <last> are the positions of
// the run's items within that znode.
//
// The name says which items the znode contains, so these items never change. A transaction that
// takes a part of a run deletes the znode and creates another one for the rest. Therefore no item
// is ever in two znodes.
//
// While the queue exists, no name is used twice in it. So a consumer that deletes a name deletes
// exactly the items that it read under that name. In two cases the sequence number alone does not
// make the name unique, so the name also has a tag: <first>.<last>-<tag>-<number>. One case is an
// item that is put back in its place. The other is a slot of delayed items: if the slot is deleted
// and created again, its numbers begin at 0 again.
//
// The tag can also say which span of a trace put the items: see withOrigin. If the call that put
// them was a part of a trace, the name has a tag in all cases, not only in those two.
type run struct {
	seq         znode.Seq
	first, last int
	tag         string // "" for items that need no tag
}

// These constants limit how much is stored together. A run is small, because whenever a part of it
// is taken, the rest is written again. A segment is small, so that the reply that lists it usually
// has less than 1 MiB, even if every item has its own znode.
const (
	runItems     = 64
	runBytes     = 16 << 10
	segmentNodes = 256
)

func (r run) name() string { return r.prefix() + r.seq.String() }

// prefix returns the name without the number.
func (r run) prefix() string {
	if r.tag == "" {
		return fmt.Sprintf("%d.%d-", r.first, r.last)
	}
	return fmt.Sprintf("%d.%d-%s-", r.first, r.last, r.tag)
}

// newTag returns a tag that no other name has.
func newTag(s *session.Session) string { return recipe.NewID(s)[:16] }

// originDigits is the length of the string that session.Tracer.Origin returns.
const originDigits = 50

// withOrigin appends `origin` to the tag. `origin` says where in a trace the items were put. A
// program that does not support traces treats the longer tag like any other tag. If `origin` is not
// in the format of session.Tracer.Origin, withOrigin returns the tag unchanged.
func withOrigin(tag, origin string) string {
	if len(origin) != originDigits || strings.Trim(origin, "0123456789abcdef") != "" {
		return tag
	}
	return tag + "t" + origin
}

// The method `origin` returns where in a trace the items were put, or "" if the tag has no origin.
// In the tag, a "t" precedes the origin. Tags without an origin consist of hexadecimal digits, so
// they have no "t".
func (r run) origin() string {
	_, origin, _ := strings.Cut(r.tag, "t")
	if len(origin) != originDigits {
		return ""
	}
	return origin
}

// A lot contains items that were put in the same place of a trace, or without a trace.
type lot struct {
	origin string
	items  [][]byte
}

func (r run) tagged(tag string) run {
	r.tag = tag
	return r
}

func (r run) len() int { return r.last - r.first + 1 }

// split divides a run after its first n items.
func (r run) split(n int) (head, rest run) {
	head, rest = r, r
	head.last, rest.first = r.first+n-1, r.first+n
	return head, rest
}

// The method `item` returns the run that contains only the i-th item of r.
func (r run) item(i int) run { return run{r.seq, r.first + i, r.first + i, r.tag} }

// parseRun returns the run that a znode's name denotes. It returns false if the name denotes no
// run.
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

// compareRuns compares runs by the order in which their items were put.
func compareRuns(a, b run) int {
	switch {
	case a.seq == b.seq:
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last), cmp.Compare(a.tag, b.tag))
	case a.seq.Before(b.seq):
		return -1
	}
	return 1
}

// errCorrupt means that a znode does not contain the items that its name denotes.
var errCorrupt = errors.New("queue: the znode does not contain the items that its name denotes")

// encodeItems returns the data of a run's znode: the length of each item, followed by the item.
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

// decodeItems is the inverse of encodeItems. It fails with errCorrupt unless data contains n items.
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

// pack divides the items of a put into runs. Small items share a run.
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

// A segment is a directory of runs. Segments are numbered from 0. Producers put items only in the
// open segment, which is normally the last one.
type segment int32

func (s segment) name() string { return fmt.Sprintf("%010d", int32(s)) }

func parseSegment(name string) (segment, bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	return segment(n), err == nil && segment(n).name() == name
}
