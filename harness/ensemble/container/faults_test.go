package container

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

// Bug: on a busy machine the engine answered "unable to freeze". The fault was not injected, so the
// run ended as unknown.
func TestPauseIsRepeatedWhileTheReasonPasses(t *testing.T) {
	var (
		frozen  = errors.New("OCI runtime pause failed: unable to freeze: unknown")
		already = errors.New("container 1 is already paused")
		gone    = errors.New("no such container")
	)
	for name, c := range map[string]struct {
		answers []error // After the others, the engine repeats the last one without end.
		want    error
		calls   int // at least
		least   time.Duration
	}{
		"at once":              {[]error{nil}, nil, 1, 0},
		"too busy twice":       {[]error{frozen, frozen, nil}, nil, 3, 0},
		"always too busy":      {[]error{frozen}, frozen, 3, 20 * time.Second},
		"a late event":         {[]error{already, nil}, nil, 2, 0},
		"paused by others":     {[]error{already}, nil, 2, 2 * time.Second},
		"another reason":       {[]error{gone}, gone, 1, 0},
		"busy, then no longer": {[]error{frozen, gone}, gone, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				calls, began := 0, time.Now()
				err := untilPaused(t.Context(), func() error {
					calls++
					return c.answers[min(calls, len(c.answers))-1]
				})
				if !errors.Is(err, c.want) || calls < c.calls || time.Since(began) < c.least {
					t.Errorf("got %v after %d calls and %v, want %v after at least %d calls and %v",
						err, calls, time.Since(began), c.want, c.calls, c.least)
				}
			})
		})
	}
	virtual.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := untilPaused(ctx, func() error { return frozen }); !errors.Is(err, frozen) {
			t.Errorf("got %v with a canceled context, want %v", err, frozen)
		}
	})
}
