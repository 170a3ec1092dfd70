package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Errors of decoding. After such an error the rest of the frame cannot be read, because the start
// of the next record is unknown. If the length of a frame is invalid, the rest of the connection
// cannot be read either.
var (
	// ErrTruncated means that a record continues past the end of its frame.
	ErrTruncated = errors.New("wire: record is truncated")
	// ErrLength means that a length or a count is negative or above its limit.
	ErrLength = errors.New("wire: unreasonable length")
	// ErrMultiOp means that a multi contains an operation that is not allowed
	// in a multi.
	ErrMultiOp = errors.New("wire: operation not possible in a multi")
)

// A Record is a part of a frame. Its method Fields passes each field to f, in the order of the
// protocol, and f reads or writes the field.
type Record interface{ Fields(f *Fields) }

// A Fields encodes or decodes records, field by field. It appends each field to a buffer, or reads
// each field from a buffer. After the first error, its methods do nothing.
type Fields struct {
	buf      []byte // when encoding, the bytes written; when decoding, the bytes left
	decoding bool
	err      error
}

// Append appends the encoding of the records to b.
func Append(b []byte, records ...Record) []byte {
	f := Fields{buf: b}
	for _, r := range records {
		r.Fields(&f)
	}
	return f.buf
}

// AppendFrame appends one frame with the records to b. A nil record adds no
// bytes.
func AppendFrame(b []byte, records ...Record) []byte {
	start := len(b)
	f := Fields{buf: append(b, 0, 0, 0, 0)}
	for _, r := range records {
		if r != nil {
			r.Fields(&f)
		}
	}
	binary.BigEndian.PutUint32(f.buf[start:], uint32(len(f.buf)-start-4))
	return f.buf
}

// Decode reads the records from the start of b and returns the bytes after them. If there is an
// error, the fields before the faulty one are set.
func Decode(b []byte, records ...Record) (rest []byte, err error) {
	f := Fields{buf: b, decoding: true}
	for _, r := range records {
		r.Fields(&f)
	}
	return f.buf, f.err
}

// CutRequest decodes the header at the start of a request. Unlike Decode it
// allocates nothing.
func CutRequest(b []byte) (h RequestHeader, body []byte, err error) {
	f := Fields{buf: b, decoding: true}
	h.Fields(&f)
	return h, f.buf, f.err
}

// CutReply decodes the header at the start of a reply, without allocation.
func CutReply(b []byte) (h ReplyHeader, body []byte, err error) {
	f := Fields{buf: b, decoding: true}
	h.Fields(&f)
	return h, f.buf, f.err
}

// CutTxn decodes the header at the start of a transaction, without allocation.
func CutTxn(b []byte) (h TxnHeader, body []byte, err error) {
	f := Fields{buf: b, decoding: true}
	h.Fields(&f)
	return h, f.buf, f.err
}

// More reports whether bytes are left to read. When encoding it returns false.
func (f *Fields) More() bool { return f.decoding && f.err == nil && len(f.buf) > 0 }

func (f *Fields) fail(err error) {
	if f.err == nil {
		f.err, f.buf = err, nil
	}
}

// take returns the next n bytes, or nil after a failure.
func (f *Fields) take(n int) []byte {
	if f.err != nil {
		return nil
	}
	if len(f.buf) < n {
		f.fail(ErrTruncated)
		return nil
	}
	b := f.buf[:n:n]
	f.buf = f.buf[n:]
	return b
}

// Int32 encodes or decodes a 32-bit integer.
func (f *Fields) Int32(v *int32) {
	if !f.decoding {
		f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(*v))
	} else if b := f.take(4); b != nil {
		*v = int32(binary.BigEndian.Uint32(b))
	}
}

// Int64 encodes or decodes a 64-bit integer.
func (f *Fields) Int64(v *int64) {
	if !f.decoding {
		f.buf = binary.BigEndian.AppendUint64(f.buf, uint64(*v))
	} else if b := f.take(8); b != nil {
		*v = int64(binary.BigEndian.Uint64(b))
	}
}

// Bool encodes or decodes a byte. Any byte except 0 is true.
func (f *Fields) Bool(v *bool) {
	if !f.decoding {
		var b byte
		if *v {
			b = 1
		}
		f.buf = append(f.buf, b)
	} else if b := f.take(1); b != nil {
		*v = b[0] != 0
	}
}

// The method `count` encodes or decodes the length of a buffer, or the number of elements of a
// vector, and returns that number. Each element takes at least `unit` bytes. The number -1 means
// null. After an error, `count` also returns -1.
func (f *Fields) count(n, unit int) int {
	if !f.decoding && n > math.MaxInt32 {
		panic(fmt.Sprintf("wire: %d elements do not fit a record", n))
	}
	v := int32(n)
	f.Int32(&v)
	if !f.decoding {
		return n
	}
	switch {
	case f.err != nil:
		return -1
	case v < -1:
		f.fail(ErrLength)
		return -1
	case int64(v)*int64(unit) > int64(len(f.buf)):
		f.fail(fmt.Errorf("%w: %d elements in %d bytes", ErrLength, v, len(f.buf)))
		return -1
	}
	return int(v)
}

// Buffer encodes or decodes bytes. A nil slice is a null buffer, which is distinct from an empty
// one. A decoded slice is a copy.
func (f *Fields) Buffer(v *[]byte) {
	n := len(*v)
	if *v == nil {
		n = -1
	}
	n = f.count(n, 1)
	switch {
	case !f.decoding:
		f.buf = append(f.buf, *v...)
	case n < 0:
		*v = nil
	default:
		*v = append(make([]byte, 0, n), f.take(n)...)
	}
}

// Null stands for a null string, which is distinct from the empty one. No path or identity can be
// equal to Null, because Null is not UTF-8 and servers accept only UTF-8.
const Null = "\xff\xff\xff\xff"

// String encodes or decodes text.
func (f *Fields) String(v *string) {
	if !f.decoding && *v == Null {
		f.buf = append(f.buf, Null...) // the number -1
		return
	}
	n := f.count(len(*v), 1)
	switch {
	case !f.decoding:
		f.buf = append(f.buf, *v...)
	case n < 0:
		*v = Null
	default:
		*v = string(f.take(n))
	}
}

// Strings encodes or decodes a vector of text. A null vector is decoded as nil, but nil is encoded
// as an empty vector.
func (f *Fields) Strings(v *[]string) {
	vector(f, v, 4, func(s *string) { f.String(s) })
}

// vector encodes or decodes a vector whose elements take at least `unit` bytes each.
func vector[T any](f *Fields, v *[]T, unit int, element func(*T)) {
	n := f.count(len(*v), unit)
	if f.decoding {
		*v = nil
		if n >= 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		if f.err != nil {
			return
		}
		element(&(*v)[i])
	}
}
