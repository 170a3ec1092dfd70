package counter

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/zkcoord/zkcoord/session"
)

// Add fails with ErrOverflow if the sum does not fit into an int64, and only then.
//
// Covers C4.
func TestAddOverflowsIfTheSumDoesNotFit(t *testing.T) {
	edges := []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 / 2, -7, -1, 0, 1, 7, math.MaxInt64/2 + 1, math.MaxInt64 - 1, math.MaxInt64}
	for _, value := range edges {
		for _, delta := range edges {
			sum := new(big.Int).Add(big.NewInt(value), big.NewInt(delta))
			got, err := add(delta)(value)
			if fits := sum.IsInt64(); fits != (err == nil) || fits && got != sum.Int64() || !fits && !errors.Is(err, ErrOverflow) {
				t.Errorf("%d and %d: got %d, %v; want %v, or ErrOverflow if this is no int64",
					value, delta, got, err, sum)
			}
		}
	}
}

// Each step starts with the value after the steps before it. A step that fails changes nothing.
//
// Covers C3.
func TestStepsFollowEachOther(t *testing.T) {
	p := carryOut(5, []step{add(2), compareAndSet(5, 9), add(math.MaxInt64), compareAndSet(7, -1), set(40), add(0)})
	want := []result{{7, nil}, {0, errDiffers}, {0, ErrOverflow}, {-1, nil}, {40, nil}, {40, nil}}
	if p.value != 40 || !p.writes {
		t.Errorf("got value %d, written %v; want 40, true", p.value, p.writes)
	}
	for i, want := range want {
		if got := p.results[i]; got.value != want.value || !errors.Is(got.err, want.err) {
			t.Errorf("step %d: got %d, error %v; want %d, error %v", i, got.value, got.err, want.value, want.err)
		}
	}
	if p := carryOut(5, []step{compareAndSet(4, 9), add(math.MaxInt64)}); p.writes || p.value != 5 {
		t.Errorf("after two steps that fail: got value %d, written %v; want 5, false", p.value, p.writes)
	}
}

// Each format reads the values that it writes. Data that are not a number in the format cause an
// ErrFormat.
//
// Covers C7.
func TestFormats(t *testing.T) {
	for _, f := range []Format{Decimal, BigEndian} {
		for _, value := range []int64{math.MinInt64, -12345678, -1, 0, 1, 12345678, math.MaxInt64} {
			if got, err := f.decode(f.encode(value)); got != value || err != nil {
				t.Errorf("format %d: got %d, %v, want %d", f, got, err, value)
			}
		}
	}
	for data, want := range map[string]int64{"": 0, "-17": -17, " 42\n": 42, "+8": 8} {
		if got, err := Decimal.decode([]byte(data)); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", data, got, err, want)
		}
	}
	for _, data := range []string{"x", "1.5", "0x10", "1_000", "9223372036854775808", "1 2", " ", "\x00\x00\x00\x00\x00\x00\x00\x05"} {
		if got, err := Decimal.decode([]byte(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %d, %v, want ErrFormat", data, got, err)
		}
	}
	for _, data := range []string{"5", "1234", "123456789"} {
		if got, err := BigEndian.decode([]byte(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %d, %v, want ErrFormat", data, got, err)
		}
	}
}

// A call that writes fails with ErrExhausted if the znode has the version -1. In a write, the
// version -1 means any version, so the write would not be conditional. In CURATOR-688, the version
// of the znode overflowed.
//
// Covers C1.
func TestVersionThatMeansAnyIsRefused(t *testing.T) {
	for version, want := range map[int32]error{-2: nil, session.AnyVersion: ErrExhausted, 0: nil, math.MaxInt32: nil, math.MinInt32: nil} {
		if _, err := Decimal.read(session.Value{Data: []byte("5"), Stat: &session.Stat{Version: version}}); !errors.Is(err, want) {
			t.Errorf("version %d: got %v, want %v", version, err, want)
		}
	}
}
