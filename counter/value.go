package counter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/zkcoord/zkcoord/session"
)

// A Format is the form of a counter's data. In each format, empty data mean 0.
type Format int

const (
	// Decimal is the value in decimal digits, like in kazoo's Counter. People can read it.
	Decimal Format = iota
	// BigEndian is the value in 8 bytes, the most significant first, like in Curator's
	// DistributedAtomicLong.
	BigEndian
)

// encode returns the data for a value.
func (f Format) encode(value int64) []byte {
	if f == BigEndian {
		return binary.BigEndian.AppendUint64(nil, uint64(value))
	}
	return strconv.AppendInt(nil, value, 10)
}

// decode returns the value of the data, or an ErrFormat. Like kazoo, it accepts space around the
// digits.
func (f Format) decode(data []byte) (int64, error) {
	if len(data) == 0 {
		return 0, nil
	}
	if f == BigEndian {
		if len(data) != 8 {
			return 0, fmt.Errorf("%w: %d bytes, want 8", ErrFormat, len(data))
		}
		return int64(binary.BigEndian.Uint64(data)), nil
	}
	value, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	if err != nil {
		const most = 40
		return 0, fmt.Errorf("%w: data %.*q, want decimal digits of an int64", ErrFormat, most, data)
	}
	return value, nil
}

// The method `read` is like decode, for a znode that the caller will write. It returns ErrExhausted
// if the znode's version is -1, which means any version in a conditional write.
func (f Format) read(node session.Value) (int64, error) {
	if node.Stat.Version == session.AnyVersion {
		return 0, ErrExhausted
	}
	return f.decode(node.Data)
}

// A step computes the effect of one call: it returns the value after the call, or an error if the
// call changes nothing.
type step func(value int64) (int64, error)

// errDiffers is the error of a compareAndSet that found another value.
var errDiffers = errors.New("counter: another value")

func add(delta int64) step {
	return func(value int64) (int64, error) {
		sum := value + delta
		if (sum > value) != (delta > 0) && delta != 0 {
			return 0, fmt.Errorf("%w: the value %d and %d have no sum in 64 bits", ErrOverflow, value, delta)
		}
		return sum, nil
	}
}

func set(value int64) step {
	return func(int64) (int64, error) { return value, nil }
}

func compareAndSet(old, new int64) step {
	return func(value int64) (int64, error) {
		if value != old {
			return 0, errDiffers
		}
		return new, nil
	}
}

// A plan is the combined effect of several steps, executed one after the other.
type plan struct {
	value   int64 // after all of them
	writes  bool  // at least one did not fail
	results []result
}

// A result has the values that one step returned.
type result struct {
	value int64
	err   error
}

// carryOut computes the plan of the steps. The first step starts with the given value. A step that
// fails leaves the value unchanged for the next one.
func carryOut(value int64, steps []step) plan {
	p := plan{value: value, results: make([]result, len(steps))}
	for i, do := range steps {
		after, err := do(p.value)
		if p.results[i] = (result{after, err}); err == nil {
			p.value, p.writes = after, true
		}
	}
	return p
}
