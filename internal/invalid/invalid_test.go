package invalid

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorIsFoundAndSaysWhatIsWrong(t *testing.T) {
	err := fmt.Errorf("lock: acquire /a: %w", New("%d permits: %w", -1, io.EOF))
	if want := "lock: acquire /a: -1 permits: EOF"; err.Error() != want {
		t.Errorf("got text %q, want %q", err, want)
	}
	if !errors.Is(err, Err) || !errors.Is(err, io.EOF) {
		t.Errorf("%v: is Err: %v, is the wrapped error: %v; want true, true", err, errors.Is(err, Err), errors.Is(err, io.EOF))
	}
	if other := fmt.Errorf("read: %w", io.EOF); errors.Is(other, Err) {
		t.Error("an unrelated error is Err")
	}
}
