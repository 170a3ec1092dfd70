package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// DefaultMaxFrame is the default size, in bytes, of the largest frame that servers and clients
// accept: ZooKeeper's jute.maxbuffer.
const DefaultMaxFrame = 0xfffff

// A Frame is one frame, or the first bytes of it.
type Frame struct {
	Head []byte // the first bytes of the frame, without its length
	Size int    // length of the whole frame; larger than len(Head) if Head is cut
}

// Frames splits a stream of bytes, which arrives in chunks of any size, into frames. The zero value
// keeps whole frames of up to [DefaultMaxFrame] bytes. A Frames is for one direction of one
// connection.
type Frames struct {
	Max int // largest frame, in bytes; 0 is DefaultMaxFrame
	// Number of bytes of each frame to keep, for example if only headers are needed; 0 keeps all.
	Keep int

	buf  []byte // the length, or the kept bytes of the current frame
	size int    // length of the current frame
	left int    // bytes of the current frame that have not arrived yet
	body bool   // the length is complete, and the next bytes belong to the body
}

// Feed takes the next chunk of the stream, and calls `handle` for every frame that this chunk
// completes. The frame's bytes are valid only during the call. Feed returns the first error of
// `handle`, or ErrLength for a frame above the limit. After an error, do not use the Frames any
// more.
func (s *Frames) Feed(chunk []byte, handle func(Frame) error) error {
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
		err := handle(Frame{Head: s.buf, Size: s.size})
		s.buf, s.body = s.buf[:0], false
		if err != nil {
			return err
		}
	}
	return nil
}

// frameSize decodes the length of a frame and checks that it is at most max.
func frameSize(b []byte, max int) (int, error) {
	if max == 0 {
		max = DefaultMaxFrame
	}
	n := int32(binary.BigEndian.Uint32(b))
	if n < 0 || int(n) > max {
		return 0, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrLength, n, max)
	}
	return int(n), nil
}

// ReadFrame reads one frame of at most max bytes from r, and returns it; a max of 0 means
// DefaultMaxFrame. The returned frame is in buf if it fits. If the stream ends between two frames,
// the error is io.EOF. If the frame is too long, the error is ErrLength, and ReadFrame returns the
// four bytes of the length.
func ReadFrame(r io.Reader, buf []byte, max int) ([]byte, error) {
	if cap(buf) < 4 {
		buf = make([]byte, 512)
	}
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return buf, err
	}
	n, err := frameSize(buf[:4], max)
	if err != nil {
		return buf[:4], err
	}
	// Let buf grow as the bytes arrive, because a length alone must not cost memory.
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
