// Package txnlog reads and writes transaction logs in the form of ZooKeeper 3.8 and 3.9, and reads
// snapshots. [Merge] makes one sequence of the logs of several servers. Logs are the files
// log.<zxid> below version-2 of a server's data directory.
//
// A log is a header of 16 bytes, and then one entry for each transaction. An entry consists of an
// Adler-32 checksum in 64 bits, a length in 32 bits, a body of that many bytes, and the byte 'B'.
// The body has the header of the transaction, the record of its operation, and a digest of the
// tree, which this package ignores. A server reserves space for later entries, so zeros follow the
// last entry.
package txnlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"iter"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// ErrTorn means that an entry was written only in part, or that its checksum is wrong. The entries
// after it in the same file are not read. A server that is killed can leave such an entry at the
// end of its log, and removes it when it starts again.
var ErrTorn = errors.New("txnlog: the last entry is torn")

const (
	magic    = "ZKLG"
	version  = 2
	endOfOne = 'B'
	// longest is the maximum size of an entry: far more than the default limit of servers, 1 MiB.
	longest = 64 << 20
)

// A Txn is one transaction.
type Txn struct {
	wire.TxnHeader
	Timeout int32     // for a new session, in milliseconds
	Err     wire.Code // for a refused request
	Changes []Change  // in the order in which they were applied
	// Unlisted means that the transaction closes a session and deletes all its ephemeral znodes,
	// but does not list them.
	Unlisted bool
}

// A Change is the effect of a transaction on one znode.
type Change struct {
	Op        wire.Op // OpCreate, OpDelete, OpSetData or OpSetACL
	Path      string
	Data      []byte // for a create or a setData
	Ephemeral bool   // for a create
	Container bool   // for a create
}

