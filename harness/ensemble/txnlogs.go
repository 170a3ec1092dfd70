package ensemble

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// CopyTxnLog copies one file of a server's directory version-2 into dir, for implementations of
// TxnLogs. For a snapshot it creates an empty file. It ignores files that are neither snapshots nor
// transaction logs. It omits most of the zeros with which a server preallocates space, 64 MiB by
// default.
func CopyTxnLog(r io.Reader, dir, name string) error {
	kind, _, _ := strings.Cut(name, ".")
	switch {
	case name != filepath.Base(name):
		return nil
	case kind == "snapshot":
		r = strings.NewReader("")
	case kind != "log":
		return nil
	}
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	err = copyUpToZeros(file, r)
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// copyUpToZeros copies r until a whole chunk of 2 MiB is zero. No record contains such a chunk,
// because a request has at most 1 MiB.
func copyUpToZeros(w io.Writer, r io.Reader) error {
	chunk, zeros := make([]byte, 2<<20), make([]byte, 2<<20)
	for {
		n, err := io.ReadFull(r, chunk)
		if n > 0 && bytes.Equal(chunk[:n], zeros[:n]) && n == len(chunk) {
			return nil
		}
		if _, err := w.Write(chunk[:n]); err != nil {
			return err
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
