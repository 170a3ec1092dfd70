package fence_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

// A way returns a function that writes to a resource through a fence, and a function that reads the
// resource. There is a way for each kind of resource that needs no server.
type way func(t *testing.T) (write func(token fence.Token, data string) error, read func() string)

var ways = map[string]way{
	"gate": func(t *testing.T) (func(fence.Token, string) error, func() string) {
		g, data := &fence.Gate{Name: "account"}, ""
		write := func(token fence.Token, text string) error {
			return g.Do(t.Context(), token, func(context.Context) error { data = text; return nil })
		}
		return write, func() string { return data }
	},
	"file": func(t *testing.T) (func(fence.Token, string) error, func() string) {
		name := filepath.Join(t.TempDir(), "account")
		write := func(token fence.Token, text string) error {
			return fence.WriteFile(t.Context(), name, token, []byte(text), 0o600)
		}
		return write, func() string { return content(t, name) }
	},
	"store": func(t *testing.T) (func(fence.Token, string) error, func() string) {
		s := &memory{}
		write := func(token fence.Token, text string) error {
			return fence.Update(t.Context(), s, token, func([]byte) ([]byte, error) { return []byte(text), nil })
		}
		return write, func() string { return string(s.v.Data) }
	},
}

// A fence accepts equal and larger tokens. It refuses smaller ones, and a refused call changes
// nothing.
//
// Covers F1, F2, F3.
func TestSmallerTokensAreRefused(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) { refuses(t, w) })
	}
}

// The function `refuses` writes with rising, equal, smaller and invalid tokens, and checks which of
// these writes are accepted.
func refuses(t *testing.T, w way) {
	t.Helper()
	write, read := w(t)
	for _, token := range []fence.Token{5, 5, 7, 7} {
		if err := write(token, fmt.Sprint("of ", token)); err != nil {
			t.Fatalf("token %d: got error %v, want nil", token, err)
		}
	}
	for _, token := range []fence.Token{6, 5, 1} {
		err := write(token, "stale")
		var stale *fence.StaleError
		if !errors.Is(err, fence.ErrStale) || !errors.As(err, &stale) || stale.Token != token || stale.Largest != 7 {
			t.Errorf("token %d after 7: got error %v, want a StaleError with both tokens", token, err)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, fmt.Sprint("token ", token)) || !strings.Contains(text, "accepted is 7") {
			t.Errorf("error %q does not have both tokens", text)
		}
	}
	for _, token := range []fence.Token{0, -1} {
		if err := write(token, "no token"); !errors.Is(err, fence.ErrNoToken) || errors.Is(err, fence.ErrStale) {
			t.Errorf("token %d: got error %v, want %v", token, err, fence.ErrNoToken)
		}
	}
	if got := read(); got != "of 7" {
		t.Errorf("got data %q, want that of token 7", got)
	}
}

// A gate compares the token of a call when the turn of the call comes, and not when the call begins
// to wait. A larger token may have been accepted meanwhile.
//
// Covers F1.
func TestGateChecksWhenTheTurnComes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var gate fence.Gate
		var calls sync.WaitGroup
		running, end := 0, make(chan struct{})
		var mu sync.Mutex
		got := make(map[fence.Token]error)
		call := func(token fence.Token) {
			calls.Go(func() {
				err := gate.Do(t.Context(), token, func(context.Context) error {
					if running++; running > 1 {
						t.Errorf("%d calls run in the gate at once, want 1", running)
					}
					<-end
					running--
					return nil
				})
				mu.Lock()
				defer mu.Unlock()
				got[token] = err
			})
			synctest.Wait()
		}
		call(5)
		call(7)
		call(6)
		// First the call with token 5 ends, and the call with token 7 begins. Then the call with
		// token 7 ends, and the call with token 6 is refused.
		for range 2 {
			end <- struct{}{}
			synctest.Wait()
		}
		calls.Wait()
		if got[5] != nil || got[7] != nil || !errors.Is(got[6], fence.ErrStale) {
			t.Errorf("got errors %v, want only 6 refused", got)
		}
	})
}

