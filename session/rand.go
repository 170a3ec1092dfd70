package session

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// cryptoRand and readerRand are sources for math/rand/v2.
type cryptoRand struct{}

func (cryptoRand) Uint64() uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

type readerRand struct{ r io.Reader }

func (s readerRand) Uint64() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		panic("session: Options.Rand failed: " + err.Error())
	}
	return binary.BigEndian.Uint64(b[:])
}

func (o *Options) source() rand.Source {
	if o.Rand == nil {
		return cryptoRand{}
	}
	return readerRand{o.Rand}
}

func shuffle(list []string, source rand.Source) {
	rand.New(source).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// jitter returns a random duration between half of d and d.
func jitter(d time.Duration, source rand.Source) time.Duration {
	return d/2 + time.Duration(source.Uint64()%uint64(d/2+1))
}

// newID returns 128 random bits from Options.Rand in hexadecimal. A client recognizes its own znode
// by such an id in the znode's name.
func (s *Session) newID() (id engine.ID) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], s.rand.Uint64())
	binary.BigEndian.PutUint64(b[8:], s.rand.Uint64())
	hex.Encode(id[:], b[:])
	return id
}
