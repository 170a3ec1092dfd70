package netfault

import (
	"os"
	"sync"
	"time"
)

// The constant `room` is the number of bytes that one direction of a connection buffers before
// writers block. On a real network, the socket buffers of the two machines have about this size
// together.
const room = 256 << 10

// The type `stream` is one direction of one connection: chunks in transit, optionally followed by
// an end.
type stream struct {
	link      *Proxy
	direction Direction

	mu      sync.Mutex
	chunks  []chunk
	size    int
	end     error         // comes after the last chunk; nil while more may follow
	abort   error         // if set, the stream has ended at once, without the remaining chunks
	changed chan struct{} // closed and replaced at each change
}

type chunk struct {
	data []byte
	due  time.Time // zero means now
}

func newStream(l *Proxy, d Direction) *stream {
	return &stream{link: l, direction: d, changed: make(chan struct{})}
}

func (s *stream) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// The method `push` copies bytes from the beginning of data into the stream, as many as there is
// room for, and returns their number. It waits until there is room for at least one byte. It
// returns the error that ended the stream, or os.ErrDeadlineExceeded if the channel `expired` is
// closed first.
func (s *stream) push(data []byte, expired <-chan struct{}) (int, error) {
	due := s.link.due(s.direction)
	for {
		s.mu.Lock()
		if err := s.overLocked(); err != nil {
			s.mu.Unlock()
			return 0, err
		}
		if n := min(len(data), room-s.size); n > 0 {
			s.chunks = append(s.chunks, chunk{append([]byte(nil), data[:n]...), due})
			s.size += n
			s.changedLocked()
			s.mu.Unlock()
			return n, nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-expired:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// overLocked returns the error that ended the stream, or nil if data can still be added.
func (s *stream) overLocked() error {
	if s.abort != nil {
		return s.abort
	}
	return s.end
}

// The method `finish` ends the stream after the data in transit. Only the first call has an effect.
func (s *stream) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = err
		s.changedLocked()
	}
}

// The method `kill` ends the stream at once, even if the proxy is stalled.
func (s *stream) kill(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abort == nil {
		s.abort = err
		s.chunks, s.size = nil, 0
		s.changedLocked()
	}
}

// The method `pop` waits until the first chunk is due and the direction is not stalled. Then it
// removes and returns at most `limit` bytes of that chunk. A stall also delays the end of the
// stream.
func (s *stream) pop(limit int, expired <-chan struct{}) ([]byte, error) {
	for counted := false; ; {
		if isClosed(expired) {
			return nil, os.ErrDeadlineExceeded
		}
		s.mu.Lock()
		if s.abort != nil {
			s.mu.Unlock()
			return nil, s.abort
		}
		changed, there := s.changed, len(s.chunks) > 0 || s.end != nil
		var due time.Duration
		if len(s.chunks) > 0 && !s.chunks[0].due.IsZero() {
			due = time.Until(s.chunks[0].due)
		}
		s.mu.Unlock()

		stalled := s.link.stalledIn(s.direction)
		switch {
		case !there:
			await(changed, nil, expired, 0)
		case stalled != nil:
			if !counted {
				counted = true
				s.link.countStalled()
			}
			await(changed, stalled, expired, 0)
		case due > 0:
			await(changed, nil, expired, due)
		default:
			if data, err, ok := s.take(limit); ok {
				return data, err
			}
		}
	}
}

// The method `take` removes bytes without waiting. ok is false if there are no bytes and no end.
func (s *stream) take(limit int) (data []byte, err error, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.abort != nil:
		return nil, s.abort, true
	case len(s.chunks) > 0:
		first := &s.chunks[0]
		n := min(limit, len(first.data))
		data, first.data = first.data[:n], first.data[n:]
		if len(first.data) == 0 {
			s.chunks = s.chunks[1:]
		}
		s.size -= n
		s.changedLocked()
		return data, nil, true
	default:
		return nil, s.end, s.end != nil
	}
}

// The function `await` waits until one of the channels is closed. If d is positive, it waits for at
// most d.
func await(changed, stalled, expired <-chan struct{}, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-changed:
	case <-stalled:
	case <-expired:
	case <-timeout:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