func TestGateKeepsTheTokenOfACallThatFails(t *testing.T) {
	var gate fence.Gate
	failed := errors.New("failed")
	if err := gate.Do(t.Context(), 5, func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got error %v, want that of the function", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = gate.Do(t.Context(), 6, func(context.Context) error { panic("here") })
	}()
	if got := gate.Largest(); got != 6 {
		t.Errorf("got largest token %d, want 6", got)
	}
	gate.Raise(9)
	gate.Raise(8)
	if err := gate.Do(t.Context(), 8, nil); !errors.Is(err, fence.ErrStale) {
		t.Errorf("token 8 after Raise(9): got %v, want %v", err, fence.ErrStale)
	}
}

func TestGateWaitsNoLongerThanItsContext(t *testing.T) {
	gate, gone := fence.Gate{Name: "account"}, errors.New("gone")
	err := gate.Do(t.Context(), 5, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(gone)
		return gate.Do(ctx, 6, nil)
	})
	if !errors.Is(err, gone) || gate.Largest() != 5 {
		t.Errorf("got error %v and largest token %d, want %v and 5", err, gate.Largest(), gone)
	}
}

// The type `memory` is a Store. If the field `between` is not nil, the next Load reads the value,
// sets the field to nil, and then calls the function that was in the field. So a test can write as
// another client between a Load and a Swap.
type memory struct {
	v       fence.Value
	version int
	between func(m *memory)
	lost    error
}

func (m *memory) Load(context.Context) (fence.Value, string, error) {
	v, version := m.v, fmt.Sprint(m.version)
	if m.version == 0 {
		version = ""
	}
	if m.between != nil {
		between := m.between
		m.between = nil
		between(m)
	}
	return v, version, nil
}

func (m *memory) Swap(_ context.Context, version string, v fence.Value) (bool, error) {
	if version != fmt.Sprint(m.version) && (version != "" || m.version > 0) {
		return false, nil
	}
	m.v = v
	m.version++
	return true, m.lost
}

// Update replaces only the value whose token it has compared. If another holder writes between Load
// and Swap, Update loads and compares again.
//
// Covers F7.
func TestUpdateComparesWithWhatItReplaces(t *testing.T) {
	add := func(text string) func([]byte) ([]byte, error) {
		return func(data []byte) ([]byte, error) { return append(data[:len(data):len(data)], text...), nil }
	}
	by := func(token fence.Token, text string) func(*memory) {
		return func(m *memory) {
			m.v = fence.Value{Token: token, Data: append(m.v.Data[:len(m.v.Data):len(m.v.Data)], text...)}
			m.version++
		}
	}
	m := &memory{between: by(4, "a")} // an older holder writes in between
	if err := fence.Update(t.Context(), m, 5, add("b")); err != nil || string(m.v.Data) != "ab" || m.v.Token != 5 {
		t.Errorf("got error %v, token %d, data %q; want nil, 5, \"ab\"", err, m.v.Token, m.v.Data)
	}
	m.between = by(7, "c") // a newer holder writes in between
	if err := fence.Update(t.Context(), m, 6, add("d")); !errors.Is(err, fence.ErrStale) || string(m.v.Data) != "abc" {
		t.Errorf("got error %v, data %q; want %v, \"abc\"", err, m.v.Data, fence.ErrStale)
	}
	m.lost = errors.New("no reply")
	if err := fence.Update(t.Context(), m, 8, add("e")); !errors.Is(err, fence.ErrUnknown) || !errors.Is(err, m.lost) {
		t.Errorf("after a lost reply: got error %v, want %v", err, fence.ErrUnknown)
	}
	if err := fence.Update(t.Context(), m, 9, func([]byte) ([]byte, error) { return nil, errHere }); !errors.Is(err, errHere) {
		t.Errorf("function that fails: got error %v, want %v", err, errHere)
	}
}

var errHere = errors.New("here")

func TestUpdateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &memory{}
	turns := 0
	var busy func(m *memory)
	busy = func(m *memory) {
		m.version++
		m.between = busy
		if turns++; turns == 3 {
			cancel()
		}
	}
	m.between = busy
	if err := fence.Update(ctx, m, 5, func(data []byte) ([]byte, error) { return data, nil }); !errors.Is(err, context.Canceled) || turns != 3 {
		t.Errorf("got error %v after %d attempts, want %v after 3", err, turns, context.Canceled)
	}
}
