package chain

import (
	"errors"
	"fmt"
	"testing"
)

func TestPrefixOccursOnce(t *testing.T) {
	held := errors.New("lock: held")
	for _, c := range []struct{ format, want string }{
		{"lock: %w", "lock: held"},
		{"lock: acquire /a: %w", "lock: acquire /a: held"},
		{"lock: acquire /a: lock: create /a: %w", "lock: acquire /a: create /a: held"},
		{"queue: take from /q: %w", "queue: take from /q: lock: held"},
		{"lock: acquire /block: %w", "lock: acquire /block: held"},
		{"lock: acquire /a lock: %w", "lock: acquire /a lock: held"},
	} {
		err := Errorf(c.format, fmt.Errorf("%w", held))
		if err.Error() != c.want || !errors.Is(err, held) {
			t.Errorf("%s: got %q, is the wrapped error: %v; want %q, true", c.format, err, errors.Is(err, held), c.want)
		}
	}
}
