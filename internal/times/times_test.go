package times

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOfTwoTimes(t *testing.T) {
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range [][2]time.Time{{a, b}, {b, a}} {
		if got := Earlier(c[0], c[1]); !got.Equal(a) {
			t.Errorf("Earlier(%v, %v): got %v, want %v", c[0], c[1], got, a)
		}
		if got := Later(c[0], c[1]); !got.Equal(b) {
			t.Errorf("Later(%v, %v): got %v, want %v", c[0], c[1], got, b)
		}
	}
}

func TestSleep(t *testing.T) {
	for _, c := range []struct {
		d, until time.Duration // the context ends after `until`
		want     bool
		took     time.Duration
	}{
		{time.Hour, 2 * time.Hour, true, time.Hour}, {0, time.Hour, true, 0}, {-time.Hour, time.Hour, true, 0},
		{time.Hour, time.Minute, false, time.Minute}, {time.Hour, 0, false, 0}, {0, 0, false, 0},
	} {
		virtual.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.until)
			defer cancel()
			begun := time.Now()
			if got := Sleep(ctx, c.d); got != c.want || time.Since(begun) != c.took {
				t.Errorf("Sleep(%v) in a context of %v: got %v after %v, want %v after %v", c.d, c.until, got, time.Since(begun), c.want, c.took)
			}
		})
	}
}

// Many goroutines can call Sleep with a duration of zero at the same time. Regression: the race
// detector ended the tests with "ThreadSanitizer: CHECK failed", because goroutines of one test in
// virtual time received from timers that were due (golang/go#78156).
func TestSleepsOfZeroAtOnce(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var sleepers sync.WaitGroup
		defer sleepers.Wait()
		for range 4 {
			sleepers.Go(func() {
				for range 20000 {
					Sleep(t.Context(), 0)
				}
			})
		}
	})
}
