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
		t.Errorf("text is %q, want %q", err, want)
	}
	if !errors.Is(err, Err) || !errors.Is(err, io.EOF) {
		t.Errorf("%v is Err: %v, is what it wraps: %v", err, errors.Is(err, Err), errors.Is(err, io.EOF))
	}
	if other := fmt.Errorf("read: %w", io.EOF); errors.Is(other, Err) {
		t.Error("another error is Err")
	}
}
