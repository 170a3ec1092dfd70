package times

import (
	"testing"
	"time"

	"go.uber.org/goleak"
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
