package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// DefaultMaxFrame is the largest frame that a server and a client take unless
// told otherwise: ZooKeeper's jute.maxbuffer, in bytes.
const DefaultMaxFrame = 0xfffff

// A Frame is one frame, or the head of it.
type Frame struct {
	Head []byte // the first bytes of the frame, without its length
	Size int    // the length of the whole frame; larger than len(Head) if it was cut
}

// Frames cuts a stream of bytes that arrives in chunks of any size into
// frames. The zero value keeps frames whole and takes any up to
// [DefaultMaxFrame]. It is for one direction of one connection.
type Frames struct {
	Max  int // largest frame, in bytes; 0 is DefaultMaxFrame
	Keep int // bytes of each frame to keep, for who only looks at headers; 0 keeps all

	buf  []byte // the length, or what is kept of the frame that is under way
	size int    // length of the frame that is under way
	left int    // bytes of it still to come
	body bool   // whether the length is complete
}

// Feed takes the next chunk of the stream and calls each with every frame that
// it completes. The frame's bytes are valid only during the call. It returns
// the first error of each, or ErrLength for a frame past the limit; the stream
// cannot be cut any further then.
func (s *Frames) Feed(chunk []byte, each func(Frame) error) error {
	for len(chunk) > 0 || s.body && s.left == 0 {
		if !s.body {
			n := min(4-len(s.buf), len(chunk))
			s.buf = append(s.buf, chunk[:n]...)
			chunk = chunk[n:]
			if len(s.buf) < 4 {
				return nil
			}
			size, err := frameSize(s.buf, s.Max)
			if err != nil {
				return err
			}
			s.size, s.left, s.body = size, size, true
			s.buf = s.buf[:0]
		}
		n := min(s.left, len(chunk))
		keep := n
		if s.Keep > 0 {
			keep = min(n, s.Keep-len(s.buf))
		}
		s.buf = append(s.buf, chunk[:keep]...)
		chunk = chunk[n:]
		if s.left -= n; s.left > 0 {
			return nil
		}
		err := each(Frame{Head: s.buf, Size: s.size})
		s.buf, s.body = s.buf[:0], false
		if err != nil {
			return err
		}
	}
	return nil
}

// frameSize reads the length of a frame and holds it against max.
func frameSize(b []byte, max int) (int, error) {
	if max == 0 {
		max = DefaultMaxFrame
	}
	n := int32(binary.BigEndian.Uint32(b))
	if n < 0 || int(n) > max {
		return 0, fmt.Errorf("%w: frame of %d bytes", ErrLength, n)
	}
	return int(n), nil
}

// ReadFrame reads one frame of at most max bytes (0 is DefaultMaxFrame) from
// r into buf, growing it where needed, and returns the frame. At the end of
// the stream between two frames the error is io.EOF.
func ReadFrame(r io.Reader, buf []byte, max int) ([]byte, error) {
	if cap(buf) < 4 {
		buf = make([]byte, 512)
	}
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return buf, err
	}
	n, err := frameSize(buf[:4], max)
	if err != nil {
		return buf, err
	}
	// Grow as the bytes arrive: a length alone must not cost memory.
	buf = buf[:0]
	for len(buf) < n {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		end := min(n, cap(buf))
		m, err := io.ReadFull(r, buf[len(buf):end])
		buf = buf[:len(buf)+m]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}
