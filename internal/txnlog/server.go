package txnlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// A Server is the transaction logs of one server.
type Server struct {
	Name      string
	Snapshots []int64 // the zxids of its snapshots, in order

	// Txns are the transactions in the order of the logs. If a file ends with an incomplete
	// transaction, the sequence has a pair with the error ErrTorn there, and continues with the
	// next file. Any other error ends the sequence. Each loop over the sequence reads the files
	// again.
	Txns iter.Seq2[Txn, error]

	zxids iter.Seq2[int64, error] // the zxids of Txns; nil if Txns are in memory
}

// Open lists the logs log.<zxid> and the snapshots in dir, which is the directory version-2 of a
// server's data directory. The oldest logs may be missing.
func Open(name string, dir fs.FS) (Server, error) {
	s := Server{Name: name}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return s, fmt.Errorf("txnlog: logs of %s: %w", name, err)
	}
	var logs []file
	for _, e := range entries {
		kind, zxid, ok := ParseName(e.Name())
		switch {
		case !ok || e.IsDir():
		case kind == "log":
			logs = append(logs, file{e.Name(), zxid})
		default:
			s.Snapshots = append(s.Snapshots, zxid)
		}
	}
	slices.SortFunc(logs, func(a, b file) int { return cmp.Compare(a.zxid, b.zxid) })
	slices.Sort(s.Snapshots)
	s.Txns, s.zxids = inFiles(name, dir, logs, Read), inFiles(name, dir, logs, readZxids)
	return s, nil
}

type file struct {
	name string
	zxid int64
}

// inFiles calls `read` for one file after the other, and returns the results as one sequence.
func inFiles[T any](server string, dir fs.FS, logs []file, read func(io.Reader) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, log := range logs {
			in, err := dir.Open(log.name)
			if err != nil {
				var none T
				yield(none, fmt.Errorf("%s of %s: %w", log.name, server, err))
				return
			}
			more := true
			for v, err := range read(in) {
				failed := err != nil && !errors.Is(err, ErrTorn)
				if failed {
					err = fmt.Errorf("%s of %s: %w", log.name, server, err)
				}
				if more = yield(v, err) && !failed; !more {
					break
				}
			}
			in.Close()
			if !more {
				return
			}
		}
	}
}

// allZxids returns the zxids of Txns.
func (s Server) allZxids() iter.Seq2[int64, error] {
	if s.zxids != nil {
		return s.zxids
	}
	return func(yield func(int64, error) bool) {
		for t, err := range s.Txns {
			if !yield(t.Zxid, err) {
				return
			}
		}
	}
}

// ParseName parses the file name of a log or a snapshot, which may be compressed. The kind is "log"
// or "snapshot".
func ParseName(name string) (kind string, zxid int64, ok bool) {
	kind, number, _ := strings.Cut(name, ".")
	number, _, _ = strings.Cut(number, ".")
	zxid, err := strconv.ParseInt(number, 16, 64)
	return kind, zxid, err == nil && (kind == "log" || kind == "snapshot")
}
