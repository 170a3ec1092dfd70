package needs

import (
	"errors"
	"testing"
)

// The type `outcome` records whether a test was skipped or failed.
type outcome struct {
	testing.TB
	skipped, failed bool
}

func (o *outcome) Helper()               {}
func (o *outcome) Skip(...any)           { o.skipped = true }
func (o *outcome) Fatalf(string, ...any) { o.failed = true }

func TestInstalled(t *testing.T) {
	missing := errors.New("exec: \"java\": not found")
	for _, c := range []struct {
		ci              string
		err             error
		skipped, failed bool
	}{
		{"", nil, false, false},
		{"true", nil, false, false},
		{"", missing, true, false},
		{"true", missing, false, true},
	} {
		t.Setenv("CI", c.ci)
		var o outcome
		Installed(&o, c.err)
		if o.skipped != c.skipped || o.failed != c.failed {
			t.Errorf("CI=%q, error %v: got skipped %v, failed %v; want %v, %v",
				c.ci, c.err, o.skipped, o.failed, c.skipped, c.failed)
		}
	}
}