// Read returns the transactions of one log, in the order of the log. If the log could not be read
// to its end, the last pair has an error: ErrTorn, an error of r, or a description of the damage.
func Read(r io.Reader) iter.Seq2[Txn, error] {
	return func(yield func(Txn, error) bool) {
		for body, err := range entries(r) {
			var t Txn
			if err == nil {
				t, err = parse(body)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// readZxids returns the zxids of one log, like Read, but faster.
func readZxids(r io.Reader) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for body, err := range entries(r) {
			var h wire.TxnHeader
			if err == nil {
				h, _, err = wire.CutTxn(body)
			}
			if !yield(h.Zxid, err) || err != nil {
				return
			}
		}
	}
}

// The function `entries` returns the bodies of the entries of one log. The bytes of a body are
// valid until the next entry is read.
func entries(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(r, 1<<16)
		var head [16]byte
		switch n, err := io.ReadFull(in, head[:]); {
		case n == 0 && errors.Is(err, io.EOF):
			return // the server was killed after it created the file and before it wrote to it
		case errors.Is(err, io.ErrUnexpectedEOF):
			yield(nil, ErrTorn)
			return
		case err != nil:
			yield(nil, fmt.Errorf("txnlog: %w", err))
			return
		}
		if head == [16]byte{} {
			return
		}
		if v := binary.BigEndian.Uint32(head[4:]); string(head[:4]) != magic || v != version {
			yield(nil, fmt.Errorf("txnlog: not a log of version %d: it begins with %q, version %d", version, head[:4], v))
			return
		}
		buf := make([]byte, 1<<16)
		for {
			body, err := entry(in, buf)
			if errors.Is(err, io.EOF) || !yield(body, err) || err != nil {
				return
			}
		}
	}
}

// The function `entry` returns the body of the next entry, or io.EOF after the last one. The body
// is in buf if buf is long enough.
func entry(in *bufio.Reader, buf []byte) ([]byte, error) {
	var head [12]byte
	switch n, err := io.ReadFull(in, head[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		if head == [12]byte{} {
			return nil, io.EOF
		}
		return nil, ErrTorn
	case err != nil:
		return nil, fmt.Errorf("txnlog: %w", err)
	}
	sum, size := binary.BigEndian.Uint64(head[:]), binary.BigEndian.Uint32(head[8:])
	switch {
	case sum == 0 && size == 0:
		return nil, io.EOF
	case size == 0 || size > longest:
		return nil, ErrTorn
	}
	body, err := atMost(in, int(size), buf)
	if err != nil {
		return nil, fmt.Errorf("txnlog: %w", err)
	}
	if end, err := in.ReadByte(); len(body) < int(size) || err != nil || end != endOfOne || sum != uint64(adler32.Checksum(body)) {
		return nil, ErrTorn
	}
	return body, nil
}

// atMost returns the next n bytes, or the remaining bytes if they are fewer. The bytes are in buf
// if buf is long enough. Otherwise atMost allocates memory only for bytes that exist, because the n
// in a damaged log can be wrong.
func atMost(in io.Reader, n int, buf []byte) ([]byte, error) {
	if n > len(buf) {
		return io.ReadAll(io.LimitReader(in, int64(n)))
	}
	have, err := io.ReadFull(in, buf[:n])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return buf[:have], err
}

func parse(body []byte) (t Txn, err error) {
	var rest []byte
	t.TxnHeader, rest, err = wire.CutTxn(body)
	if err == nil {
		err = t.parse(t.Op, rest)
	}
	if err != nil {
		err = fmt.Errorf("txnlog: transaction 0x%x of operation %v: %w", t.Zxid, t.Op, err)
	}
	return t, err
}

// parse adds the effect of one operation's record to t.
func (t *Txn) parse(op wire.Op, body []byte) error {
	add := func(c Change, r wire.Record, fill func(c *Change)) error {
		if _, err := wire.Decode(body, r); err != nil {
			return err
		}
		fill(&c)
		t.Changes = append(t.Changes, c)
		return nil
	}
	switch op {
	case wire.OpCreate, wire.OpCreate2:
		var r wire.CreateTxn
		return add(Change{Op: wire.OpCreate}, &r, func(c *Change) { c.Path, c.Data, c.Ephemeral = r.Path, r.Data, r.Ephemeral })
	case wire.OpCreateContainer, wire.OpCreateTTL: // the time to live comes last and is ignored
		var r wire.CreateContainerTxn
		return add(Change{Op: wire.OpCreate, Container: op == wire.OpCreateContainer}, &r, func(c *Change) { c.Path, c.Data = r.Path, r.Data })
	case wire.OpDelete, wire.OpDeleteContainer:
		var r wire.Path
		return add(Change{Op: wire.OpDelete}, &r, func(c *Change) { c.Path = r.Path })
	case wire.OpSetData, wire.OpReconfig:
		var r wire.SetDataRequest
		return add(Change{Op: wire.OpSetData}, &r, func(c *Change) { c.Path, c.Data = r.Path, r.Data })
	case wire.OpSetACL:
		var r wire.SetACLRequest
		return add(Change{Op: wire.OpSetACL}, &r, func(c *Change) { c.Path = r.Path })
	case wire.OpCheck:
		return nil // it changes nothing
	case wire.OpCreateSession:
		var r wire.CreateSessionTxn
		_, err := wire.Decode(body, &r)
		t.Timeout = r.Timeout
		return err
	case wire.OpCloseSession:
		t.close(body)
		return nil
	case wire.OpError:
		var r wire.ErrorTxn
		_, err := wire.Decode(body, &r)
		if t.Err == wire.OK && r.Code < 0 {
			t.Err = r.Code // the first error of a multi
		}
		return err
	case wire.OpMulti:
		return t.parts(body)
	}
	return errors.New("unknown operation")
}

// The method `close` parses the transaction that closes a session. The record of the transaction
// may be missing. In that case `body` is empty, or has only a digest of 12 bytes: a version in 4
// bytes, and a hash of the tree in 8 bytes. Decode does not mistake a digest for a record: it would
// read the version, which is 2, as the number of paths, but 8 bytes are too few for two paths.
func (t *Txn) close(body []byte) {
	var r wire.CloseSessionTxn
	if _, err := wire.Decode(body, &r); err != nil {
		t.Unlisted = true
		return
	}
	for _, path := range r.Paths {
		t.Changes = append(t.Changes, Change{Op: wire.OpDelete, Path: path})
	}
}

// The method `parts` parses a multi. If one part was refused, no part was applied, although the log
// may contain the records of the other parts. If a server received a refused multi from another
// server, it logs the operation OpError for each part, but keeps the part's original record, for
// example the record of a create. In the place of an error code, that record has the length of a
// path, which is never negative. Error codes are negative. So only a negative number is taken as an
// error code.
func (t *Txn) parts(body []byte) error {
	var r wire.MultiTxn
	if _, err := wire.Decode(body, &r); err != nil {
		return err
	}
	for _, part := range r.Parts {
		if part.Op == wire.OpMulti || part.Op == wire.OpCloseSession || part.Op == wire.OpCreateSession {
			return wire.ErrMultiOp
		}
		if err := t.parse(part.Op, part.Body); err != nil {
			return err
		}
	}
	if t.Err != wire.OK {
		t.Changes = nil
	}
	return nil
}

// A Writer writes a log.
type Writer struct {
	w     io.Writer
	begun bool
}

// NewWriter returns a Writer of a log that begins at the start of w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Append writes one transaction. If `record` is nil, it writes only the header.
func (w *Writer) Append(h wire.TxnHeader, record wire.Record) error {
	var b []byte
	if !w.begun {
		b = append([]byte(magic), 0, 0, 0, version, 0, 0, 0, 0, 0, 0, 0, 0)
		w.begun = true
	}
	body := wire.Append(nil, &h)
	if record != nil {
		body = wire.Append(body, record)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(adler32.Checksum(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(append(b, body...), endOfOne)
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("txnlog: %w", err)
	}
	return nil
}
