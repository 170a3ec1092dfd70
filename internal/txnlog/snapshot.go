package txnlog

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"
	"math"
	"strings"
)

// ErrSnapshot reports a snapshot that is damaged, or that was not written to its end.
var ErrSnapshot = errors.New("txnlog: the snapshot is damaged or not complete")

// A Node is a znode of a snapshot.
type Node struct {
	Path      string
	Data      []byte
	Session   int64 // session of an ephemeral znode; 0 for any other znode
	Container bool
	Czxid     int64
	Mzxid     int64 // of the last change of its data; the Czxid if there was none
	Created   int64 // Unix time in milliseconds
}

const (
	snapshotMagic = "ZKSN"
	container     = math.MinInt64 // owner of a container, instead of a session
	ttl           = 0xff          // first byte of the owner of a znode with a time to live
)

// ReadSnapshot reads the file of a snapshot in the form of ZooKeeper 3.8 and 3.9. If `name` ends in
// .gz, ReadSnapshot decompresses the file with gzip. It calls f for each znode, and returns the
// timeouts of the sessions in milliseconds. If the error is not nil, discard the znodes that f
// received. A snapshot is fuzzy: it can contain changes of transactions after its zxid.
//
// A snapshot consists of a header of 16 bytes, the sessions, the lists of ACLs, the znodes, the
// path "/" at the end of the znodes, and an Adler-32 checksum in 64 bits. Newer servers write more
// data after the checksum. ReadSnapshot does not read that data.
func ReadSnapshot(name string, r io.Reader, f func(Node)) (sessions map[int64]int32, err error) {
	switch {
	case strings.HasSuffix(name, ".gz"):
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
	case strings.HasSuffix(name, ".snappy"):
		return nil, errors.New("txnlog: snapshots that are compressed by snappy are not read")
	}
	s := &snapshot{in: bufio.NewReaderSize(r, 1<<16), sum: adler32.New()}
	sessions, nodes := s.read(f)
	if s.err == nil && nodes == 0 {
		s.err = ErrSnapshot
	}
	return sessions, s.err
}

// The type `snapshot` reads the fields of a snapshot file until the first error, and keeps that
// error.
type snapshot struct {
	in  *bufio.Reader
	sum hash.Hash32 // of all bytes so far
	err error
}

func (s *snapshot) read(f func(Node)) (sessions map[int64]int32, nodes int) {
	if magic, v := s.bytes(4), s.int32(); s.err == nil && (string(magic) != snapshotMagic || v != version) {
		s.err = fmt.Errorf("txnlog: not a snapshot of version %d: it begins with %q, version %d", version, magic, v)
	}
	s.int64() // the id of the database
	sessions = make(map[int64]int32)
	for range s.count() {
		id := s.int64()
		if sessions[id] = s.int32(); s.err != nil {
			return nil, 0
		}
	}
	for range s.count() {
		s.int64()
		for range s.count() {
			s.int32()
			s.buffer()
			if s.buffer(); s.err != nil {
				return nil, 0
			}
		}
		if s.err != nil {
			return nil, 0
		}
	}
	for s.err == nil {
		n := Node{Path: string(s.buffer())}
		if n.Path == "/" {
			break
		}
		n.Data = s.buffer()
		s.int64() // the ACL
		n.Czxid = s.int64()
		n.Mzxid = s.int64()
		n.Created = s.int64()
		s.bytes(8 + 4 + 4 + 4) // mtime, version, cversion, aversion
		n.Session = s.int64()
		if n.Container = n.Session == container; n.Container || uint64(n.Session)>>56 == ttl {
			n.Session = 0
		}
		if s.int64(); s.err == nil { // pzxid
			nodes++
			f(n)
		}
	}
	if want := int64(s.sum.Sum32()); s.int64() != want && s.err == nil {
		s.err = ErrSnapshot
	}
	return sessions, nodes
}

// The method `bytes` returns the next n bytes.
func (s *snapshot) bytes(n int) []byte {
	if s.err != nil {
		return nil
	}
	if n < 0 || n > longest {
		s.err = ErrSnapshot
		return nil
	}
	b, err := atMost(s.in, n, make([]byte, min(n, 1<<16)))
	switch {
	case len(b) < n, errors.Is(err, gzip.ErrChecksum):
		s.err = ErrSnapshot
	case err != nil:
		s.err = fmt.Errorf("txnlog: %w", err)
	}
	if s.err != nil {
		return nil
	}
	s.sum.Write(b)
	return b
}

func (s *snapshot) int32() int32 {
	if b := s.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (s *snapshot) int64() int64 {
	if b := s.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// The method `count` reads the number of elements that follow. A negative number counts as 0.
func (s *snapshot) count() int32 { return max(0, s.int32()) }

// The method `buffer` reads a length and returns that many bytes. The length -1 means that there
// are no bytes.
func (s *snapshot) buffer() []byte {
	if n := s.int32(); n > 0 {
		return s.bytes(int(n))
	}
	return nil
}
